// SPDX-License-Identifier: Apache-2.0
//
// The characters that screens are drawn with, each one column wide.
#pragma once

#include <array>

#include "tools/top/cell_grid.hpp"
#include "tools/top/style.hpp"

namespace memtally::tools::top {

struct Glyphs {
  std::array<const char*, kKindRoles> kinds;  // a full cell of a bar, by the kind's place in its memory
  std::array<const char*, 8> eighths;         // a cell filled from the left: 1 to 8 eighths
  bool has_eighths;                           // otherwise all of them are the same
  std::array<const char*, 9> levels;          // of a line of past values: nothing to full
  const char* track;
  const char* bar_begin;
  const char* bar_end;
  const char* warning;   // on a bar: where 75 % is
  const char* critical;  // 90 %
  const char* peak;      // the highest so far
  const char* over;      // at the end of a bar: more than all of it
  const char* extent_begin;
  const char* extent_line;
  const char* extent_end;
  const char* branch;  // tree: another one comes below
  const char* last_branch;
  const char* trunk;
  const char* open;  // can be folded
  const char* folded;
  const char* ascending;
  const char* descending;
  const char* line;
};

const Glyphs& GlyphsOf(Charset charset);

}  // namespace memtally::tools::top
