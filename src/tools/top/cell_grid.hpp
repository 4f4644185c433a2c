// SPDX-License-Identifier: Apache-2.0
//
// CellGrid: a screen as plain data: cells of one grapheme each.  Views draw into it; what shows it (a terminal, a file,
// a test) knows nothing of views.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/top/style.hpp"

namespace memtally::tools::top {

enum class Charset : uint8_t {
  kUnicode,
  kAscii,  // every other character becomes "?", one for each of its columns
};

// One character with what combines onto it.  A wide one takes two cells: the second has width 0 and no text.
struct Cell {
  std::string text = " ";
  uint8_t width = 1;
  Style style;
  bool operator==(const Cell&) const = default;
};

class CellGrid {
 public:
  // Blank.  Sizes below 0 are 0, those above kMaxSide are kMaxSide.
  CellGrid(int width, int height, Charset charset = Charset::kUnicode);
  static constexpr int kMaxSide = 2000;

  int width() const { return width_; }
  int height() const { return height_; }
  Charset charset() const { return charset_; }
  // REQUIRES: 0 <= x < width(), 0 <= y < height().
  const Cell& at(int x, int y) const { return cells_[Index(x, y)]; }

  // Writes `text` from column x on, at most `max_columns` wide and never beyond the right edge; nothing is ever half a
  // character.  Returns the columns written.  Outside of the grid nothing happens.  Foreign text has to come from
  // TerminalText; what slips through without shows as "?".
  int Put(int x, int y, std::string_view text, Style style, int max_columns = kMaxSide);

  // Marks cells of line y as selected, whatever they hold.
  void Select(int x, int y, int columns);

  // Line y without the spaces at its end.
  std::string Line(int y) const;
  // All lines, each with its newline.
  std::string Text() const;

 private:
  size_t Index(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x);
  }
  void Set(int x, int y, std::string_view text, int columns, Style style);
  void Blank(int x, int y);

  int width_;
  int height_;
  Charset charset_;
  std::vector<Cell> cells_;
};

}  // namespace memtally::tools::top
