// SPDX-License-Identifier: Apache-2.0
#include "tools/top/device_panel.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/glyphs.hpp"
#include "tools/top/memory_bar.hpp"

namespace memtally::tools::top {
namespace {

using collect::Device;
using collect::Memory;
using collect::MemoryKind;

constexpr int kMostLabelColumns = 14;
constexpr int kLeastBarsWidth = 38;  // of one of several in a line

bool IsShown(const Memory& memory) {
  const bool is_used = memory.peak_reserved != 0 || memory.held.count != 0 || memory.left.count != 0;
  const bool has_buffers = std::any_of(memory.kinds.begin(), memory.kinds.end(), [](const MemoryKind& kind) {
    return kind.live.count != 0 || kind.left.count != 0 || kind.failed_allocations != 0;
  });
  return is_used || has_buffers || (memory.capacity_bytes != 0 && !memory.on_host);
}

uint64_t HeldByTheGone(const Device& device) {
  uint64_t sum = 0;
  for (const Memory& memory : device.memories) sum += memory.left.bytes_reserved;
  return sum;
}

// A device that cannot be found again and that no living process has open: what there is to say is what was left.
bool IsPast(const Device& device) { return device.id_scheme == MEMTALLY_ID_NONE && device.processes == 0; }

std::string DeviceName(const Device& device) {
  return device.local_index < 0 ? "?" : std::to_string(device.local_index);
}

std::string DeviceText(const Device& device) {
  std::string text = "device " + DeviceName(device);
  for (const std::string& part : {device.vendor, device.architecture}) {
    if (!part.empty()) text += " " + TerminalText(part, 24);
  }
  if (device.pci_address) {
    const uint32_t address = *device.pci_address;
    text += fmt::format("  {:04x}:{:02x}:{:02x}.{:x}", address >> 16, address >> 8 & 0xff, address >> 3 & 0x1f,
                        address & 7);
  }
  if (device.physical_bytes != 0) text += "  " + ScreenBytes(device.physical_bytes);
  text += fmt::format("  {} process{}", device.processes, device.processes == 1 ? "" : "es");
  if (device.gone_processes != 0) text += fmt::format(", {} gone", device.gone_processes);
  if (IsPast(device)) text += fmt::format(", which held {}", ScreenBytes(HeldByTheGone(device)));
  return text;
}

}  // namespace

DevicePanel::DevicePanel(const collect::Snapshot& snapshot, const TopState& state, int width, int height)
    : snapshot_(snapshot), state_(state) {
  size_t label = 4;
  for (const Device& device : snapshot_.devices) {
    for (const Memory& memory : device.memories) {
      if (IsShown(memory)) label = std::max(label, TerminalWidth(TerminalText(memory.name, kMostLabelColumns)));
    }
  }
  // Labels leave at least two thirds to what they are for.
  label_columns_ = std::min(static_cast<int>(label) + 3, width / 3);
  for (const Detail detail : {Detail::kFull, Detail::kBars, Detail::kOneLine, Detail::kColumns}) {
    per_line_ = detail == Detail::kColumns ? std::max(width / kLeastBarsWidth, 1) : 1;
    lines_ = Build(detail);
    if (lines() <= height) break;
  }
}

std::vector<DevicePanel::Line> DevicePanel::Build(Detail detail) const {
  std::vector<Line> lines;
  for (const Device& device : snapshot_.devices) {
    if (!state_.devices.empty() && !state_.devices.contains(device.local_index)) continue;
    if (IsPast(device)) {
      if (HeldByTheGone(device) != 0) lines.push_back({Line::Kind::kDevice, {&device, nullptr}, nullptr, {}});
      continue;
    }
    const bool is_short = detail == Detail::kOneLine || detail == Detail::kColumns;
    if (!is_short) lines.push_back({Line::Kind::kDevice, {&device, nullptr}, nullptr, {}});
    for (const Memory& memory : device.memories) {
      if (!IsShown(memory)) continue;
      const Bar bar{&device, &memory};
      if (is_short) {
        if (lines.empty() || static_cast<int>(lines.back().bars.size()) >= per_line_) {
          lines.push_back({Line::Kind::kBars, {}, nullptr, {}});
        }
        lines.back().bars.push_back(bar);
        continue;
      }
      lines.push_back({Line::Kind::kBar, bar, nullptr, {}});
      if (detail != Detail::kFull) continue;
      if (HasLegend(memory)) lines.push_back({Line::Kind::kLegend, bar, nullptr, {}});
      for (const MemoryKind& kind : memory.kinds) {
        if (kind.extent) lines.push_back({Line::Kind::kExtent, bar, &kind, {}});
      }
    }
  }
  return lines;
}

void DevicePanel::Draw(const Pane& pane, int first) const {
  int y = 0;
  for (int i = std::max(first, 0); i < lines() && y < pane.height(); ++i) {
    DrawLine(pane, y++, lines_[static_cast<size_t>(i)]);
  }
}

void DevicePanel::DrawLine(const Pane& pane, int y, const Line& line) const {
  const Pane behind = pane.Sub(label_columns_, y, pane.width() - label_columns_, 1);
  switch (line.kind) {
    case Line::Kind::kDevice:
      pane.Put(0, y, DeviceText(*line.bar.device), {IsPast(*line.bar.device) ? Role::kGone : Role::kHeading});
      break;
    case Line::Kind::kBar:
      DrawBar(pane.Sub(0, y, pane.width(), 1), line.bar, "  ");
      break;
    case Line::Kind::kLegend:
      DrawLegend(behind, 0, *line.bar.memory);
      break;
    case Line::Kind::kExtent:
      DrawExtent(behind, 0, *line.bar.memory, *line.of_kind);
      break;
    case Line::Kind::kBars: {
      const int each = pane.width() / per_line_;
      for (size_t i = 0; i < line.bars.size(); ++i) {
        const Pane part = pane.Sub(static_cast<int>(i) * each, y, each - (per_line_ > 1 ? 1 : 0), 1);
        DrawBar(part, line.bars[i], DeviceName(*line.bars[i].device) + " ");
      }
      break;
    }
  }
}

void DevicePanel::DrawBar(const Pane& pane, const Bar& bar, const std::string& before) const {
  const int label = std::min(label_columns_, pane.width() / 3);
  pane.Put(0, 0, before + TerminalText(bar.memory->name, kMostLabelColumns), {}, label - 1);
  const Pane behind = pane.Sub(label, 0, pane.width() - label, 1);
  const int columns = ShareBarColumns(behind.width()).history;
  DrawMemoryBar(behind, 0, *bar.memory,
                state_.history.Line(snapshot_, *bar.device, *bar.memory, columns, GlyphsOf(pane.charset()).levels));
}

}  // namespace memtally::tools::top
