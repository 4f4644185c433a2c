// SPDX-License-Identifier: Apache-2.0
#include "tools/top/process_view.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/column_layout.hpp"
#include "tools/top/glyphs.hpp"

namespace memtally::tools::top {
namespace {

using collect::Process;

constexpr int kMostIndent = 24;  // columns; a tree may be deeper

void DrawWho(const Model& model, const Process& process, const Pane& pane) {
  const LedgerView& facts = process.facts;
  const bool gone = facts.liveness != Liveness::kAlive;
  std::string who = fmt::format("{} {}", process.pid, TerminalText(facts.identity.comm, 40));
  who += fmt::format("  {}", collect::StateName(facts.liveness));
  if (facts.liveness == Liveness::kDead && facts.exited_normally) who += " (ended by itself)";
  who += "  " + TerminalText(process.user, 32);
  const std::string place = collect::ShortPlace(process.place);
  if (!place.empty()) who += "  " + TerminalText(place, 64);
  const std::optional<uint64_t> age = collect::AgeNs(model.snapshot(), facts, facts.start_time_ns);
  if (age) who += "  tracked for " + ScreenAge(*age);
  if (!facts.identity.executable.empty()) who += "  " + TerminalText(facts.identity.executable, 120);
  pane.Put(0, 0, who, {gone ? Role::kGone : Role::kTitle});

  const Amount held = collect::HeldOnDevices(facts);
  const bool inexact = !facts.totals_exact;
  std::string what = fmt::format("{} {} in {} buffers, {} requested", gone ? "held" : "holds",
                                 ScreenBytes(held.bytes_reserved, inexact), ScreenCount(held.count, inexact),
                                 ScreenBytes(held.bytes_requested, inexact));
  if (!facts.buffers_exact) what += "  (buffers changed while they were read)";
  const int end = pane.Put(0, 1, what, {gone ? Role::kGone : Role::kText});
  const uint64_t anomalies = Anomalies(facts);
  const uint64_t failed = FailedAllocations(facts);
  int x = end + 2;
  if (anomalies != 0)
    x += 2 + pane.Put(x, 1, fmt::format("{} anomal{}", anomalies, anomalies == 1 ? "y" : "ies"), {Role::kWarning});
  if (failed != 0)
    pane.Put(x, 1, fmt::format("{} failed allocation{}", failed, failed == 1 ? "" : "s"), {Role::kCritical});
}

void DrawTabs(const TopState& state, const Pane& pane, ScreenMap* map) {
  int columns = -1;
  for (const char* name : kTabNames) columns += static_cast<int>(TerminalWidth(name)) + 3;
  const bool narrow = columns > pane.width();
  int x = 0;
  for (size_t i = 0; i < kTabs; ++i) {
    const bool chosen = static_cast<size_t>(state.tab) == i;
    // Where there is no room, only the chosen one has a name.
    const std::string text = narrow && !chosen ? std::to_string(i + 1) : fmt::format("{} {}", i + 1, kTabNames[i]);
    const int written = pane.Put(x, 0, text, {chosen ? Role::kSorted : Role::kHeading});
    if (written == 0) break;
    map->targets.push_back({Target::Kind::kTab, {pane.area().x + x, pane.area().y, written, 1}, i});
    x += written + 1;
  }
}

// A bar without marks, for comparison with the lines around it.
void DrawShare(const Pane& pane, int x, int y, int width, double share) {
  const Glyphs& glyphs = GlyphsOf(pane.charset());
  const auto eighths = static_cast<int>(std::ceil(share * width * 8));
  const int full = std::min(eighths / 8, width);
  pane.Fill(x, y, full, glyphs.kinds[0], {Role::kKind0});
  if (eighths % 8 != 0 && full < width) {
    pane.Put(x + full, y, glyphs.eighths[static_cast<size_t>(eighths % 8 - 1)], {Role::kKind0});
  }
}

std::string TreeCell(const DetailLine& line, const std::string& text, const Glyphs& glyphs) {
  const int indent = std::min(line.depth * 2, kMostIndent);
  const char* fold = " ";
  if (line.fold == DetailLine::Fold::kOpen) fold = glyphs.open;
  if (line.fold == DetailLine::Fold::kFolded) fold = glyphs.folded;
  return std::string(static_cast<size_t>(indent), ' ') + fold + " " + text;
}

void DrawTable(const DetailTable& table, const ListPlace& place, const Pane& pane, ScreenMap* map) {
  const Glyphs& glyphs = GlyphsOf(pane.charset());
  const bool has_headings =
      pane.height() > 1 && std::any_of(table.columns.begin(), table.columns.end(),
                                       [](const ColumnSpec& spec) { return !spec.heading.empty(); });
  const std::vector<PlacedColumn> placed = PlaceColumns(table.columns, pane.width());
  for (const PlacedColumn& column : placed) {
    const ColumnSpec& spec = table.columns[column.index];
    if (has_headings) PutCell(pane, 0, spec, column, spec.heading, {Role::kHeading});
  }
  const int headings = has_headings ? 1 : 0;
  const Pane body = pane.Sub(0, headings, pane.width(), pane.height() - headings);
  map->page_lines = static_cast<size_t>(std::max(body.height(), 1));
  map->list_lines = table.count;
  map->first_line = FirstLine(place.first, place.cursor, table.count, map->page_lines);
  for (int y = 0; y < body.height(); ++y) {
    const size_t i = map->first_line + static_cast<size_t>(y);
    if (i >= table.count) break;
    const DetailLine line = table.line(i);
    int selectable = body.width();  // a bar that is selected could not be read
    if (line.cells.size() != table.columns.size()) {
      if (!line.cells.empty()) body.Put(0, y, line.cells[0], {line.role});
    } else {
      for (const PlacedColumn& column : placed) {
        const std::string& cell = line.cells[column.index];
        const bool is_tree = column.index == 0 && line.tag;
        PutCell(body, y, table.columns[column.index], column, is_tree ? TreeCell(line, cell, glyphs) : cell,
                {line.role});
        const bool is_last = column.index + 1 == table.columns.size();
        if (!is_last || !line.share) continue;
        DrawShare(body, column.x, y, column.width, *line.share);
        selectable = column.x;
      }
    }
    if (i == place.cursor) body.Sub(0, y, selectable, 1).Select(0);
    map->targets.push_back({Target::Kind::kDetailLine, {body.area().x, body.area().y + y, body.width(), 1}, i});
  }
  if (table.count == 0) body.Put(0, 0, table.nothing, {Role::kDim});
}

}  // namespace

void DrawProcessView(const Model& model, const TopState& state, const Pane& pane, ScreenMap* map) {
  const Process* process = model.opened();
  if (process == nullptr) {
    pane.Put(0, 0, "The process has ended and left nothing.  Esc goes back.", {Role::kGone});
    return;
  }
  // In a low window the table matters most.
  const int who = pane.height() >= 7 ? 2 : 0;
  const int tabs = pane.height() >= 4 ? 1 : 0;
  if (who != 0) DrawWho(model, *process, pane.Sub(0, 0, pane.width(), who));
  if (tabs != 0) DrawTabs(state, pane.Sub(0, who, pane.width(), 1), map);
  const Pane body = pane.Sub(0, who + tabs, pane.width(), pane.height() - who - tabs);
  if (!process->has_buffers) {
    body.Put(0, 0, "Its buffers could not be read.", {Role::kWarning});
    return;
  }
  DrawTable(model.detail(), state.places[static_cast<size_t>(state.tab)], body, map);
}

}  // namespace memtally::tools::top
