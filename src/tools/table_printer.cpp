// SPDX-License-Identifier: Apache-2.0
#include "tools/table_printer.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace memtally::tools {
namespace {

constexpr size_t kGap = 2;

}  // namespace

TablePrinter::TablePrinter(std::vector<Column> columns) : columns_(std::move(columns)) {}

void TablePrinter::AddRow(std::vector<Cell> cells) {
  assert(cells.size() == columns_.size());
  lines_.push_back({std::move(cells), false});
}

void TablePrinter::AddNote(std::string text, Style style) {
  Line& line = lines_.emplace_back();
  line.cells.emplace_back(std::move(text), style);
  line.note = true;
}

// Of the columns; together with their gaps at most `most` if that is not 0 and can be.
std::vector<size_t> TablePrinter::Widths(size_t most) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(TerminalWidth(column.heading));
  for (size_t i = 0; i < earlier_widths_.size(); ++i) widths[i] = std::max(widths[i], earlier_widths_[i]);
  for (const Line& line : lines_) {
    if (line.note) continue;
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], TerminalWidth(line.cells[i].text));
  }
  if (most == 0) return widths;
  size_t total = std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
  while (total > most) {
    size_t widest = widths.size();
    for (size_t i = 0; i < widths.size(); ++i) {
      if (columns_[i].least_width == 0 || widths[i] <= columns_[i].least_width) continue;
      if (widest == widths.size() || widths[i] > widths[widest]) widest = i;
    }
    if (widest == widths.size()) break;
    --widths[widest];
    --total;
  }
  return widths;
}

void TablePrinter::AppendRow(const std::vector<Cell>& cells, const std::vector<size_t>& widths,
                             const ScreenFormat& format, std::string* text) const {
  size_t column = 0;   // on the terminal
  size_t pending = 0;  // spaces that are written once something follows them
  for (size_t i = 0; i < cells.size(); ++i) {
    std::string cell = CutToWidth(cells[i].text, widths[i], columns_[i].cut);
    size_t width = TerminalWidth(cell);
    const size_t padding = widths[i] > width ? widths[i] - width : 0;
    if (columns_[i].align == Align::kRight) pending += padding;
    if (!cell.empty()) {
      if (format.columns != 0 && column + pending >= format.columns) return;
      text->append(pending, ' ');
      column += pending;
      pending = 0;
      if (format.columns != 0 && column + width > format.columns) {
        cell = CutToWidth(cell, format.columns - column, columns_[i].cut);
        width = TerminalWidth(cell);
      }
      AppendStyled(cell, cells[i].style, format.color, text);
      column += width;
    }
    if (columns_[i].align == Align::kLeft) pending += padding;
    pending += kGap;
  }
}

std::string TablePrinter::Lines(bool with_headings, const std::vector<size_t>& widths,
                                const ScreenFormat& format) const {
  std::string text;
  if (with_headings) {
    std::vector<Cell> headings;
    for (const Column& column : columns_) headings.emplace_back(column.heading, Style::kBold);
    AppendRow(headings, widths, format, &text);
    text += '\n';
  }
  for (const Line& line : lines_) {
    if (line.note) {
      const Cell& note = line.cells.front();
      AppendLine(note.text, note.style, format, &text);
    } else {
      AppendRow(line.cells, widths, format, &text);
      text += '\n';
    }
  }
  return text;
}

std::string TablePrinter::Text(const ScreenFormat& format) const { return Lines(true, Widths(format.columns), format); }

std::string TablePrinter::TakeRows(bool with_headings, const ScreenFormat& format) {
  earlier_widths_ = Widths(0);
  std::string text = Lines(with_headings, Widths(format.columns), format);
  lines_.clear();
  return text;
}

}  // namespace memtally::tools
