// SPDX-License-Identifier: Apache-2.0
//
// memtally events: the last events of processes, from their flight recorders.
#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/proc.hpp"
#include "collect/collector.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/device_names.hpp"
#include "tools/event_list.hpp"
#include "tools/number_option.hpp"
#include "tools/output.hpp"
#include "tools/process_choice.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/tag_option.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"
#include "tools/watch.hpp"

namespace memtally::tools {
namespace {

using collect::JsonWriter;
using collect::Process;
using Align = TablePrinter::Align;

constexpr uint64_t kScreenRows = 50;  // unless --limit says otherwise
constexpr uint64_t kFollowPeriodNs = 200'000'000;

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  EventFilter filter;
  std::optional<uint64_t> limit;  // 0: none
  bool follow = false;
};

// ---- screen ----

// Local time of day, with the day if that is not today's.
std::string ClockText(uint64_t realtime_ns) {
  const auto seconds = static_cast<time_t>(realtime_ns / 1'000'000'000);
  const time_t now = time(nullptr);
  tm then_parts{};
  tm now_parts{};
  if (localtime_r(&seconds, &then_parts) == nullptr || localtime_r(&now, &now_parts) == nullptr) return "-";
  const bool today = then_parts.tm_year == now_parts.tm_year && then_parts.tm_yday == now_parts.tm_yday;
  std::string text;
  if (!today) {
    text = fmt::format("{:04}-{:02}-{:02} ", then_parts.tm_year + 1900, then_parts.tm_mon + 1, then_parts.tm_mday);
  }
  return text + fmt::format("{:02}:{:02}:{:02}.{:06}", then_parts.tm_hour, then_parts.tm_min, then_parts.tm_sec,
                            realtime_ns / 1000 % 1'000'000);
}

TablePrinter MakeTable() {
  return TablePrinter({{"TIME", Align::kRight},
                       {"PID", Align::kRight},
                       {"OPERATION"},
                       {"DEVICE", Align::kLeft, 8, Cut::kBegin},
                       {"KIND", Align::kLeft, 6},
                       {"ID", Align::kRight},
                       {"ADDRESS", Align::kRight},
                       {"REQUESTED", Align::kRight},
                       {"RESERVED", Align::kRight},
                       {"THREAD", Align::kRight},
                       {"TAG", Align::kLeft, 12, Cut::kBegin}});
}

Style StyleOf(const std::string& operation) {
  const bool usual = operation == "alloc" || operation == "free" || operation == "mark" || operation == "open" ||
                     operation == "close" || operation == "bookkeeping";
  return usual ? Style::kPlain : Style::kYellow;
}

void AddRow(const EventRow& row, const DeviceNames& names, TablePrinter* table) {
  const Process& process = *row.process;
  const LedgerView& facts = process.facts;
  const LedgerEvent& event = *row.event;
  if (row.missed != 0) {
    table->AddNote(fmt::format("! {} event{} of process {} were overwritten before they could be read", row.missed,
                               row.missed == 1 ? "" : "s", process.pid),
                   Style::kYellow);
  }
  const LedgerAccount* account = event.account ? collect::AccountAt(facts, *event.account) : nullptr;
  const std::string operation = collect::OperationName(event.operation);
  const bool sized = event.bytes_requested != 0 || event.bytes_per_bank != 0;
  table->AddRow({ClockText(collect::RealtimeNs(facts, event.time_ns)),
                 std::to_string(process.pid),
                 {operation, StyleOf(operation)},
                 account != nullptr ? names.of(process, account->device) : "-",
                 account != nullptr ? TerminalText(collect::KindName(facts, account->kind), 40) : "-",
                 account != nullptr ? std::to_string(event.id) : "-",
                 account != nullptr ? fmt::format("{:#x}", event.address) : "-",
                 sized ? ScreenBytes(event.bytes_requested) : "-",
                 sized ? ScreenBytes(collect::ReservedBytes(account, event.bytes_per_bank)) : "-",
                 event.thread_id != 0 ? std::to_string(event.thread_id) : "-",
                 ScreenTag(*row.tag_path)});
}

// The last rows, as many as are to be shown.
size_t FirstShown(const EventList& list, const Arguments& arguments, uint64_t otherwise) {
  const uint64_t limit = arguments.limit.value_or(otherwise);
  const size_t count = list.rows().size();
  return limit == 0 || limit >= count ? 0 : count - limit;
}

std::string ScreenText(const ProcessSet& set, const EventList& list, const Arguments& arguments,
                       const ScreenFormat& format) {
  if (list.rows().empty()) return "No events.\n";
  const DeviceNames names(*set.machine);
  const size_t first = FirstShown(list, arguments, kScreenRows);
  std::string text;
  if (first != 0) text = fmt::format("... after {} earlier; --limit 0 shows all that are kept\n", first);
  TablePrinter table = MakeTable();
  for (size_t i = first; i < list.rows().size(); ++i) AddRow(list.rows()[i], names, &table);
  return text + table.Text(format);
}

// ---- JSON ----

std::string JsonText(const ProcessSet& set, const EventList& list, const Arguments& arguments,
                     JsonWriter::Layout layout) {
  JsonWriter json(layout);
  json.BeginObject();
  collect::WriteHead("memtally.events", *set.machine, &json);
  json.Key("processes");
  json.BeginArray();
  for (const Process* process : set.processes) {
    collect::WriteProcess(*process, {.accounts = false, .contents = false}, &json);
  }
  json.EndArray();
  json.Field("matching", list.rows().size());
  json.Key("events");
  json.BeginArray();
  for (size_t i = FirstShown(list, arguments, 0); i < list.rows().size(); ++i) {
    const EventRow& row = list.rows()[i];
    json.BeginObject();
    json.Field("process", row.process_index);
    json.Field("pid", row.process->pid);
    collect::WriteEventFields(row.process->facts, *row.event, *row.tag_path, &json);
    json.EndObject();
  }
  json.EndArray();
  collect::WriteProblems(*set.machine, &json);
  json.EndObject();
  return json.Take();
}

std::string JsonLine(const EventRow& row) {
  JsonWriter json(JsonWriter::Layout::kCompact);
  json.BeginObject();
  json.Field("schema", "memtally.event");
  json.Field("schema_version", collect::kJsonSchemaVersion);
  json.Field("pid", row.process->pid);
  json.Field("run_id", collect::HexText(row.process->key()));
  json.Field("missed", row.missed);
  collect::WriteEventFields(row.process->facts, *row.event, *row.tag_path, &json);
  json.EndObject();
  return json.Take();
}

// ---- the subcommand ----

// Shows events as they come, until it is interrupted, nobody reads them, or those that were named have ended.
class Follower {
 public:
  explicit Follower(const Arguments& arguments)
      : arguments_(arguments), collector_(CollectorOptions(arguments.choice)) {}

  int Run() {
    const Watch watch;
    for (;;) {
      Frame frame;
      const ProcessSet set = TakeChosen(&collector_, arguments_.choice, &frame);
      if (frame.result != kSuccess && seen_) return kSuccess;  // it ended, and left nothing
      if (first_ || frame.result != kSuccess) {
        for (const std::string& complaint : frame.complaints) Complain(complaint);
      }
      if (frame.result != kSuccess) return frame.result;
      seen_ = seen_ || !set.processes.empty();
      bool reader_gone = false;
      const int shown = Show(set, &reader_gone);
      if (shown != kSuccess) return reader_gone ? kSuccess : shown;
      if (HaveEnded(set) || watch.WaitUntil(base::MonotonicNs() + kFollowPeriodNs) == Watch::Outcome::kStop) {
        return kSuccess;
      }
    }
  }

 private:
  // Whether nothing can come any more from those that were named.
  bool HaveEnded(const ProcessSet& set) const {
    const bool named = arguments_.choice.pid || !arguments_.choice.ledger.empty();
    return named && std::all_of(set.processes.begin(), set.processes.end(),
                                [](const Process* process) { return process->facts.liveness == Liveness::kDead; });
  }

  int Show(const ProcessSet& set, bool* reader_gone) {
    const EventList list(set.processes, arguments_.filter, &cursor_);
    const size_t first = first_ ? FirstShown(list, arguments_, kFirstRows) : 0;
    std::string text;
    const DeviceNames names(*set.machine);
    for (size_t i = first; i < list.rows().size(); ++i) {
      if (arguments_.view.json) {
        text += JsonLine(list.rows()[i]);
      } else {
        AddRow(list.rows()[i], names, &table_);
      }
    }
    if (!arguments_.view.json) text = table_.TakeRows(first_, StandardFormat());
    first_ = false;
    return text.empty() ? kSuccess : WriteOutput(text, reader_gone);
  }

  static constexpr uint64_t kFirstRows = 10;  // of what was there before
  const Arguments& arguments_;
  collect::Collector collector_;
  EventCursor cursor_;
  TablePrinter table_ = MakeTable();
  bool first_ = true;
  bool seen_ = false;
};

int Run(const Arguments& arguments) {
  if (arguments.follow) return Follower(arguments).Run();
  collect::Collector collector(CollectorOptions(arguments.choice));
  return RunView(arguments.view, "memtally events", [&](const FrameFormat& format) {
    Frame frame;
    const ProcessSet set = TakeChosen(&collector, arguments.choice, &frame);
    if (frame.result != kSuccess && !arguments.view.watch_seconds) return frame;
    const EventList list(set.processes, arguments.filter);
    frame.text =
        format.json ? JsonText(set, list, arguments, format.layout) : ScreenText(set, list, arguments, format.screen);
    return frame;
  });
}

}  // namespace

void AddEvents(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* events = app->add_subcommand("events", "Lists the last events of processes, of the dead, too");
  AddProcessOptions(events, &arguments->choice);
  AddOwnerOptions(events, &arguments->choice);
  events->add_option("--kind", arguments->filter.kind, "Of this kind only, such as dram or l1")->type_name("KIND");
  AddTagOption(events, &arguments->filter.tag);
  events
      ->add_option("--op", arguments->filter.operations,
                   "These operations only, such as free or alloc_failed,unknown_free")
      ->delimiter(',')
      ->check(CLI::IsMember(OperationNames()).description(""))
      ->type_name("OPERATION");
  events
      ->add_option("-n,--limit", arguments->limit,
                   "At most so many, the last ones; 0 all (default 50, with --json 0, with --follow 10)")
      ->check(NotNegative())
      ->type_name("N");
  AddViewOptions(events, "memtally.events", &arguments->view);
  events->add_flag("--follow", arguments->follow, "Go on with what comes, until Ctrl-C; with --json one event a line")
      ->excludes(events->get_option("--watch"));
  events->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
