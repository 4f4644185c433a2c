// SPDX-License-Identifier: Apache-2.0
#include "tools/top/column_layout.hpp"

#include <algorithm>
#include <numeric>

#include "tools/terminal_text.hpp"

namespace memtally::tools::top {

std::vector<PlacedColumn> PlaceColumns(const std::vector<ColumnSpec>& specs, int width) {
  std::vector<size_t> order(specs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return specs[a].priority < specs[b].priority; });
  std::vector<PlacedColumn> placed;
  int used = 0;
  for (const size_t i : order) {
    const int needed = specs[i].width + (placed.empty() ? 0 : 1);
    if (!placed.empty() && used + needed > width) break;
    placed.push_back({i, 0, specs[i].width});
    used += needed;
  }
  std::sort(placed.begin(), placed.end(),
            [](const PlacedColumn& a, const PlacedColumn& b) { return a.index < b.index; });
  int x = 0;
  for (PlacedColumn& column : placed) {
    if (specs[column.index].stretches) column.width += std::max(width - used, 0);
    column.x = x;
    column.width = std::max(std::min(column.width, width - x), 0);
    x += column.width + 1;
  }
  return placed;
}

void PutCell(const Pane& pane, int y, const ColumnSpec& spec, const PlacedColumn& place, const std::string& text,
             Style style) {
  if (spec.right) {
    pane.PutRight(place.x + place.width, y, text, style, place.width);
  } else if (spec.keeps_end && static_cast<int>(TerminalWidth(text)) > place.width) {
    pane.PutRight(place.x + place.width, y, text, style, place.width - 2);
    pane.Put(place.x, y, "..", style, place.width);
  } else {
    pane.Put(place.x, y, text, style, place.width);
  }
}

}  // namespace memtally::tools::top
