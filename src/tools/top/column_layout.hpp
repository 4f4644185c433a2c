// SPDX-License-Identifier: Apache-2.0
//
// Which columns of a table fit next to each other, and where they lie.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/top/pane.hpp"

namespace memtally::tools::top {

struct ColumnSpec {
  std::string heading;
  int width = 8;           // at least the heading's
  bool right = false;      // numbers
  int priority = 0;        // the higher goes first when there is no room
  bool stretches = false;  // takes what is left over
  bool keeps_end = false;  // of what does not fit, the end is shown: paths
};

struct PlacedColumn {
  size_t index = 0;  // of the specs
  int x = 0;
  int width = 0;
};

// In the order of the specs, a space between; at least the most important one, even if it has to be cut.
std::vector<PlacedColumn> PlaceColumns(const std::vector<ColumnSpec>& specs, int width);

// One cell of a line: cut to its column.
void PutCell(const Pane& pane, int y, const ColumnSpec& spec, const PlacedColumn& place, const std::string& text,
             Style style);

}  // namespace memtally::tools::top
