// SPDX-License-Identifier: Apache-2.0
//
// memtally buffers: what processes hold, buffer by buffer or tag by tag.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/buffer_list.hpp"
#include "tools/json_writer.hpp"
#include "tools/ledger_json.hpp"
#include "tools/ledger_survey.hpp"
#include "tools/number_option.hpp"
#include "tools/output.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

using Align = TablePrinter::Align;

constexpr uint64_t kScreenRows = 50;  // unless --limit says otherwise
constexpr size_t kTagColumns = 60;

struct Arguments {
  std::optional<uint32_t> pid;
  std::string ledger;
  bool all = false;
  std::optional<int32_t> device;
  std::string kind;
  std::string tag;
  std::string order = "size";
  std::optional<uint64_t> limit;  // 0: none
  bool by_tag = false;
  bool json = false;
};

// In the order of enum BufferOrder.
const std::vector<std::string> kOrders = {"size", "age", "id", "address"};

std::string GroupName(const LedgerView& ledger, uint64_t group) {
  for (const LedgerGroup& named : ledger.groups) {
    if (named.id == group) return named.name;
  }
  return "";
}

// How long ago, if this machine's clock and the ledger's are the same.
std::optional<uint64_t> AgeNs(const LedgerSurvey& survey, const LedgerView& ledger, const LedgerBuffer& buffer) {
  if (ledger.identity.boot_id != survey.host.boot_id || buffer.time_ns > survey.time_ns) return std::nullopt;
  return survey.time_ns - buffer.time_ns;
}

bool Overlaps(const LedgerView& ledger, const LedgerAccount& account) {
  const LedgerKind* kind = ledger.kind(account.kind);
  return kind && kind->overlaps;
}

// ---- screen ----

std::string ScreenTag(const std::string& path) {
  return path.empty() ? "-" : TerminalText(path, kTagColumns, Cut::kBegin);
}

std::string BufferTable(const LedgerSurvey& survey, const BufferList& list, uint64_t shown) {
  TablePrinter table({{"PID", Align::kRight},
                      {"ID", Align::kRight},
                      {"ADDRESS", Align::kRight},
                      {"DEVICE"},
                      {"KIND"},
                      {"REQUESTED", Align::kRight},
                      {"RESERVED", Align::kRight},
                      {"PER BANK", Align::kRight},
                      {"AGE", Align::kRight},
                      {"THREAD", Align::kRight},
                      {"TAG"},
                      {"GROUP"},
                      {"FLAGS"}});
  for (uint64_t i = 0; i < shown; ++i) {
    const BufferRow& row = list.rows()[i];
    const LedgerView& ledger = survey.ledgers[row.process];
    const LedgerBuffer& buffer = *row.buffer;
    const bool inexact = !ledger.buffers_exact;
    const std::optional<uint64_t> age_ns = AgeNs(survey, ledger, buffer);
    std::string group = "-";
    if (buffer.group != 0) {
      group = TerminalText(GroupName(ledger, buffer.group), 24);
      if (group.empty()) group = std::to_string(buffer.group);
    }
    table.AddRow({std::to_string(ShownPid(ledger)), fmt::format("{}{}", inexact ? "~" : "", buffer.id),
                  fmt::format("{:#x}", buffer.address), DeviceText(ledger, row.account->device),
                  TerminalText(KindName(ledger, row.account->kind), 24), ScreenBytes(buffer.bytes_requested),
                  ScreenBytes(row.bytes_reserved), ScreenBytes(buffer.bytes_per_bank),
                  age_ns ? ScreenAge(*age_ns) : "-", buffer.thread_id ? std::to_string(buffer.thread_id) : "-",
                  ScreenTag(*row.tag_path), std::move(group), buffer.imported ? "imported" : "-"});
  }
  return table.Text();
}

std::string TagTable(const LedgerSurvey& survey, const std::vector<BufferSum>& sums, uint64_t shown) {
  TablePrinter table({{"PID", Align::kRight},
                      {"DEVICE"},
                      {"KIND"},
                      {"BUFFERS", Align::kRight},
                      {"REQUESTED", Align::kRight},
                      {"RESERVED", Align::kRight},
                      {"TAG"}});
  for (uint64_t i = 0; i < shown; ++i) {
    const BufferSum& sum = sums[i];
    const LedgerView& ledger = survey.ledgers[sum.process];
    const bool inexact = !ledger.buffers_exact;
    table.AddRow({std::to_string(ShownPid(ledger)), DeviceText(ledger, sum.account->device),
                  TerminalText(KindName(ledger, sum.account->kind), 24), ScreenCount(sum.count, inexact),
                  ScreenBytes(sum.bytes_requested, inexact), ScreenBytes(sum.bytes_reserved, inexact),
                  ScreenTag(*sum.tag_path)});
  }
  return table.Text();
}

// A line for each process, device and kind: everything that matched, shown or not.
std::string SumLines(const LedgerSurvey& survey, const BufferList& list) {
  std::string text;
  for (const BufferSum& sum : list.Sums(false)) {
    const LedgerView& ledger = survey.ledgers[sum.process];
    const bool inexact = !ledger.buffers_exact;
    text += fmt::format("{} {} {} {}: {} buffers, {} requested, {} reserved", ShownPid(ledger),
                        StateName(ledger.liveness), DeviceText(ledger, sum.account->device),
                        TerminalText(KindName(ledger, sum.account->kind), 24), ScreenCount(sum.count, inexact),
                        ScreenBytes(sum.bytes_requested, inexact), ScreenBytes(sum.bytes_reserved, inexact));
    if (Overlaps(ledger, *sum.account) && sum.count != 0) {
      text += fmt::format(", overlapping, from {:#x} to {:#x}", sum.lowest_address, sum.highest_end);
    }
    if (sum.imported != 0) text += fmt::format(", and {} imported, which are not summed", sum.imported);
    text += '\n';
  }
  return text;
}

std::string ScreenText(const LedgerSurvey& survey, const BufferList& list, const Arguments& arguments) {
  std::string text;
  for (const LedgerView& ledger : survey.ledgers) {
    for (const std::string& gap : ledger.gaps) {
      text += fmt::format("! {}: {}\n", ShownPid(ledger), TerminalText(gap, 160));
    }
  }
  if (list.rows().empty()) return text + "No live buffers.\n";
  const std::vector<BufferSum> sums = arguments.by_tag ? list.Sums(true) : std::vector<BufferSum>();
  const uint64_t matching = arguments.by_tag ? sums.size() : list.rows().size();
  const uint64_t limit = arguments.limit.value_or(kScreenRows);
  const uint64_t shown = limit == 0 ? matching : std::min(limit, matching);
  text += arguments.by_tag ? TagTable(survey, sums, shown) : BufferTable(survey, list, shown);
  if (shown < matching) text += fmt::format("... and {} more; --limit 0 shows all\n", matching - shown);
  return text + '\n' + SumLines(survey, list);
}

// ---- JSON ----

void WriteBuffer(const LedgerSurvey& survey, const BufferRow& row, JsonWriter* json) {
  const LedgerView& ledger = survey.ledgers[row.process];
  const LedgerBuffer& buffer = *row.buffer;
  const std::optional<uint64_t> age_ns = AgeNs(survey, ledger, buffer);
  json->BeginObject();
  json->Field("process", row.process);
  json->Field("pid", ShownPid(ledger));
  json->Field("device", row.account->device);
  json->Field("kind", KindName(ledger, row.account->kind));
  json->Field("id", buffer.id);
  json->Field("address", buffer.address);
  json->Field("bytes_requested", buffer.bytes_requested);
  json->Field("bytes_reserved", row.bytes_reserved);
  json->Field("bytes_per_bank", buffer.bytes_per_bank);
  json->Field("time_ns", buffer.time_ns);
  json->Key("age_ns");
  age_ns ? json->Number(*age_ns) : json->Null();
  json->Field("thread_id", buffer.thread_id);
  json->Field("tag", *row.tag_path);
  json->Field("group", buffer.group);
  json->Field("group_name", buffer.group == 0 ? std::string() : GroupName(ledger, buffer.group));
  json->Field("stack", buffer.stack);
  json->Flag("imported", buffer.imported);
  json->EndObject();
}

void WriteSum(const LedgerSurvey& survey, const BufferSum& sum, bool with_tag, JsonWriter* json) {
  const LedgerView& ledger = survey.ledgers[sum.process];
  json->BeginObject();
  json->Field("process", sum.process);
  json->Field("pid", ShownPid(ledger));
  json->Field("device", sum.account->device);
  json->Field("kind", KindName(ledger, sum.account->kind));
  if (with_tag) json->Field("tag", *sum.tag_path);
  json->Field("count", sum.count);
  json->Field("bytes_requested", sum.bytes_requested);
  json->Field("bytes_reserved", sum.bytes_reserved);
  json->Flag("overlaps", Overlaps(ledger, *sum.account));
  json->Key("lowest_address");
  sum.count != 0 ? json->Number(sum.lowest_address) : json->Null();
  json->Key("highest_end");
  sum.count != 0 ? json->Number(sum.highest_end) : json->Null();
  json->Field("imported_count", sum.imported);
  json->Flag("exact", ledger.buffers_exact);
  json->EndObject();
}

std::string JsonText(const LedgerSurvey& survey, const BufferList& list, const Arguments& arguments) {
  const auto write_sums = [&](const char* key, bool by_tag, uint64_t limit, JsonWriter* json) {
    const std::vector<BufferSum> sums = list.Sums(by_tag);
    json->Key(key);
    json->BeginArray();
    for (uint64_t i = 0; i < sums.size() && (limit == 0 || i < limit); ++i) WriteSum(survey, sums[i], by_tag, json);
    json->EndArray();
  };
  const uint64_t limit = arguments.limit.value_or(0);
  JsonWriter json;
  json.BeginObject();
  WriteHead("memtally.buffers", survey, &json);
  json.Key("processes");
  json.BeginArray();
  for (const LedgerView& ledger : survey.ledgers) WriteProcess(ledger, false, &json);
  json.EndArray();
  json.Field("matching", list.rows().size());
  write_sums("sums", false, 0, &json);
  if (arguments.by_tag) {
    write_sums("tags", true, limit, &json);
  } else {
    json.Key("buffers");
    json.BeginArray();
    for (uint64_t i = 0; i < list.rows().size() && (limit == 0 || i < limit); ++i) {
      WriteBuffer(survey, list.rows()[i], &json);
    }
    json.EndArray();
  }
  WriteProblems(survey, &json);
  json.EndObject();
  return json.Take();
}

// ---- the subcommand ----

int Run(const Arguments& arguments, const BufferFilter& filter) {
  LedgerSurvey survey =
      arguments.ledger.empty() ? SurveyLedgers(ReadLevel::kAll, false) : SurveyFile(arguments.ledger, ReadLevel::kAll);
  if (arguments.pid) {
    std::erase_if(survey.ledgers, [&](const LedgerView& ledger) {
      return ShownPid(ledger) != *arguments.pid && ledger.identity.pid != *arguments.pid;
    });
  }
  ReportProblems(survey);
  if (survey.ledgers.empty() && arguments.pid) {
    Complain(fmt::format("no process {} has a ledger here; 'memtally ps --all' lists those that have", *arguments.pid));
    return kFailure;
  }
  if (survey.ledgers.empty() && !arguments.ledger.empty()) return kFailure;
  BufferList list(survey, filter);
  list.Sort(static_cast<BufferOrder>(std::find(kOrders.begin(), kOrders.end(), arguments.order) - kOrders.begin()));
  return WriteOutput(arguments.json ? JsonText(survey, list, arguments) : ScreenText(survey, list, arguments));
}

}  // namespace

void AddBuffers(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  auto filter = std::make_shared<BufferFilter>();
  CLI::App* buffers = app->add_subcommand("buffers", "Lists the live buffers of processes, and of the dead");
  CLI::Option* pid = buffers->add_option("--pid", arguments->pid, "Of this process only")->type_name("PID");
  CLI::Option* ledger = buffers->add_option("--ledger", arguments->ledger, "Of this ledger file")->type_name("FILE");
  CLI::Option* all = buffers->add_flag("--all", arguments->all, "Of all processes, living and dead (the default)");
  pid->excludes(ledger)->excludes(all);
  ledger->excludes(all);
  buffers->add_option("--device", arguments->device, "On this device only, by the program's own number")
      ->type_name("N");
  buffers->add_option("--kind", arguments->kind, "Of this kind only, such as dram or l1")->type_name("KIND");
  buffers
      ->add_option("--tag", arguments->tag,
                   "Whose tag path matches, such as 'layer [0-3]$' (extended regular expression)")
      ->type_name("REGEX");
  buffers->add_option("--sort", arguments->order, "size (the default), age, id or address")
      ->check(CLI::IsMember(kOrders).description(""))
      ->type_name("ORDER");
  buffers->add_option("--limit", arguments->limit, "At most so many lines; 0 all (default 50, with --json 0)")
      ->check(NotNegative())
      ->type_name("N");
  buffers->add_flag("--by-tag", arguments->by_tag, "Sums by tag path, instead of buffers");
  buffers->add_flag("--json", arguments->json, "JSON, in bytes, for programs (schema memtally.buffers)");
  buffers->callback([arguments, filter, action] {
    filter->device = arguments->device;
    filter->kind = arguments->kind;
    std::string error;
    if (!arguments->tag.empty()) filter->tag = TagPattern::Compile(arguments->tag, &error);
    if (!error.empty()) throw CLI::ValidationError("--tag", "is no regular expression: " + error);
    *action = [arguments, filter] { return Run(*arguments, *filter); };
  });
}

}  // namespace memtally::tools
