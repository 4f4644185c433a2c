// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of a bar: which of its cells show what.
//
// A bar is as long as the capacity; where more is held than that, as what is held.  Every part that is not empty has at
// least an eighth of a cell that is its own (a whole one if it is not the only part), and all together never have more
// cells than there are.  A bar is full only if nothing is free.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace memtally::tools::top {

struct BarShape {
  std::vector<int> cells;  // of each part, in order from the left
  int filled = 0;          // their sum
  int last_eighths = 8;    // that the last filled cell shows: 1 to 8
  bool is_over = false;    // the parts are more than the capacity
  // Cells with marks; none where the capacity is not known or the bar too short.
  std::optional<int> peak;      // the last cell that the peak reached, if it lies behind what is filled
  std::optional<int> warning;   // begins at 75 % of the capacity
  std::optional<int> critical;  // begins at 90 %
};

// `parts`: bytes; at most `width` of them are shown, the largest.  `capacity` 0 is unknown: the bar is then as long as
// the peak.
BarShape ShapeBar(std::span<const uint64_t> parts, uint64_t capacity, uint64_t peak, int width, bool eighths);

// How full: 75 % and more, 90 % and more, more than all.
enum class Fullness : uint8_t { kNormal, kWarning, kCritical, kOver };
Fullness FullnessOf(uint64_t held, uint64_t capacity);

// The cells [begin, end) of `width` that the range [lowest, end) of `whole` touches; at least one.
struct CellRange {
  int begin = 0;
  int end = 0;
};
CellRange CellsOf(uint64_t lowest, uint64_t end, uint64_t whole, int width);

}  // namespace memtally::tools::top
