// SPDX-License-Identifier: Apache-2.0
//
// Writes what is on the screen to a file, as text.
#pragma once

#include <string>

#include "tools/top/cell_grid.hpp"

namespace memtally::tools::top {

// Makes the file `path`, which must not exist.  Returns "", or what went wrong in words (safe for a terminal).
std::string WriteScreenFile(const CellGrid& grid, const std::string& path);

}  // namespace memtally::tools::top
