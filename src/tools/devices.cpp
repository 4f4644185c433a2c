// SPDX-License-Identifier: Apache-2.0
//
// memtally devices: a line for each memory of each device of the machine.
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
#include "tools/device_holders.hpp"
#include "tools/device_names.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

using collect::Device;
using collect::JsonWriter;
using collect::Memory;
using collect::Snapshot;
using Align = TablePrinter::Align;

struct Arguments {
  ViewOptions view;
  std::optional<int32_t> device;
  bool all = false;
};

bool IsShown(const Device& device, const Arguments& arguments) {
  return !arguments.device || device.local_index == *arguments.device;
}

bool WasUsed(const Memory& memory) {
  return memory.held.count != 0 || memory.left.count != 0 || memory.peak_reserved != 0 ||
         std::any_of(memory.kinds.begin(), memory.kinds.end(), [](const collect::MemoryKind& kind) {
           return kind.live.count != 0 || kind.left.count != 0 || kind.failed_allocations != 0;
         });
}

// ---- screen ----

// "dram 1.2 GiB, trace 3.0 MiB, cb* 20.0 KiB (0x19d60 to 0xe2c60)".
std::string KindsText(const Memory& memory) {
  std::string text;
  for (const collect::MemoryKind& kind : memory.kinds) {
    if (kind.live.count == 0) continue;
    if (!text.empty()) text += ", ";
    text += fmt::format("{}{} {}", TerminalText(kind.name, 40),
                        kind.overlaps ? "*"
                        : kind.nested ? "^"
                                      : "",
                        ScreenBytes(kind.live.bytes_reserved, !memory.exact));
    if (kind.extent) text += fmt::format(" ({:#x} to {:#x})", kind.extent->lowest, kind.extent->end);
  }
  return text.empty() ? "-" : text;
}

std::string LargestText(const std::vector<DeviceHolder>& holders) {
  if (holders.empty()) return "-";
  const DeviceHolder& most = holders.front();
  std::string text = fmt::format("{} ({}) {}", TerminalText(most.process->facts.identity.comm, 64), most.process->pid,
                                 ScreenBytes(most.held.bytes_reserved));
  if (holders.size() > 1) text += fmt::format(", +{}", holders.size() - 1);
  return text;
}

class Screen {
 public:
  Screen(const Snapshot& snapshot, const Arguments& arguments)
      : snapshot_(snapshot),
        names_(snapshot),
        table_({{"DEVICE", Align::kLeft, 8, Cut::kBegin},
                {"MEMORY", Align::kLeft, 6},
                {"PHYSICAL", Align::kRight},
                {"CAPACITY", Align::kRight},
                {"HELD", Align::kRight},
                {"%", Align::kRight},
                {"PEAK", Align::kRight},
                {"PROCESSES", Align::kRight},
                {"DEAD HELD", Align::kRight},
                {"LARGEST HOLDER", Align::kLeft, 14},
                {"KINDS", Align::kLeft, 10}}) {
    for (uint32_t i = 0; i < snapshot.devices.size(); ++i) {
      const Device& device = snapshot.devices[i];
      if (!IsShown(device, arguments)) continue;
      uint64_t physical = device.physical_bytes;
      for (const Memory& memory : device.memories) {
        if (!arguments.all && !WasUsed(memory)) continue;
        Add(i, memory, std::exchange(physical, 0));
      }
    }
  }

  std::string Text(const ScreenFormat& format) const {
    if (table_.empty()) return "No process has reported a device.\n";
    std::string text = table_.Text(format);
    const auto add = [&](const char* line) { AppendLine(line, Style::kPlain, format, &text); };
    if (overlaps_) add("* buffers of this kind share addresses: no part of what is held");
    if (nested_) add("^ lies in other kinds' buffers: no part of what is held");
    if (differs_) add("> processes have carved out different parts; this is the largest");
    if (inexact_) add("~ changed while it was read");
    return text;
  }

 private:
  void Add(uint32_t index, const Memory& memory, uint64_t physical) {
    const std::vector<DeviceHolder> holders = HoldersOf(snapshot_, index, memory);
    const uint64_t held = memory.held.bytes_reserved;
    std::string capacity = "-";
    if (memory.capacity_bytes != 0) {
      capacity = (memory.capacity_differs ? ">" : "") + ScreenBytes(memory.capacity_bytes);
    }
    table_.AddRow({names_.of(index),
                   TerminalText(memory.name, 40) + (memory.on_host ? " (host)" : ""),
                   physical == 0 ? "-" : ScreenBytes(physical),
                   capacity,
                   ScreenBytes(held, !memory.exact),
                   {ScreenPercent(held, memory.capacity_bytes, !memory.exact), FillStyle(held, memory.capacity_bytes)},
                   ScreenBytes(memory.peak_reserved),
                   std::to_string(snapshot_.devices[index].processes),
                   memory.left.count == 0 ? "-" : ScreenBytes(memory.left.bytes_reserved),
                   LargestText(holders),
                   KindsText(memory)});
    const std::string cause = OverfullCause(memory, holders);
    if (!cause.empty()) table_.AddNote("  ! more than there is: " + cause, Style::kRed);
    for (const collect::MemoryKind& kind : memory.kinds) {
      overlaps_ = overlaps_ || (kind.overlaps && kind.live.count != 0);
      nested_ = nested_ || (!kind.overlaps && kind.nested && kind.live.count != 0);
      if (kind.failed_allocations == 0) continue;
      table_.AddNote(fmt::format("  ! {} failed allocation{} of {}", kind.failed_allocations,
                                 kind.failed_allocations == 1 ? "" : "s", TerminalText(kind.name, 40)),
                     Style::kYellow);
    }
    differs_ = differs_ || memory.capacity_differs;
    inexact_ = inexact_ || !memory.exact;
  }

  const Snapshot& snapshot_;
  DeviceNames names_;
  TablePrinter table_;
  bool overlaps_ = false;
  bool nested_ = false;
  bool differs_ = false;
  bool inexact_ = false;
};

// ---- JSON ----

void WriteHolder(uint32_t device, const Memory& memory, const DeviceHolder& holder, JsonWriter* json) {
  json->BeginObject();
  json->Field("device", device);
  json->Field("memory", memory.name);
  collect::WriteProcessName(*holder.process, json);
  json->Field("capacity_bytes", holder.capacity_bytes);
  json->Key("held");
  collect::WriteAmount(holder.held, json);
  json->EndObject();
}

std::string JsonText(const Snapshot& snapshot, const Arguments& arguments, JsonWriter::Layout layout) {
  JsonWriter json(layout);
  json.BeginObject();
  collect::WriteHead("memtally.devices", snapshot, &json);
  std::vector<uint32_t> shown;
  for (uint32_t i = 0; i < snapshot.devices.size(); ++i) {
    if (IsShown(snapshot.devices[i], arguments)) shown.push_back(i);
  }
  const auto each_memory = [&](const auto& write) {
    json.BeginArray();
    for (const uint32_t index : shown) {
      for (const Memory& memory : snapshot.devices[index].memories) {
        write(index, memory, HoldersOf(snapshot, index, memory));
      }
    }
    json.EndArray();
  };
  json.Key("devices");
  json.BeginArray();
  for (const uint32_t index : shown) collect::WriteDevice(snapshot, index, &json);
  json.EndArray();
  json.Key("holders");
  each_memory([&](uint32_t device, const Memory& memory, const std::vector<DeviceHolder>& holders) {
    for (const DeviceHolder& holder : holders) WriteHolder(device, memory, holder, &json);
  });
  json.Key("overfull");
  each_memory([&](uint32_t device, const Memory& memory, const std::vector<DeviceHolder>& holders) {
    const std::string cause = OverfullCause(memory, holders);
    if (cause.empty()) return;
    json.BeginObject();
    json.Field("device", device);
    json.Field("memory", memory.name);
    json.Field("cause", cause);
    json.EndObject();
  });
  collect::WriteProblems(snapshot, &json);
  json.EndObject();
  return json.Take();
}

int Run(const Arguments& arguments) {
  collect::Collector collector;
  return RunView(arguments.view, "memtally devices", [&](const FrameFormat& format) {
    collector.Discover();
    const std::shared_ptr<const Snapshot> snapshot =
        collector.Take({.level = collect::Level::kTotals, .process = {}, .extents = true});
    Frame frame;
    frame.complaints = ProblemTexts(*snapshot);
    if (arguments.device && std::none_of(snapshot->devices.begin(), snapshot->devices.end(),
                                         [&](const Device& device) { return IsShown(device, arguments); })) {
      frame.complaints.push_back(
          fmt::format("no process calls a device {}; 'memtally devices' lists those there are", *arguments.device));
      frame.result = kFailure;
    }
    frame.text =
        format.json ? JsonText(*snapshot, arguments, format.layout) : Screen(*snapshot, arguments).Text(format.screen);
    return frame;
  });
}

}  // namespace

void AddDevices(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* devices = app->add_subcommand("devices", "Lists the devices' memories, and who holds most of each");
  devices->add_option("--device", arguments->device, "This device only, by the programs' own number")->type_name("N");
  devices->add_flag("--all", arguments->all, "Also memories that were never used");
  AddViewOptions(devices, "memtally.devices", &arguments->view);
  devices->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
