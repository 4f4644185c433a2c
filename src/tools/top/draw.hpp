// SPDX-License-Identifier: Apache-2.0
//
// Draws the whole screen, of whatever size.
#pragma once

#include "tools/top/cell_grid.hpp"
#include "tools/top/model.hpp"
#include "tools/top/screen_map.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

// Onto a blank grid.  Reads nothing but its arguments.
ScreenMap Draw(const Model& model, const TopState& state, CellGrid* grid);

// Everything about the machine at its full length, for a file or a pipe: a grid as high as it takes.
CellGrid DrawPlain(const Model& model, const TopState& state, int width, Charset charset);

}  // namespace memtally::tools::top
