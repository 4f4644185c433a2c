// SPDX-License-Identifier: Apache-2.0
#include "tools/top/cell_grid.hpp"

#include <algorithm>

#include "tools/terminal_text.hpp"

namespace memtally::tools::top {
namespace {

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

bool IsControl(std::string_view text) {
  return text.size() == 1 && (static_cast<uint8_t>(text[0]) < 0x20 || text[0] == 0x7f);
}

}  // namespace

CellGrid::CellGrid(int width, int height, Charset charset)
    : width_(std::clamp(width, 0, kMaxSide)), height_(std::clamp(height, 0, kMaxSide)), charset_(charset) {
  cells_.resize(static_cast<size_t>(width_) * static_cast<size_t>(height_));
}

int CellGrid::Put(int x, int y, std::string_view text, Style style, int max_columns) {
  if (y < 0 || y >= height_ || x < 0 || x >= width_ || max_columns <= 0) return 0;
  const int end = x + std::min(max_columns, width_ - x);
  int at = x;
  while (!text.empty()) {
    const Grapheme grapheme = FirstGrapheme(text);
    text.remove_prefix(grapheme.bytes);
    const int columns = std::max<int>(static_cast<int>(grapheme.columns), 1);
    if (at + columns > end) break;
    const bool is_shown =
        grapheme.columns != 0 && !IsControl(grapheme.text) && (charset_ == Charset::kUnicode || IsAscii(grapheme.text));
    if (is_shown) {
      Set(at, y, grapheme.text, columns, style);
    } else {
      for (int i = 0; i < columns; ++i) Set(at + i, y, "?", 1, style);
    }
    at += columns;
  }
  return at - x;
}

void CellGrid::Select(int x, int y, int columns) {
  if (y < 0 || y >= height_) return;
  const int end = std::min(x + columns, width_);
  for (int at = std::max(x, 0); at < end; ++at) cells_[Index(at, y)].style.selected = true;
}

void CellGrid::Set(int x, int y, std::string_view text, int columns, Style style) {
  // What covers half of a wide character takes the other half away.
  if (cells_[Index(x, y)].width == 0) Blank(x - 1, y);
  const int after = x + columns;
  if (after < width_ && cells_[Index(after, y)].width == 0) Blank(after, y);
  Cell& cell = cells_[Index(x, y)];
  cell.text = text;
  cell.width = static_cast<uint8_t>(columns);
  cell.style = style;
  if (columns == 2) cells_[Index(x + 1, y)] = {"", 0, style};
}

void CellGrid::Blank(int x, int y) {
  Cell& cell = cells_[Index(x, y)];
  cell.text = " ";
  cell.width = 1;
}

std::string CellGrid::Line(int y) const {
  std::string line;
  for (int x = 0; x < width_; ++x) line += at(x, y).text;
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string CellGrid::Text() const {
  std::string text;
  for (int y = 0; y < height_; ++y) text += Line(y) + "\n";
  return text;
}

}  // namespace memtally::tools::top
