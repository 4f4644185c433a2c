// SPDX-License-Identifier: Apache-2.0
//
// Pane: a rectangle of a grid, with coordinates of its own.  Nothing drawn through it leaves it.
#pragma once

#include <algorithm>
#include <string_view>

#include "tools/top/cell_grid.hpp"

namespace memtally::tools::top {

struct Area {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
  bool Contains(int at_x, int at_y) const { return at_x >= x && at_x < x + width && at_y >= y && at_y < y + height; }
};

class Pane {
 public:
  explicit Pane(CellGrid* grid) : grid_(grid), area_{0, 0, grid->width(), grid->height()} {}

  int width() const { return area_.width; }
  int height() const { return area_.height; }
  Charset charset() const { return grid_->charset(); }
  // In the grid's coordinates.
  const Area& area() const { return area_; }

  // The part of this pane that lies in the given rectangle.
  Pane Sub(int x, int y, int width, int height) const;

  // Returns the columns written.
  int Put(int x, int y, std::string_view text, Style style = {}, int max_columns = CellGrid::kMaxSide) const;
  // So that the text ends before column `end`; its beginning is cut if it is wider than `max_columns`.
  void PutRight(int end, int y, std::string_view text, Style style, int max_columns) const;
  // The same character `columns` times.
  void Fill(int x, int y, int columns, std::string_view glyph, Style style) const;
  // The whole line.
  void Select(int y) const { grid_->Select(area_.x, area_.y + y, y >= 0 && y < area_.height ? area_.width : 0); }

 private:
  Pane(CellGrid* grid, Area area) : grid_(grid), area_(area) {}

  CellGrid* grid_;
  Area area_;
};

}  // namespace memtally::tools::top
