// SPDX-License-Identifier: Apache-2.0
//
// memtally buffers: what processes hold, buffer by buffer, or by tag, kind or size.
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
#include "tools/buffer_list.hpp"
#include "tools/device_names.hpp"
#include "tools/number_option.hpp"
#include "tools/process_choice.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/tag_option.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

using collect::JsonWriter;
using collect::Process;
using Align = TablePrinter::Align;

constexpr uint64_t kScreenRows = 50;  // unless --limit says otherwise

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  BufferFilter filter;
  std::string order = "size";
  std::string by;
  std::optional<uint64_t> limit;  // 0: none
};

// In the order of enum BufferOrder, and of enum Grouping.
const std::vector<std::string> kOrders = {"size", "age", "id", "address"};
const std::vector<std::string> kGroupings = {"kind", "tag", "size"};

template <typename Enum>
Enum PlaceIn(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<Enum>(std::find(names.begin(), names.end(), name) - names.begin());
}

bool Overlaps(const LedgerView& facts, const LedgerAccount& account) {
  const LedgerKind* kind = facts.kind(account.kind);
  return kind != nullptr && kind->overlaps;
}

std::string ScreenKind(const LedgerView& facts, const LedgerAccount& account) {
  return TerminalText(collect::KindName(facts, account.kind), 40);
}

// ---- screen ----

class Screen {
 public:
  Screen(const ProcessSet& set, const BufferList& list, const Arguments& arguments, const ScreenFormat& format)
      : set_(set), list_(list), arguments_(arguments), format_(format), names_(*set.machine) {}

  std::string Text() const {
    std::string text;
    for (const Process* process : set_.processes) {
      for (const std::string& gap : process->facts.gaps) {
        AppendLine(fmt::format("! {}: {}", process->pid, TerminalText(gap, 160)), Style::kYellow, format_, &text);
      }
    }
    if (list_.rows().empty()) return text + "No live buffers.\n";
    std::vector<BufferSum> sums;
    if (!arguments_.by.empty()) sums = list_.Sums(PlaceIn<Grouping>(kGroupings, arguments_.by));
    const uint64_t matching = arguments_.by.empty() ? list_.rows().size() : sums.size();
    const uint64_t limit = arguments_.limit.value_or(kScreenRows);
    const uint64_t shown = limit == 0 ? matching : std::min(limit, matching);
    text += arguments_.by.empty() ? BufferTable(shown) : SumTable(sums, shown);
    if (shown < matching) text += fmt::format("... and {} more; --limit 0 shows all\n", matching - shown);
    return text + '\n' + SumLines();
  }

 private:
  std::string BufferTable(uint64_t shown) const {
    TablePrinter table({{"PID", Align::kRight},
                        {"ID", Align::kRight},
                        {"ADDRESS", Align::kRight},
                        {"DEVICE", Align::kLeft, 8, Cut::kBegin},
                        {"KIND", Align::kLeft, 6},
                        {"REQUESTED", Align::kRight},
                        {"RESERVED", Align::kRight},
                        {"PER BANK", Align::kRight},
                        {"AGE", Align::kRight},
                        {"THREAD", Align::kRight},
                        {"TAG", Align::kLeft, 12, Cut::kBegin},
                        {"GROUP", Align::kLeft, 5},
                        {"FLAGS"}});
    for (uint64_t i = 0; i < shown; ++i) {
      const BufferRow& row = list_.rows()[i];
      const Process& process = *set_.processes[row.process];
      const LedgerView& facts = process.facts;
      const LedgerBuffer& buffer = *row.buffer;
      const std::optional<uint64_t> age_ns = collect::AgeNs(*set_.machine, facts, buffer.time_ns);
      std::string group = "-";
      if (buffer.group != 0) {
        group = TerminalText(collect::GroupName(facts, buffer.group), 120);
        if (group.empty()) group = std::to_string(buffer.group);
      }
      table.AddRow({std::to_string(process.pid), fmt::format("{}{}", facts.buffers_exact ? "" : "~", buffer.id),
                    fmt::format("{:#x}", buffer.address), names_.of(process, row.account->device),
                    ScreenKind(facts, *row.account), ScreenBytes(buffer.bytes_requested),
                    ScreenBytes(row.bytes_reserved), ScreenBytes(buffer.bytes_per_bank),
                    age_ns ? ScreenAge(*age_ns) : "-", buffer.thread_id ? std::to_string(buffer.thread_id) : "-",
                    ScreenTag(*row.tag_path), std::move(group), buffer.imported ? "imported" : "-"});
    }
    return table.Text(format_);
  }

  std::string SumTable(const std::vector<BufferSum>& sums, uint64_t shown) const {
    std::vector<TablePrinter::Column> columns = {{"PID", Align::kRight},       {"DEVICE", Align::kLeft, 8, Cut::kBegin},
                                                 {"KIND", Align::kLeft, 6},    {"BUFFERS", Align::kRight},
                                                 {"REQUESTED", Align::kRight}, {"RESERVED", Align::kRight}};
    if (arguments_.by == "tag") columns.push_back({"TAG", Align::kLeft, 12, Cut::kBegin});
    if (arguments_.by == "size") columns.push_back({"EACH", Align::kRight});
    TablePrinter table(std::move(columns));
    for (uint64_t i = 0; i < shown; ++i) {
      const BufferSum& sum = sums[i];
      const Process& process = *set_.processes[sum.process];
      const LedgerView& facts = process.facts;
      const bool inexact = !facts.buffers_exact;
      std::vector<TablePrinter::Cell> cells = {std::to_string(process.pid),
                                               names_.of(process, sum.account->device),
                                               ScreenKind(facts, *sum.account),
                                               ScreenCount(sum.count, inexact),
                                               ScreenBytes(sum.bytes_requested, inexact),
                                               ScreenBytes(sum.bytes_reserved, inexact)};
      if (arguments_.by == "tag") cells.emplace_back(ScreenTag(*sum.tag_path));
      if (arguments_.by == "size") cells.emplace_back(ScreenBytes(sum.size));
      table.AddRow(std::move(cells));
    }
    return table.Text(format_);
  }

  // A line for each process, device and kind: everything that matched, shown or not.
  std::string SumLines() const {
    std::string text;
    for (const BufferSum& sum : list_.Sums(Grouping::kKind)) {
      const Process& process = *set_.processes[sum.process];
      const LedgerView& facts = process.facts;
      const bool inexact = !facts.buffers_exact;
      std::string line = fmt::format(
          "{} {} {} {}: {} buffers, {} requested, {} reserved", process.pid, collect::StateName(facts.liveness),
          names_.of(process, sum.account->device), ScreenKind(facts, *sum.account), ScreenCount(sum.count, inexact),
          ScreenBytes(sum.bytes_requested, inexact), ScreenBytes(sum.bytes_reserved, inexact));
      if (Overlaps(facts, *sum.account) && sum.count != 0) {
        line += fmt::format(", overlapping, from {:#x} to {:#x}", sum.lowest_address, sum.highest_end);
      }
      if (sum.imported != 0) line += fmt::format(", and {} imported, which are not summed", sum.imported);
      AppendLine(line, Style::kPlain, format_, &text);
    }
    return text;
  }

  const ProcessSet& set_;
  const BufferList& list_;
  const Arguments& arguments_;
  const ScreenFormat& format_;
  DeviceNames names_;
};

// ---- JSON ----

void WriteBuffer(const ProcessSet& set, const BufferRow& row, JsonWriter* json) {
  const Process& process = *set.processes[row.process];
  const LedgerView& facts = process.facts;
  const LedgerBuffer& buffer = *row.buffer;
  json->BeginObject();
  json->Field("process", row.process);
  json->Field("pid", process.pid);
  json->Field("device", row.account->device);
  json->Field("kind", collect::KindName(facts, row.account->kind));
  json->Field("id", buffer.id);
  json->Field("address", buffer.address);
  json->Field("bytes_requested", buffer.bytes_requested);
  json->Field("bytes_reserved", row.bytes_reserved);
  json->Field("bytes_per_bank", buffer.bytes_per_bank);
  json->Field("time_ns", buffer.time_ns);
  json->OptionalField("age_ns", collect::AgeNs(*set.machine, facts, buffer.time_ns));
  json->Field("thread_id", buffer.thread_id);
  json->Field("tag", *row.tag_path);
  json->Field("group", buffer.group);
  json->Field("group_name", buffer.group == 0 ? std::string() : collect::GroupName(facts, buffer.group));
  json->Field("stack", buffer.stack);
  json->Flag("imported", buffer.imported);
  json->EndObject();
}

void WriteSum(const ProcessSet& set, const BufferSum& sum, Grouping grouping, JsonWriter* json) {
  const Process& process = *set.processes[sum.process];
  json->BeginObject();
  json->Field("process", sum.process);
  json->Field("pid", process.pid);
  json->Field("device", sum.account->device);
  json->Field("kind", collect::KindName(process.facts, sum.account->kind));
  if (grouping == Grouping::kTag) json->Field("tag", *sum.tag_path);
  if (grouping == Grouping::kSize) json->Field("bytes_requested_each", sum.size);
  json->Field("count", sum.count);
  json->Field("bytes_requested", sum.bytes_requested);
  json->Field("bytes_reserved", sum.bytes_reserved);
  json->Flag("overlaps", Overlaps(process.facts, *sum.account));
  json->Key("lowest_address");
  sum.count != 0 ? json->Number(sum.lowest_address) : json->Null();
  json->Key("highest_end");
  sum.count != 0 ? json->Number(sum.highest_end) : json->Null();
  json->Field("imported_count", sum.imported);
  json->Flag("exact", process.facts.buffers_exact);
  json->EndObject();
}

std::string JsonText(const ProcessSet& set, const BufferList& list, const Arguments& arguments,
                     JsonWriter::Layout layout) {
  JsonWriter json(layout);
  const auto write_sums = [&](const char* key, Grouping grouping, uint64_t limit) {
    const std::vector<BufferSum> sums = list.Sums(grouping);
    json.Key(key);
    json.BeginArray();
    for (uint64_t i = 0; i < sums.size() && (limit == 0 || i < limit); ++i) WriteSum(set, sums[i], grouping, &json);
    json.EndArray();
  };
  const uint64_t limit = arguments.limit.value_or(0);
  json.BeginObject();
  collect::WriteHead("memtally.buffers", *set.machine, &json);
  json.Key("processes");
  json.BeginArray();
  for (const Process* process : set.processes) {
    collect::WriteProcess(*process, {.accounts = false, .contents = false}, &json);
  }
  json.EndArray();
  json.Field("matching", list.rows().size());
  write_sums("sums", Grouping::kKind, 0);
  if (!arguments.by.empty()) {
    json.Field("by", arguments.by);
    write_sums("parts", PlaceIn<Grouping>(kGroupings, arguments.by), limit);
  } else {
    json.Key("buffers");
    json.BeginArray();
    for (uint64_t i = 0; i < list.rows().size() && (limit == 0 || i < limit); ++i) {
      WriteBuffer(set, list.rows()[i], &json);
    }
    json.EndArray();
  }
  collect::WriteProblems(*set.machine, &json);
  json.EndObject();
  return json.Take();
}

// ---- the subcommand ----

int Run(const Arguments& arguments) {
  collect::Collector collector(CollectorOptions(arguments.choice));
  return RunView(arguments.view, "memtally buffers", [&](const FrameFormat& format) {
    Frame frame;
    const ProcessSet set = TakeChosen(&collector, arguments.choice, &frame);
    if (frame.result != kSuccess && !arguments.view.watch_seconds) return frame;
    BufferList list(set.processes, arguments.filter);
    list.Sort(PlaceIn<BufferOrder>(kOrders, arguments.order));
    frame.text = format.json ? JsonText(set, list, arguments, format.layout)
                             : Screen(set, list, arguments, format.screen).Text();
    return frame;
  });
}

}  // namespace

void AddBuffers(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* buffers = app->add_subcommand("buffers", "Lists the live buffers of processes, and of the dead");
  AddProcessOptions(buffers, &arguments->choice);
  AddOwnerOptions(buffers, &arguments->choice);
  buffers->add_option("--device", arguments->filter.device, "On this device only, by the program's own number")
      ->type_name("N");
  buffers->add_option("--kind", arguments->filter.kind, "Of this kind only, such as dram or l1")->type_name("KIND");
  AddTagOption(buffers, &arguments->filter.tag);
  buffers->add_option("--sort", arguments->order, "size (the default), age, id or address")
      ->check(CLI::IsMember(kOrders).description(""))
      ->type_name("ORDER");
  buffers->add_option("--limit", arguments->limit, "At most so many lines; 0 all (default 50, with --json 0)")
      ->check(NotNegative())
      ->type_name("N");
  CLI::Option* by = buffers->add_option("--by", arguments->by, "Sums by tag, kind or size, instead of buffers")
                        ->check(CLI::IsMember(kGroupings).description(""))
                        ->type_name("WHAT");
  buffers
      ->add_flag_callback(
          "--by-tag", [arguments] { arguments->by = "tag"; }, "The same as --by tag")
      ->excludes(by);
  AddViewOptions(buffers, "memtally.buffers", &arguments->view);
  buffers->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
