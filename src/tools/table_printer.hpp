// SPDX-License-Identifier: Apache-2.0
//
// A table for people: a heading, rows, and whole lines between them.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tools/terminal_text.hpp"
#include "tools/text_style.hpp"

namespace memtally::tools {

class TablePrinter {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string heading;
    Align align = Align::kLeft;
    // A column of names may become this narrow where the terminal is; 0: it keeps its width.
    size_t least_width = 0;
    Cut cut = Cut::kEnd;
  };
  struct Cell {
    Cell(std::string the_text, Style the_style = Style::kPlain) : text(std::move(the_text)), style(the_style) {}
    Cell(const char* the_text) : text(the_text) {}
    std::string text;
    Style style = Style::kPlain;
  };

  explicit TablePrinter(std::vector<Column> columns);

  // REQUIRES: as many cells as columns, each safe for a terminal (see terminal_text.hpp).
  void AddRow(std::vector<Cell> cells);
  // A line of its own below the last row; it widens no column.
  void AddNote(std::string text, Style style = Style::kPlain);

  bool empty() const { return lines_.empty(); }

  // Columns two spaces apart, as wide as their widest cell; lines end without spaces.  Where format.columns does not
  // suffice, columns of names become narrower, the widest first; then lines are cut.
  std::string Text(const ScreenFormat& format = {}) const;

  // The rows so far, and forgets them; what is added then stands below, in columns that never become narrower.  With
  // the headings, if `with_headings`.
  std::string TakeRows(bool with_headings, const ScreenFormat& format = {});

 private:
  struct Line {
    std::vector<Cell> cells;  // one cell: a note
    bool note = false;
  };
  std::vector<size_t> Widths(size_t most) const;
  std::string Lines(bool with_headings, const std::vector<size_t>& widths, const ScreenFormat& format) const;
  void AppendRow(const std::vector<Cell>& cells, const std::vector<size_t>& widths, const ScreenFormat& format,
                 std::string* text) const;

  std::vector<Column> columns_;
  std::vector<Line> lines_;
  std::vector<size_t> earlier_widths_;  // of rows that were taken
};

}  // namespace memtally::tools
