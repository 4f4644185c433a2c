// SPDX-License-Identifier: Apache-2.0
#include "tools/table_printer.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "tools/terminal_text.hpp"

namespace memtally::tools {

TablePrinter::TablePrinter(std::vector<Column> columns) : columns_(std::move(columns)) {}

void TablePrinter::AddRow(std::vector<std::string> cells) {
  assert(cells.size() == columns_.size());
  lines_.push_back({std::move(cells), false});
}

void TablePrinter::AddNote(std::string text) { lines_.push_back({{std::move(text)}, true}); }

std::string TablePrinter::Text() const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(TerminalWidth(column.heading));
  for (const Line& line : lines_) {
    if (line.note) continue;
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], TerminalWidth(line.cells[i]));
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      const size_t padding = widths[i] - TerminalWidth(cells[i]);
      if (columns_[i].align == Align::kRight) text.append(padding, ' ');
      text += cells[i];
      if (columns_[i].align == Align::kLeft) text.append(padding, ' ');
      text += "  ";
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    text += '\n';
  };
  std::vector<std::string> headings;
  for (const Column& column : columns_) headings.push_back(column.heading);
  add(headings);
  for (const Line& line : lines_) {
    if (line.note) {
      text += line.cells.front();
      text += '\n';
    } else {
      add(line.cells);
    }
  }
  return text;
}

}  // namespace memtally::tools
