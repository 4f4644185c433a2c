// SPDX-License-Identifier: Apache-2.0
//
// Which colours and weights of a terminal stand for which role.
#pragma once

#include <array>

#include "tools/top/style.hpp"

namespace memtally::tools::top {

// How a role looks.  Colours are the terminal's numbers; -1 is its own foreground.  The background is always the
// terminal's own, so that light ones stay light.
struct Look {
  short color = -1;
  bool bold = false;
  bool dim = false;
  bool underlined = false;
};

// For a terminal with so many colours: 256, 16, 8 or none (below 8).
std::array<Look, kRoles> LooksFor(int colors);

}  // namespace memtally::tools::top
