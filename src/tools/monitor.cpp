// SPDX-License-Identifier: Apache-2.0
//
// memtally monitor: bars of device memory, again and again, with the options of the original server's monitor.
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/proc.hpp"
#include "collect/collector.hpp"
#include "tools/device_names.hpp"
#include "tools/output.hpp"
#include "tools/pager.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"
#include "tools/text_style.hpp"
#include "tools/watch.hpp"

namespace memtally::tools {
namespace {

using collect::Device;
using collect::Memory;
using collect::Snapshot;

struct Arguments {
  uint32_t refresh_ms = 1000;
  std::vector<int32_t> devices;
  bool all = false;
  uint64_t frames = 0;  // 0: without end
};

constexpr size_t kBarCells = 30;

bool IsShown(const Device& device, const Arguments& arguments) {
  if (arguments.all) return true;
  if (arguments.devices.empty()) return device.local_index == 0;
  return std::find(arguments.devices.begin(), arguments.devices.end(), device.local_index) != arguments.devices.end();
}

void AppendMemory(const Memory& memory, bool color, std::string* frame) {
  const uint64_t held = memory.held.bytes_reserved;
  *frame += fmt::format("  {:<14} {:>11}", TerminalText(memory.name, 14), ScreenBytes(held, !memory.exact));
  if (memory.capacity_bytes != 0) {
    const double part = static_cast<double>(held) / static_cast<double>(memory.capacity_bytes);
    const auto cells = std::min(kBarCells, static_cast<size_t>(std::lround(part * kBarCells)));
    std::string bar(cells, '#');
    bar.resize(kBarCells, '.');
    *frame += fmt::format(" / {:>11}  [", ScreenBytes(memory.capacity_bytes));
    AppendStyled(bar, FillStyle(held, memory.capacity_bytes), color, frame);
    *frame += fmt::format("] {}", ScreenPercent(held, memory.capacity_bytes, !memory.exact));
  }
  *frame += '\n';
  for (const collect::MemoryKind& kind : memory.kinds) {
    if (kind.live.count == 0 || (kind.name == memory.name && memory.kinds.size() == 1)) continue;
    *frame += fmt::format("    {:<12} {:>11} in {} buffers{}\n", TerminalText(kind.name, 12),
                          ScreenBytes(kind.live.bytes_reserved), kind.live.count,
                          kind.overlaps ? ", which share addresses" : "");
  }
}

std::string Frame(const Snapshot& snapshot, const Arguments& arguments, bool color) {
  std::string frame;
  const DeviceNames names(snapshot);
  for (uint32_t i = 0; i < snapshot.devices.size(); ++i) {
    const Device& device = snapshot.devices[i];
    if (!IsShown(device, arguments)) continue;
    frame += fmt::format("Device {}: {} process{}\n", TerminalText(names.of(i), 40), device.processes,
                         device.processes == 1 ? "" : "es");
    for (const Memory& memory : device.memories) {
      if (memory.held.count != 0 || memory.capacity_bytes != 0 || !memory.kinds.empty())
        AppendMemory(memory, color, &frame);
    }
  }
  if (frame.empty()) frame = "No process has reported such a device.\n";
  for (const collect::Problem& problem : snapshot.problems) {
    frame += fmt::format("! {}\n", TerminalText(problem.error.what, 200));
  }
  return frame;
}

int Run(const Arguments& arguments) {
  collect::Collector collector;
  const ScreenFormat format = StandardFormat();
  const bool clears = format.color;
  const Watch watch;
  for (uint64_t frame = 1;; ++frame) {
    const uint64_t begin_ns = base::MonotonicNs();
    collector.Discover();
    const auto snapshot = collector.Take();
    std::string text = clears ? "\x1b[H\x1b[2J" : "";
    text += Frame(*snapshot, arguments, format.color);
    if (!clears) text += '\n';
    bool reader_gone = false;
    const int result = WriteOutput(text, &reader_gone);
    if (result != kSuccess || reader_gone) return result;
    if (frame == arguments.frames) return kSuccess;
    Watch::Outcome outcome = Watch::Outcome::kResized;
    while (outcome == Watch::Outcome::kResized) {
      outcome = watch.WaitUntil(begin_ns + uint64_t{arguments.refresh_ms} * 1'000'000);
    }
    if (outcome == Watch::Outcome::kStop) return kSuccess;
  }
}

}  // namespace

void AddMonitor(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* monitor =
      app->add_subcommand("monitor", "Bars of device memory, again and again: the options of the original monitor");
  monitor->add_option("-r,--refresh", arguments->refresh_ms, "Milliseconds between frames (default 1000)")
      ->check(CLI::Range(10u, 3'600'000u))
      ->type_name("MS");
  monitor->add_option("-d,--device", arguments->devices, "A device's number; several times for several (default 0)")
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("ID");
  monitor->add_flag("-a,--all", arguments->all, "All devices");
  monitor->add_option("-n,--frames", arguments->frames, "End after so many frames (default: go on until Ctrl-C)")
      ->type_name("N");
  monitor->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
