// SPDX-License-Identifier: Apache-2.0
//
// One process: who it is, and one of several tables about what it holds.
#pragma once

#include "tools/top/model.hpp"
#include "tools/top/pane.hpp"
#include "tools/top/screen_map.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

// REQUIRES: state.opened.
void DrawProcessView(const Model& model, const TopState& state, const Pane& pane, ScreenMap* map);

}  // namespace memtally::tools::top
