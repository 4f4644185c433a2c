// SPDX-License-Identifier: Apache-2.0
//
// The table of processes.
#pragma once

#include <vector>

#include "tools/top/model.hpp"
#include "tools/top/pane.hpp"
#include "tools/top/screen_map.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

// All columns that there are, in their order; without that of places where nobody has one.
std::vector<ShownColumn> ProcessColumns(const ProcessList& list, bool by_memory);

// The heading and as many lines as fit; tells *map what lies where.
void DrawProcessTable(const Model& model, const TopState& state, const Pane& pane, ScreenMap* map);

}  // namespace memtally::tools::top
