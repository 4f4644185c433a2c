// SPDX-License-Identifier: Apache-2.0
//
// memtally ps: a line for each process and device memory, and what the machine's devices hold in all.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collect/collector.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/device_names.hpp"
#include "tools/process_choice.hpp"
#include "tools/process_notes.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

using collect::Process;
using collect::Snapshot;
using Align = TablePrinter::Align;

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  std::optional<int32_t> device;
  std::string order = "state";
  bool all = false;
  bool no_clean_up = false;
};

const std::vector<std::string> kOrders = {"state", "pid", "user", "command", "held", "peak", "start"};

bool IsOn(const LedgerView& facts, const LedgerAccount& account, const std::optional<int32_t>& device) {
  if (!device) return true;
  return account.device < facts.devices.size() && facts.devices[account.device].local_index == *device;
}

bool IsShown(const LedgerView& facts, const LedgerAccount& account, const Arguments& arguments) {
  if (!IsOn(facts, account, arguments.device)) return false;
  if (arguments.all) return true;
  if (facts.liveness == Liveness::kDead) return account.live.count != 0 || account.imported != 0;
  return collect::WasUsed(account);
}

bool IsShown(const Process& process, const Arguments& arguments) {
  if (!IsChosen(process, arguments.choice)) return false;
  if (arguments.device) {
    const std::vector<LedgerDevice>& devices = process.facts.devices;
    const bool knows = std::any_of(devices.begin(), devices.end(),
                                   [&](const LedgerDevice& device) { return device.local_index == *arguments.device; });
    if (!knows) return false;
  }
  return arguments.all || process.facts.liveness != Liveness::kDead || collect::IsEvidence(process.facts);
}

uint64_t HighestPeak(const Process& process) {
  uint64_t peak = 0;
  for (const LedgerAccount& account : process.facts.accounts) {
    const LedgerKind* kind = process.facts.kind(account.kind);
    if (kind == nullptr || !kind->overlaps) peak = std::max(peak, account.peak_reserved);
  }
  return peak;
}

void Sort(const std::string& order, std::vector<const Process*>* processes) {
  const auto sort_by = [&](auto key) {
    std::stable_sort(processes->begin(), processes->end(),
                     [&](const Process* a, const Process* b) { return key(*a) < key(*b); });
  };
  if (order == "pid") sort_by([](const Process& process) { return process.pid; });
  if (order == "user") sort_by([](const Process& process) { return process.user; });
  if (order == "command") sort_by([](const Process& process) { return process.facts.identity.comm; });
  if (order == "held")
    sort_by([](const Process& process) { return ~collect::HeldOnDevices(process.facts).bytes_reserved; });
  if (order == "peak") sort_by([](const Process& process) { return ~HighestPeak(process); });
  if (order == "start") sort_by([](const Process& process) { return process.facts.identity.created_realtime_ns; });
}

// ---- the processes ----

class ProcessTable {
 public:
  ProcessTable(const std::vector<const Process*>& processes, const DeviceNames& names)
      : names_(names),
        has_places_(std::any_of(processes.begin(), processes.end(),
                                [](const Process* process) { return !collect::ShortPlace(process->place).empty(); })),
        has_sources_(std::any_of(processes.begin(), processes.end(), IsNotByLedgerAlone)),
        table_(Columns(has_sources_, has_places_)) {}

  void Add(const Process& process, const Arguments& arguments) {
    const LedgerView& facts = process.facts;
    const Style style = facts.liveness == Liveness::kDead ? Style::kRed : Style::kPlain;
    const std::vector<TablePrinter::Cell> start = {std::to_string(process.pid),
                                                   TerminalText(process.user, 32),
                                                   {collect::StateName(facts.liveness), style},
                                                   TerminalText(facts.identity.comm, 64)};
    std::string place = TerminalText(collect::ShortPlace(process.place), 64);
    if (place.empty()) place = "-";
    bool any = false;
    for (const LedgerAccount& account : facts.accounts) {
      if (!IsShown(facts, account, arguments)) continue;
      any = true;
      std::vector<TablePrinter::Cell> cells = start;
      AppendAccount(process, account, &cells);
      if (has_sources_) {
        cells.emplace_back(collect::SourceName(process.source_of(static_cast<size_t>(&account - &facts.accounts[0]))));
      }
      if (has_places_) cells.emplace_back(place);
      table_.AddRow(std::move(cells));
    }
    if (!any) {
      std::vector<TablePrinter::Cell> cells = start;
      cells.resize(11, "-");
      if (has_sources_) cells.emplace_back(collect::SourceName(process.source));
      if (has_places_) cells.emplace_back(place);
      table_.AddRow(std::move(cells));
    }
    for (const ProcessNote& note : ProcessNotes(process)) table_.AddNote("         ! " + note.text, note.style);
    inexact_ = inexact_ || !facts.totals_exact;
  }

  std::string Text(const ScreenFormat& format) const {
    std::string text = table_.Text(format);
    const auto add = [&](const char* line) { AppendLine(line, Style::kPlain, format, &text); };
    if (overlaps_) add("* buffers of this kind share addresses: the sum is not what the memory lost");
    if (inexact_) add("~ changed while it was read");
    if (slack_) add("+ the peak may have been a little higher");
    return text;
  }

 private:
  static bool IsNotByLedgerAlone(const Process* process) {
    return process->source != collect::Source::kLedger || !process->account_sources.empty();
  }

  static std::vector<TablePrinter::Column> Columns(bool with_source, bool with_place) {
    std::vector<TablePrinter::Column> columns = {{"PID", Align::kRight},
                                                 {"USER", Align::kLeft, 6},
                                                 {"STATE"},
                                                 {"COMMAND", Align::kLeft, 8},
                                                 {"DEVICE", Align::kLeft, 8, Cut::kBegin},
                                                 {"KIND", Align::kLeft, 6},
                                                 {"BUFFERS", Align::kRight},
                                                 {"REQUESTED", Align::kRight},
                                                 {"RESERVED", Align::kRight},
                                                 {"PEAK", Align::kRight},
                                                 {"%", Align::kRight}};
    if (with_source) columns.push_back({"SOURCE"});
    if (with_place) columns.push_back({"PLACE", Align::kLeft, 8});
    return columns;
  }

  void AppendAccount(const Process& process, const LedgerAccount& account, std::vector<TablePrinter::Cell>* cells) {
    const LedgerView& facts = process.facts;
    const LedgerKind* kind = facts.kind(account.kind);
    const bool overlaps = kind != nullptr && kind->overlaps;
    const bool inexact = !facts.totals_exact;
    const bool slack = account.peak_reserved_slack != 0;
    overlaps_ = overlaps_ || overlaps;
    slack_ = slack_ || slack;
    cells->emplace_back(names_.of(process, account.device));
    cells->emplace_back(TerminalText(collect::KindName(facts, account.kind), 40) + (overlaps ? "*" : ""));
    cells->emplace_back(ScreenCount(account.live.count, inexact));
    cells->emplace_back(ScreenBytes(account.live.bytes_requested, inexact));
    cells->emplace_back(ScreenBytes(account.live.bytes_reserved, inexact));
    cells->emplace_back(ScreenBytes(account.peak_reserved) + (slack ? "+" : ""));
    if (overlaps) {
      cells->emplace_back("-");
    } else {
      cells->emplace_back(ScreenPercent(account.live.bytes_reserved, account.capacity_bytes, inexact),
                          FillStyle(account.live.bytes_reserved, account.capacity_bytes));
    }
  }

  const DeviceNames& names_;
  bool has_places_;
  bool has_sources_;
  TablePrinter table_;
  bool overlaps_ = false;
  bool inexact_ = false;
  bool slack_ = false;
};

// ---- the machine ----

// A line for each memory that somebody has used; "" if there is none.
std::string MachineText(const Snapshot& snapshot, const DeviceNames& names, const Arguments& arguments,
                        const ScreenFormat& format) {
  TablePrinter table({{"MACHINE"},
                      {"DEVICE", Align::kLeft, 8, Cut::kBegin},
                      {"MEMORY", Align::kLeft, 6},
                      {"HELD", Align::kRight},
                      {"CAPACITY", Align::kRight},
                      {"%", Align::kRight},
                      {"PEAK", Align::kRight},
                      {"PROCESSES", Align::kRight},
                      {"DEAD HELD", Align::kRight}});
  for (uint32_t i = 0; i < snapshot.devices.size(); ++i) {
    const collect::Device& device = snapshot.devices[i];
    if (arguments.device && device.local_index != *arguments.device) continue;
    for (const collect::Memory& memory : device.memories) {
      const bool used = memory.held.count != 0 || memory.left.count != 0 || memory.peak_reserved != 0;
      if (!used && !arguments.all) continue;
      const uint64_t held = memory.held.bytes_reserved;
      table.AddRow({"total",
                    names.of(i),
                    TerminalText(memory.name, 40),
                    ScreenBytes(held, !memory.exact),
                    memory.capacity_bytes == 0 ? "-" : ScreenBytes(memory.capacity_bytes),
                    {ScreenPercent(held, memory.capacity_bytes, !memory.exact), FillStyle(held, memory.capacity_bytes)},
                    ScreenBytes(memory.peak_reserved),
                    std::to_string(device.processes),
                    memory.left.count == 0 ? "-" : ScreenBytes(memory.left.bytes_reserved)});
    }
  }
  return table.empty() ? "" : "\n" + table.Text(format);
}

// A line for each thing that two sources say differently.
std::string DisagreementText(const Snapshot& snapshot, const DeviceNames& names, const ScreenFormat& format) {
  std::string text;
  for (const collect::Disagreement& one : snapshot.disagreements) {
    const Process* process = one.process ? collect::FindProcess(snapshot, *one.process) : nullptr;
    const std::string line =
        fmt::format("! {}{} {}: {} requested according to source {}, {} according to source {}",
                    process != nullptr ? std::to_string(process->pid) + " " : std::string(), names.of(one.device),
                    TerminalText(one.kind, 40), ScreenBytes(one.bytes_shown), collect::SourceName(one.shown),
                    ScreenBytes(one.bytes_other), collect::SourceName(one.other));
    AppendLine(line, Style::kYellow, format, &text);
  }
  return text;
}

std::string ScreenText(const Snapshot& snapshot, const Arguments& arguments, const ScreenFormat& format) {
  std::vector<const Process*> shown;
  uint64_t hidden = 0;
  for (const Process& process : snapshot.processes) {
    if (IsShown(process, arguments)) {
      shown.push_back(&process);
    } else if (IsChosen(process, arguments.choice) && !arguments.device) {
      ++hidden;
    }
  }
  Sort(arguments.order, &shown);
  const DeviceNames names(snapshot);
  std::string text;
  if (shown.empty()) {
    text = "No process holds device memory.\n";
  } else {
    ProcessTable table(shown, names);
    for (const Process* process : shown) table.Add(*process, arguments);
    text = table.Text(format);
  }
  if (hidden != 0) {
    AppendLine(fmt::format("{} dead process{} left nothing live; --all shows {}", hidden, hidden == 1 ? "" : "es",
                           hidden == 1 ? "it" : "them"),
               Style::kPlain, format, &text);
  }
  if (shown.empty()) return text;
  return text + MachineText(snapshot, names, arguments, format) + DisagreementText(snapshot, names, format);
}

std::string JsonText(const Snapshot& snapshot, const Arguments& arguments, collect::JsonWriter::Layout layout) {
  std::vector<const Process*> shown;
  for (const Process& process : snapshot.processes) {
    if (IsShown(process, arguments)) shown.push_back(&process);
  }
  Sort(arguments.order, &shown);
  collect::JsonWriter json(layout);
  collect::WriteSnapshot(snapshot, shown, &json);
  return json.Take();
}

int Run(const Arguments& arguments) {
  collect::Collector collector({.clean_up = !arguments.no_clean_up});
  return RunView(arguments.view, "memtally ps", [&](const FrameFormat& format) {
    collector.Discover();
    const std::shared_ptr<const Snapshot> snapshot = collector.Take();
    Frame frame;
    frame.complaints = ProblemTexts(*snapshot);
    const bool nobody = std::none_of(snapshot->processes.begin(), snapshot->processes.end(),
                                     [&](const Process& process) { return IsChosen(process, arguments.choice); });
    if (arguments.choice.pid && nobody) {
      frame.complaints.push_back(NobodyText(arguments.choice));
      frame.result = kFailure;
    }
    frame.text =
        format.json ? JsonText(*snapshot, arguments, format.layout) : ScreenText(*snapshot, arguments, format.screen);
    return frame;
  });
}

}  // namespace

void AddPs(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* ps = app->add_subcommand("ps", "Lists processes and the device memory that they hold, the dead included");
  ps->add_option("--pid", arguments->choice.pid, "This process only")->type_name("PID");
  AddOwnerOptions(ps, &arguments->choice);
  ps->add_option("--device", arguments->device, "On this device only, by the program's own number")->type_name("N");
  ps->add_option("--sort", arguments->order, "state (the default), pid, user, command, held, peak or start")
      ->check(CLI::IsMember(kOrders).description(""))
      ->type_name("ORDER");
  ps->add_flag("--all", arguments->all,
               "Also memories that were never used, and dead processes that left nothing live");
  ps->add_flag("--no-clean-up", arguments->no_clean_up, "Do not first remove what dead processes left without need");
  AddViewOptions(ps, "memtally.snapshot", &arguments->view);
  ps->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
