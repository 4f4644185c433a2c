// SPDX-License-Identifier: Apache-2.0
#include "tools/top/memory_bar.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/bar.hpp"
#include "tools/top/glyphs.hpp"

namespace memtally::tools::top {
namespace {

using collect::Memory;
using collect::MemoryKind;

constexpr int kBytesColumns = 10;  // "1023.9 MiB"
constexpr int kPercentColumns = 7;

bool AddsUp(const MemoryKind& kind) { return !kind.overlaps && !kind.nested; }

struct Mark {
  const char* wide;
  const char* narrow;
  Role role;
};

Mark MarkOf(Fullness fullness) {
  switch (fullness) {
    case Fullness::kNormal:
      return {"", "", Role::kText};
    case Fullness::kWarning:
      return {"!", "!", Role::kWarning};
    case Fullness::kCritical:
      return {"!!", "!!", Role::kCritical};
    case Fullness::kOver:
      break;
  }
  return {"OVER", ">>", Role::kCritical};
}

void DrawBar(const Pane& pane, int x, int y, int width, const Memory& memory) {
  const Glyphs& glyphs = GlyphsOf(pane.charset());
  const int inner = width - 2;
  if (inner <= 0) return;
  std::vector<uint64_t> parts;
  std::vector<size_t> places;
  for (size_t i = 0; i < memory.kinds.size(); ++i) {
    if (!AddsUp(memory.kinds[i])) continue;
    parts.push_back(memory.kinds[i].live.bytes_reserved);
    places.push_back(i);
  }
  const BarShape shape = ShapeBar(parts, memory.capacity_bytes, memory.peak_reserved, inner, glyphs.has_eighths);
  pane.Put(x, y, glyphs.bar_begin);
  pane.Fill(x + 1, y, inner, glyphs.track, {Role::kTrack});
  if (shape.warning) pane.Put(x + 1 + *shape.warning, y, glyphs.warning, {Role::kWarning});
  if (shape.critical) pane.Put(x + 1 + *shape.critical, y, glyphs.critical, {Role::kCritical});
  if (shape.peak) pane.Put(x + 1 + *shape.peak, y, glyphs.peak);
  int at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const size_t glyph = places[i] % glyphs.kinds.size();
    pane.Fill(x + 1 + at, y, shape.cells[i], glyphs.kinds[glyph], {KindRole(places[i])});
    at += shape.cells[i];
    if (at == shape.filled && shape.cells[i] != 0 && shape.last_eighths < 8) {
      pane.Put(x + at, y, glyphs.eighths[static_cast<size_t>(shape.last_eighths - 1)], {KindRole(places[i])});
    }
  }
  if (shape.is_over) {
    pane.Put(x + 1 + inner, y, glyphs.over, {Role::kCritical});
  } else {
    pane.Put(x + 1 + inner, y, glyphs.bar_end);
  }
}

}  // namespace

BarColumns ShareBarColumns(int width) {
  BarColumns columns;
  columns.held = width >= 34;
  columns.capacity = width >= 58;
  columns.wide_mark = width >= 46;
  columns.peak = width >= 100;
  columns.history = width >= 66 ? std::min(width / 6, 60) : 0;
  int numbers = 1 + kPercentColumns + (columns.wide_mark ? 5 : 3);
  if (columns.held) numbers += 1 + kBytesColumns;
  if (columns.capacity) numbers += 3 + kBytesColumns;
  if (columns.peak) numbers += 6 + kBytesColumns;
  if (columns.history != 0) numbers += 1 + columns.history;
  columns.bar = std::max(width - numbers, 0);
  return columns;
}

void DrawMemoryBar(const Pane& pane, int y, const Memory& memory, const std::string& history) {
  const BarColumns columns = ShareBarColumns(pane.width());
  const uint64_t held = memory.held.bytes_reserved;
  const Mark mark = MarkOf(FullnessOf(held, memory.capacity_bytes));
  DrawBar(pane, 0, y, columns.bar, memory);
  int x = columns.bar;
  if (columns.held) {
    x += 1 + kBytesColumns;
    pane.PutRight(x, y, ScreenBytes(held, !memory.exact), {}, kBytesColumns + 1);
  }
  if (columns.capacity) {
    pane.Put(x, y, " / ", {Role::kDim});
    const std::string capacity = memory.capacity_bytes == 0 ? "unknown" : ScreenBytes(memory.capacity_bytes);
    pane.Put(x + 3, y, capacity, {}, kBytesColumns);
    x += 3 + kBytesColumns;
  }
  x += 1 + kPercentColumns;
  const std::string percent = ScreenPercent(held, memory.capacity_bytes);
  pane.PutRight(x, y, percent + (percent == "-" ? "" : "%"), {mark.role}, kPercentColumns);
  pane.Put(x + 1, y, columns.wide_mark ? mark.wide : mark.narrow, {mark.role});
  x += columns.wide_mark ? 5 : 3;
  if (columns.peak) {
    pane.Put(x, y, " peak ", {Role::kDim});
    pane.Put(x + 6, y, ScreenBytes(memory.peak_reserved), {}, kBytesColumns);
    x += 6 + kBytesColumns;
  }
  if (columns.history != 0) {
    // The latest value stands at the right.
    const int length = static_cast<int>(TerminalWidth(history));
    pane.Put(x + 1 + std::max(columns.history - length, 0), y, history, {Role::kHistory}, columns.history);
  }
}

bool HasLegend(const Memory& memory) {
  return memory.left.bytes_reserved != 0 || memory.capacity_differs ||
         std::any_of(memory.kinds.begin(), memory.kinds.end(), [](const MemoryKind& kind) {
           return kind.failed_allocations != 0 || (kind.live.count != 0 && !kind.overlaps);
         });
}

void DrawLegend(const Pane& pane, int y, const Memory& memory) {
  const Glyphs& glyphs = GlyphsOf(pane.charset());
  int x = 1;
  const auto put = [&](const std::string& text, Style style) { x += pane.Put(x, y, text, style); };
  if (memory.left.bytes_reserved != 0) {
    put(fmt::format("gone processes held {}  ", ScreenBytes(memory.left.bytes_reserved)), {Role::kGone});
  }
  for (const MemoryKind& kind : memory.kinds) {
    if (kind.failed_allocations != 0) {
      put(fmt::format("{}: {} failed  ", TerminalText(kind.name, 16), kind.failed_allocations), {Role::kCritical});
    }
  }
  for (size_t i = 0; i < memory.kinds.size(); ++i) {
    const MemoryKind& kind = memory.kinds[i];
    if (kind.overlaps || kind.live.count == 0) continue;
    if (!kind.nested) put(glyphs.kinds[i % glyphs.kinds.size()], {KindRole(i)});
    put(fmt::format("{}{} {}  ", kind.nested ? "inside: " : " ", TerminalText(kind.name, 16),
                    ScreenBytes(kind.live.bytes_reserved)),
        {kind.nested ? Role::kDim : Role::kText});
  }
  if (!ShareBarColumns(pane.width()).peak && memory.peak_reserved != 0) {
    put(fmt::format("peak {}  ", ScreenBytes(memory.peak_reserved)), {Role::kDim});
  }
  if (memory.capacity_differs) put("capacities differ", {Role::kDim});
}

void DrawExtent(const Pane& pane, int y, const Memory& memory, const MemoryKind& kind) {
  const Glyphs& glyphs = GlyphsOf(pane.charset());
  const int inner = ShareBarColumns(pane.width()).bar - 2;
  const collect::Extent& extent = *kind.extent;
  const uint64_t size = extent.end - std::min(extent.lowest, extent.end);
  if (inner > 0) {
    const uint64_t whole = std::max(memory.capacity_bytes_per_bank, extent.end);
    const CellRange range = CellsOf(extent.lowest, extent.end, whole, inner);
    const Style style{KindRole(static_cast<size_t>(&kind - memory.kinds.data()))};
    pane.Fill(1 + range.begin, y, range.end - range.begin, glyphs.extent_line, style);
    pane.Put(1 + range.begin, y, glyphs.extent_begin, style);
    if (range.end - range.begin > 1) pane.Put(range.end, y, glyphs.extent_end, style);
  }
  pane.Put(inner + 3, y,
           fmt::format("{} up to {} a bank, {:#x} to {:#x}", TerminalText(kind.name, 16), ScreenBytes(size),
                       extent.lowest, extent.end),
           {Role::kDim});
}

}  // namespace memtally::tools::top
