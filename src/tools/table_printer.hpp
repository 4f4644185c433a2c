// SPDX-License-Identifier: Apache-2.0
//
// A table for people: a heading, rows, and whole lines between them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace memtally::tools {

class TablePrinter {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string heading;
    Align align = Align::kLeft;
  };

  explicit TablePrinter(std::vector<Column> columns);

  // REQUIRES: as many cells as columns, each safe for a terminal (see terminal_text.hpp).
  void AddRow(std::vector<std::string> cells);
  // A line of its own below the last row; it widens no column.
  void AddNote(std::string text);

  // Columns two spaces apart, as wide as their widest cell; lines end without spaces.
  std::string Text() const;

 private:
  struct Line {
    std::vector<std::string> cells;  // one cell: a note
    bool note = false;
  };
  std::vector<Column> columns_;
  std::vector<Line> lines_;
};

}  // namespace memtally::tools
