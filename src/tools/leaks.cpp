// SPDX-License-Identifier: Apache-2.0
//
// memtally leaks: what processes did not give back.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collect/collector.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/duration.hpp"
#include "tools/leak_report.hpp"
#include "tools/number_option.hpp"
#include "tools/output.hpp"
#include "tools/process_choice.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/suppressions.hpp"
#include "tools/table_printer.hpp"
#include "tools/tag_option.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

using collect::JsonWriter;
using collect::Process;
using Align = TablePrinter::Align;

constexpr uint64_t kScreenRows = 20;  // of each list, unless --limit says otherwise
constexpr LeakList kLists[] = {LeakList::kKilled, LeakList::kExited, LeakList::kReleased, LeakList::kSuspects};

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  LeakFilter filter;
  std::string suppressions;
  std::string older_than;         // as it was typed
  std::optional<uint64_t> limit;  // 0: none
  bool fail = false;
};

// ---- screen ----

std::string Plural(uint64_t count, const char* one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

std::string Heading(LeakList list, const Arguments& arguments) {
  switch (list) {
    case LeakList::kKilled:
      return "Held when they were killed or crashed";
    case LeakList::kExited:
      return "Left at a normal exit, without closing the device";
    case LeakList::kReleased:
      return "Released by closing the device (not lost)";
    case LeakList::kSuspects:
      break;
  }
  return "Alive and held for more than " + TerminalText(arguments.older_than, 40) + " (suspects)";
}

std::string HoldersText(const LeakRow& row) {
  if (row.holders.empty()) return "-";
  const LeakHolder& most = row.holders.front();
  std::string text = fmt::format("{} ({})", TerminalText(most.process->facts.identity.comm, 64), most.process->pid);
  if (row.holders.size() > 1) {
    text += fmt::format(" {}, +{} more", ScreenBytes(most.bytes_reserved), row.holders.size() - 1);
  }
  return text;
}

std::string AgeText(const std::optional<uint64_t>& age_ns) { return age_ns ? ScreenAge(*age_ns) : "-"; }

std::string ListText(const LeakReport& report, LeakList list, const Arguments& arguments, const ScreenFormat& format) {
  std::vector<const LeakRow*> rows;
  for (const LeakRow& row : report.rows(list)) {
    if (!row.suppressed_by) rows.push_back(&row);
  }
  if (rows.empty()) return "";
  const Amount sum = report.Sum(list);
  std::string head =
      fmt::format("{}: {}, {}", Heading(list, arguments), Plural(sum.count, "buffer"), ScreenBytes(sum.bytes_reserved));
  std::string text;
  AppendLine(head, list == LeakList::kKilled || list == LeakList::kExited ? Style::kRed : Style::kBold, format, &text);
  TablePrinter table({{"BUFFERS", Align::kRight},
                      {"REQUESTED", Align::kRight},
                      {"RESERVED", Align::kRight},
                      {"OLDEST", Align::kRight},
                      {"NEWEST", Align::kRight},
                      {"KIND", Align::kLeft, 6},
                      {"TAG", Align::kLeft, 12, Cut::kBegin},
                      {"HOLDERS", Align::kLeft, 12}});
  const uint64_t limit = arguments.limit.value_or(kScreenRows);
  const size_t shown = limit == 0 ? rows.size() : std::min<size_t>(limit, rows.size());
  for (size_t i = 0; i < shown; ++i) {
    const LeakRow& row = *rows[i];
    table.AddRow({std::to_string(row.amount.count), ScreenBytes(row.amount.bytes_requested),
                  ScreenBytes(row.amount.bytes_reserved), AgeText(row.oldest_ns), AgeText(row.newest_ns),
                  TerminalText(row.kind, 40) + (row.adds_up ? "" : "*"),
                  row.listed ? ScreenTag(row.tag_path) : "(not listed any more)", HoldersText(row)});
  }
  if (shown < rows.size()) table.AddNote(fmt::format("... and {} more; --limit 0 shows all", rows.size() - shown));
  return text + table.Text(format) + '\n';
}

std::string SuppressionText(const LeakReport& report, const Suppressions& suppressions, const ScreenFormat& format) {
  std::string text;
  const Amount sum = report.SuppressedSum();
  if (sum.count != 0) {
    AppendLine(fmt::format("suppressed: {}, {}", Plural(sum.count, "buffer"), ScreenBytes(sum.bytes_reserved)),
               Style::kPlain, format, &text);
  }
  for (const Suppressions::Entry& entry : suppressions.entries()) {
    if (entry.buffers != 0) continue;
    AppendLine(fmt::format("unused suppression in line {}: {}", entry.line, TerminalText(entry.glob, 200)),
               Style::kPlain, format, &text);
  }
  return text;
}

std::string ScreenText(const LeakReport& report, const ProcessSet& set, const Suppressions& suppressions,
                       const Arguments& arguments, const ScreenFormat& format) {
  std::string text;
  for (const LeakList list : kLists) text += ListText(report, list, arguments, format);
  if (text.empty()) text = report.SuppressedSum().count == 0 ? "No leaks.\n" : "No leaks but suppressed ones.\n";
  if (text.ends_with("\n\n")) text.pop_back();
  const auto shares = [](const LeakRow& row) { return !row.adds_up && !row.suppressed_by; };
  if (std::any_of(std::begin(kLists), std::end(kLists), [&](LeakList list) {
        return std::any_of(report.rows(list).begin(), report.rows(list).end(), shares);
      })) {
    AppendLine("* buffers of this kind share addresses, or lie in others: in no sum of bytes", Style::kPlain, format,
               &text);
  }
  const std::string more = SuppressionText(report, suppressions, format);
  if (!more.empty()) text += '\n' + more;
  for (const Process* process : set.processes) {
    for (const std::string& gap : process->facts.gaps) {
      AppendLine(fmt::format("! {}: {}", process->pid, TerminalText(gap, 160)), Style::kYellow, format, &text);
    }
  }
  return text;
}

// ---- JSON ----

void WriteRow(const LeakRow& row, JsonWriter* json) {
  json->BeginObject();
  json->Field("tag", row.tag_path);
  json->Field("kind", row.kind);
  json->Flag("adds_up", row.adds_up);
  json->Flag("listed", row.listed);
  json->Key("amount");
  collect::WriteAmount(row.amount, json);
  json->OptionalField("oldest_ns", row.oldest_ns);
  json->OptionalField("newest_ns", row.newest_ns);
  json->OptionalField("suppressed_by", row.suppressed_by);
  json->Key("holders");
  json->BeginArray();
  for (const LeakHolder& holder : row.holders) {
    json->BeginObject();
    collect::WriteProcessName(*holder.process, json);
    json->Field("count", holder.buffers);
    json->Field("bytes_reserved", holder.bytes_reserved);
    json->EndObject();
  }
  json->EndArray();
  json->EndObject();
}

std::string JsonText(const LeakReport& report, const ProcessSet& set, const Suppressions& suppressions,
                     const Arguments& arguments, JsonWriter::Layout layout) {
  JsonWriter json(layout);
  json.BeginObject();
  collect::WriteHead("memtally.leaks", *set.machine, &json);
  json.Flag("leaked", report.HasLeaks());
  json.OptionalField("older_than_ns", arguments.filter.older_than_ns);
  json.Key("processes");
  json.BeginArray();
  for (const Process* process : set.processes) {
    collect::WriteProcess(*process, {.accounts = false, .contents = false}, &json);
  }
  json.EndArray();
  const uint64_t limit = arguments.limit.value_or(0);
  for (const LeakList list : kLists) {
    json.Key(LeakListName(list));
    json.BeginObject();
    json.Key("sum");
    collect::WriteAmount(report.Sum(list), &json);
    json.Field("matching", report.rows(list).size());
    json.Key("rows");
    json.BeginArray();
    uint64_t written = 0;
    for (const LeakRow& row : report.rows(list)) {
      if (limit == 0 || written++ < limit) WriteRow(row, &json);
    }
    json.EndArray();
    json.EndObject();
  }
  json.Key("suppressions");
  json.BeginArray();
  for (const Suppressions::Entry& entry : suppressions.entries()) {
    json.BeginObject();
    json.Field("glob", entry.glob);
    json.Field("line", entry.line);
    json.Field("count", entry.buffers);
    json.Field("bytes_reserved", entry.bytes_reserved);
    json.EndObject();
  }
  json.EndArray();
  collect::WriteProblems(*set.machine, &json);
  json.EndObject();
  return json.Take();
}

// ---- the subcommand ----

int Run(const Arguments& arguments) {
  Suppressions suppressions;
  std::string file = arguments.suppressions;
  if (const char* named = std::getenv("MEMTALLY_LEAK_SUPPRESSIONS"); file.empty() && named != nullptr) file = named;
  std::string error;
  if (!file.empty() && !suppressions.Read(file, &error)) {
    Complain(error);
    return kFailure;
  }
  collect::Collector collector(CollectorOptions(arguments.choice));
  return RunView(arguments.view, "memtally leaks", [&](const FrameFormat& format) {
    Frame frame;
    bool found = false;
    collector.Discover();
    const ProcessSet set = TakeProcesses(&collector, [&](const Process& process) {
      if (!IsChosen(process, arguments.choice)) return false;
      found = true;
      return MayHaveLeaked(process, arguments.filter);
    });
    frame.complaints = ProblemTexts(*set.machine);
    if (!found && (arguments.choice.pid || !arguments.choice.ledger.empty())) {
      if (arguments.choice.pid) frame.complaints.push_back(NobodyText(arguments.choice));
      frame.result = kFailure;
      if (!arguments.view.watch_seconds) return frame;
    }
    const LeakReport report(*set.machine, set.processes, arguments.filter, &suppressions);
    if (arguments.fail && report.HasLeaks()) frame.result = kCheckFailed;
    frame.text = format.json ? JsonText(report, set, suppressions, arguments, format.layout)
                             : ScreenText(report, set, suppressions, arguments, format.screen);
    return frame;
  });
}

}  // namespace

void AddLeaks(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* leaks = app->add_subcommand("leaks", "Lists what processes did not give back, by tag and age");
  AddProcessOptions(leaks, &arguments->choice);
  AddOwnerOptions(leaks, &arguments->choice);
  leaks->add_option("--kind", arguments->filter.kind, "Of this kind only, such as dram or l1")->type_name("KIND");
  AddTagOption(leaks, &arguments->filter.tag);
  leaks
      ->add_option("--older-than", arguments->older_than,
                   "Also what living processes have held for longer, such as 90, 15m or 1h30m: suspects")
      ->type_name("DURATION");
  leaks
      ->add_option("--suppressions", arguments->suppressions,
                   "File of tags whose leaks are known, a line each (default: MEMTALLY_LEAK_SUPPRESSIONS)")
      ->type_name("FILE");
  leaks->add_flag("--fail", arguments->fail, "Exit code 3 if anything leaked that is not suppressed");
  leaks->add_option("--limit", arguments->limit, "At most so many lines a list; 0 all (default 20, with --json 0)")
      ->check(NotNegative())
      ->type_name("N");
  AddViewOptions(leaks, "memtally.leaks", &arguments->view);
  leaks->callback([arguments, action] {
    if (!arguments->older_than.empty()) {
      arguments->filter.older_than_ns = ParseDuration(arguments->older_than);
      if (!arguments->filter.older_than_ns) {
        throw CLI::ValidationError(
            "--older-than", "takes a duration such as 90 (seconds), 500ms, 15m or 1h30m, not " + arguments->older_than);
      }
    }
    *action = [arguments] { return Run(*arguments); };
  });
}

}  // namespace memtally::tools
