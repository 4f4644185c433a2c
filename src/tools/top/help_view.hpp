// SPDX-License-Identifier: Apache-2.0
//
// What all keys do, and what the marks mean.
#pragma once

#include "tools/top/pane.hpp"
#include "tools/top/screen_map.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

void DrawHelp(const TopState& state, const Pane& pane, ScreenMap* map);

}  // namespace memtally::tools::top
