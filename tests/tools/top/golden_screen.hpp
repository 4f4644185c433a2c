// SPDX-License-Identifier: Apache-2.0
//
// Compares a grid with the picture of it in golden/.  With MEMTALLY_UPDATE_GOLDEN=1 in the environment it writes the
// picture instead; what changed is for a person to look at (git diff).
#pragma once

#include <string>

#include "tools/top/cell_grid.hpp"

namespace memtally::tools::top {

// The lines of text, then a line of letters for each line of roles: see kRoleLetters.  ">" before a line: some of it is
// selected.
std::string PictureOf(const CellGrid& grid);

void ExpectGolden(const std::string& name, const CellGrid& grid);

}  // namespace memtally::tools::top
