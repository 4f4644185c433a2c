// SPDX-License-Identifier: Apache-2.0
#include "tools/top/pane.hpp"

#include "tools/terminal_text.hpp"

namespace memtally::tools::top {

Pane Pane::Sub(int x, int y, int width, int height) const {
  const int left = std::clamp(x, 0, area_.width);
  const int top = std::clamp(y, 0, area_.height);
  const int right = std::clamp(x + std::max(width, 0), left, area_.width);
  const int bottom = std::clamp(y + std::max(height, 0), top, area_.height);
  return {grid_, {area_.x + left, area_.y + top, right - left, bottom - top}};
}

int Pane::Put(int x, int y, std::string_view text, Style style, int max_columns) const {
  if (x < 0 || x >= area_.width || y < 0 || y >= area_.height) return 0;
  return grid_->Put(area_.x + x, area_.y + y, text, style, std::min(max_columns, area_.width - x));
}

void Pane::PutRight(int end, int y, std::string_view text, Style style, int max_columns) const {
  int columns = static_cast<int>(TerminalWidth(text));
  while (columns > max_columns && !text.empty()) {
    const Grapheme grapheme = FirstGrapheme(text);
    text.remove_prefix(grapheme.bytes);
    columns -= static_cast<int>(grapheme.columns);
  }
  Put(end - columns, y, text, style);
}

void Pane::Fill(int x, int y, int columns, std::string_view glyph, Style style) const {
  for (int i = 0; i < columns; ++i) Put(x + i, y, glyph, style);
}

}  // namespace memtally::tools::top
