// SPDX-License-Identifier: Apache-2.0
#include "tools/top/process_table.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/column_layout.hpp"
#include "tools/top/glyphs.hpp"

namespace memtally::tools::top {
namespace {

constexpr size_t kMostMemories = 6;  // with a column of their own

ColumnSpec SpecOf(const ShownColumn& column) {
  switch (column.column) {
    case Column::kPid:
      return {"PID", 7, true, 0};
    case Column::kUser:
      return {"USER", 8, false, 6};
    case Column::kPlace:
      return {"PLACE", 16, false, 10};
    case Column::kState:
      return {"STATE", 8, false, 9};
    case Column::kDevices:
      return {"DEV", 4, false, 7};
    case Column::kReserved:
      return {"RESERVED", 10, true, 1};
    case Column::kMemory:
      return {TerminalText(column.memory, 10), 10, true, 3};
    case Column::kRequested:
      return {"REQUESTED", 10, true, 11};
    case Column::kPeak:
      return {"PEAK", 11, true, 5};
    case Column::kPercent:
      return {"%", 6, true, 2};
    case Column::kBuffers:
      return {"BUFFERS", 8, true, 4};
    case Column::kAnomalies:
      return {"ANOM", 5, true, 3};
    case Column::kFailed:
      return {"FAIL", 5, true, 8};
    case Column::kCommand:
      break;
  }
  return {"COMMAND", 12, false, 0, true};
}

std::string TreeText(const std::vector<TreeStep>& steps, const Glyphs& glyphs) {
  std::string text;
  for (const TreeStep step : steps) {
    switch (step) {
      case TreeStep::kNothing:
        text += "  ";
        break;
      case TreeStep::kTrunk:
        text += std::string(glyphs.trunk) + " ";
        break;
      case TreeStep::kBranch:
        text += std::string(glyphs.branch) + glyphs.line;
        break;
      case TreeStep::kLastBranch:
        text += std::string(glyphs.last_branch) + glyphs.line;
        break;
    }
  }
  return text;
}

std::string CellText(const ProcessRow& row, const ShownColumn& column, const ProcessList& list, const Glyphs& glyphs) {
  const bool inexact = !row.process->facts.totals_exact;
  switch (column.column) {
    case Column::kPid:
      return std::to_string(row.process->pid);
    case Column::kUser:
      return row.user;
    case Column::kPlace:
      return row.place.empty() ? "-" : row.place;
    case Column::kState:
      return collect::StateName(row.process->facts.liveness);
    case Column::kDevices:
      return row.devices.empty() ? "-" : row.devices;
    case Column::kReserved:
      return ScreenBytes(row.reserved, inexact);
    case Column::kMemory: {
      const auto found = std::find(list.memories.begin(), list.memories.end(), column.memory);
      const auto memory = static_cast<size_t>(found - list.memories.begin());
      return memory < row.by_memory.size() ? ScreenBytes(row.by_memory[memory], inexact) : "-";
    }
    case Column::kRequested:
      return ScreenBytes(row.requested, inexact);
    case Column::kPeak:
      return (row.peak_is_bound ? "<" : "") + ScreenBytes(row.peak);
    case Column::kPercent:
      return row.percent ? fmt::format("{:.1f}", *row.percent) : "-";
    case Column::kBuffers:
      return ScreenCount(row.buffers, inexact);
    case Column::kAnomalies:
      return std::to_string(row.anomalies);
    case Column::kFailed:
      return std::to_string(row.failed);
    case Column::kCommand:
      break;
  }
  return TreeText(row.steps, glyphs) + row.command;
}

Role CellRole(const ProcessRow& row, Column column, Role otherwise) {
  if (column == Column::kAnomalies && row.anomalies != 0) return Role::kWarning;
  if (column == Column::kFailed && row.failed != 0) return Role::kCritical;
  if (column == Column::kPercent && row.percent && otherwise != Role::kGone) {
    if (*row.percent >= 90) return Role::kCritical;
    if (*row.percent >= 75) return Role::kWarning;
  }
  return otherwise;
}

bool IsSorted(const ShownColumn& column, const SortOrder& sort) {
  return column.column == sort.column && (column.column != Column::kMemory || column.memory == sort.memory);
}

}  // namespace

std::vector<ShownColumn> ProcessColumns(const ProcessList& list, bool by_memory) {
  std::vector<ShownColumn> columns = {{Column::kPid, "", true}, {Column::kUser, "", true}};
  const bool has_places =
      std::any_of(list.rows.begin(), list.rows.end(), [](const ProcessRow& row) { return !row.place.empty(); });
  if (has_places) columns.push_back({Column::kPlace, "", true});
  columns.push_back({Column::kState, "", true});
  columns.push_back({Column::kDevices, "", true});
  columns.push_back({Column::kReserved, "", false});
  if (by_memory) {
    for (size_t i = 0; i < std::min(list.memories.size(), kMostMemories); ++i) {
      columns.push_back({Column::kMemory, list.memories[i], false});
    }
  }
  for (const Column column :
       {Column::kRequested, Column::kPeak, Column::kPercent, Column::kBuffers, Column::kAnomalies, Column::kFailed}) {
    columns.push_back({column, "", false});
  }
  columns.push_back({Column::kCommand, "", true});
  return columns;
}

void DrawProcessTable(const Model& model, const TopState& state, const Pane& pane, ScreenMap* map) {
  const Glyphs& glyphs = GlyphsOf(pane.charset());
  const ProcessList& list = model.list();
  map->columns = ProcessColumns(list, state.by_memory);
  std::vector<ColumnSpec> specs;
  for (const ShownColumn& column : map->columns) {
    specs.push_back(SpecOf(column));
    if (!IsSorted(column, state.sort)) continue;
    // What rows are sorted by is always there to be seen.
    specs.back().priority = 0;
    specs.back().heading += state.sort.descending ? glyphs.descending : glyphs.ascending;
  }
  const std::vector<PlacedColumn> placed = PlaceColumns(specs, pane.width());
  const int headings = pane.height() > 1 ? 1 : 0;
  for (const PlacedColumn& place : placed) {
    if (headings == 0) break;
    const bool sorted = IsSorted(map->columns[place.index], state.sort);
    PutCell(pane, 0, specs[place.index], place, specs[place.index].heading, {sorted ? Role::kSorted : Role::kHeading});
    map->targets.push_back(
        {Target::Kind::kHeading, {pane.area().x + place.x, pane.area().y, place.width, 1}, place.index});
  }

  const Pane body = pane.Sub(0, headings, pane.width(), pane.height() - headings);
  map->page_lines = static_cast<size_t>(std::max(body.height(), 1));
  map->list_lines = list.lines.size();
  map->first_line = FirstLine(state.list.first, state.list.cursor, list.lines.size(), map->page_lines);
  for (int y = 0; y < body.height(); ++y) {
    const size_t i = map->first_line + static_cast<size_t>(y);
    if (i >= list.lines.size()) break;
    const ListLine& line = list.lines[i];
    if (line.row) {
      const ProcessRow& row = list.rows[*line.row];
      for (const PlacedColumn& place : placed) {
        const ShownColumn& column = map->columns[place.index];
        PutCell(body, y, specs[place.index], place, CellText(row, column, list, glyphs),
                {CellRole(row, column.column, line.role)});
      }
    } else {
      body.Put(0, y, line.text, {line.role});
    }
    if (i == state.list.cursor) body.Select(y);
    map->targets.push_back({Target::Kind::kProcessLine, {body.area().x, body.area().y + y, body.width(), 1}, i});
  }
  if (list.lines.empty()) {
    const char* text = list.filtered_out != 0 ? "No process matches the filter."
                                              : "No process holds device memory, and none that died left any.";
    body.Put(0, 0, text, {Role::kDim});
  }
}

}  // namespace memtally::tools::top
