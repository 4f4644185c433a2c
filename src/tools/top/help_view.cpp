// SPDX-License-Identifier: Apache-2.0
#include "tools/top/help_view.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "tools/top/glyphs.hpp"

namespace memtally::tools::top {
namespace {

struct HelpLine {
  std::string keys;  // "" with text: a heading
  std::string text;
};

std::vector<HelpLine> HelpLines(const Glyphs& glyphs) {
  const std::string bar = glyphs.kinds[0];
  return {
      {"", "Anywhere"},
      {"q  F10", "leave; one step back: Esc"},
      {"h  ?  F1", "this page"},
      {"Space", "stop and go on looking (the processes go on anyhow)"},
      {"s", "write what is on the screen to a file"},
      {"Ctrl-L", "draw everything again"},
      {"", ""},
      {"", "Processes"},
      {"arrows  PgUp  PgDn  Home  End", "choose a process; the choice follows it"},
      {"Enter  click again", "look into it"},
      {"/  F4", "show only lines that match a regular expression; empty: all"},
      {"<  >  F6", "sort by the column to the left or right; click on a heading"},
      {"M  N  A  B", "sort by memory, pid, anomalies, buffers"},
      {"I", "the other way round"},
      {"t  F5", "as trees, children below their parents"},
      {"m", "a column for each memory"},
      {"c", "command or executable"},
      {"a", "also the dead that left nothing"},
      {"[  ]", "scroll the devices"},
      {"k  F9", "send a signal to the process, after a question"},
      {"", ""},
      {"", "One process"},
      {"Tab  1 ... 8", "what to look at"},
      {"Left  Right  -  +  Enter", "fold and unfold a tag"},
      {"*", "fold or unfold all tags"},
      {"Esc  Backspace", "back to the processes"},
      {"", ""},
      {"", "Marks"},
      {glyphs.warning + std::string("  !"), "75 % of a memory is reserved"},
      {glyphs.critical + std::string("  !!"), "90 %"},
      {glyphs.over + std::string("  OVER"), "more than all of it: buffers share memory, or were counted twice"},
      {glyphs.peak, "the highest so far"},
      {std::string(glyphs.extent_begin) + glyphs.extent_line + glyphs.extent_end,
       "addresses that circular and dataflow buffers take up in a bank"},
      {"~", "changed while it was read"},
      {"*  +", "a kind whose buffers share addresses; a peak that may have been higher"},
      {"<", "of several memories: not necessarily all at once"},
  };
}

}  // namespace

void DrawHelp(const TopState& state, const Pane& pane, ScreenMap* map) {
  const std::vector<HelpLine> lines = HelpLines(GlyphsOf(pane.charset()));
  map->page_lines = static_cast<size_t>(std::max(pane.height(), 1));
  map->list_lines = lines.size();
  // Nothing is chosen here: the cursor is the first line.
  const size_t last = lines.size() > map->page_lines ? lines.size() - map->page_lines : 0;
  map->first_line = std::min(state.help_place.first, last);
  const int keys = std::min(32, pane.width() / 2);
  for (int y = 0; y < pane.height(); ++y) {
    const size_t i = map->first_line + static_cast<size_t>(y);
    if (i >= lines.size()) break;
    if (lines[i].keys.empty()) {
      pane.Put(0, y, lines[i].text, {Role::kTitle});
      continue;
    }
    pane.Put(2, y, lines[i].keys, {Role::kKey}, keys - 3);
    pane.Put(keys, y, lines[i].text, {});
  }
}

}  // namespace memtally::tools::top
