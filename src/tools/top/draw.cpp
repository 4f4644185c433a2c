// SPDX-License-Identifier: Apache-2.0
#include "tools/top/draw.hpp"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "tools/terminal_text.hpp"
#include "tools/top/device_panel.hpp"
#include "tools/top/help_view.hpp"
#include "tools/top/kill_process.hpp"
#include "tools/top/process_table.hpp"
#include "tools/top/process_view.hpp"

namespace memtally::tools::top {
namespace {

constexpr int kMostBannerLines = 4;

std::string Counts(const collect::Snapshot& snapshot) {
  std::array<size_t, 3> counts{};
  for (const collect::Process& process : snapshot.processes) ++counts[static_cast<size_t>(process.facts.liveness)];
  std::string text = fmt::format("{} alive", counts[0]);
  if (counts[1] != 0) text += fmt::format(", {} detached", counts[1]);
  if (counts[2] != 0) text += fmt::format(", {} dead", counts[2]);
  return text;
}

void DrawTitle(const Model& model, const TopState& state, const Pane& pane) {
  const collect::Snapshot& snapshot = model.snapshot();
  int x = pane.Put(0, 0, "memtally top", {Role::kTitle});
  x += pane.Put(x, 0, "  " + TerminalText(snapshot.host.name, 40) + "  " + Counts(snapshot));
  if (state.paused) x += pane.Put(x, 0, "  PAUSED", {Role::kWarning});
  if (state.filter) {
    x += pane.Put(
        x, 0,
        fmt::format("  filter {} ({} hidden)", TerminalText(state.filter->expression(), 40), model.list().filtered_out),
        {Role::kWarning});
  }
  const std::string right =
      state.read_only ? fmt::format("read-only  {} ms", state.refresh_ms) : fmt::format("{} ms", state.refresh_ms);
  const int columns = static_cast<int>(TerminalWidth(right));
  if (x + 2 + columns <= pane.width()) pane.PutRight(pane.width(), 0, right, {Role::kDim}, columns);
}

struct Hint {
  const char* key;
  const char* text;
};

void DrawHints(const TopState& state, const Pane& pane) {
  static constexpr Hint kMachine[] = {{"q", "Quit"},    {"h", "Help"},  {"Enter", "Look into"}, {"/", "Filter"},
                                      {"<>", "Sort"},   {"t", "Tree"},  {"m", "Memories"},      {"Space", "Pause"},
                                      {"s", "To file"}, {"k", "Signal"}};
  static constexpr Hint kProcess[] = {{"Esc", "Back"},    {"h", "Help"},    {"Tab", "Next"}, {"+-", "Fold"},
                                      {"Space", "Pause"}, {"s", "To file"}, {"k", "Signal"}, {"q", "Quit"}};
  static constexpr Hint kHelp[] = {{"Esc", "Back"}, {"q", "Quit"}};
  int x = 0;
  const auto put = [&](const auto& hints) {
    for (const Hint& hint : hints) {
      if (state.read_only && std::string_view(hint.key) == "k") continue;
      const int columns = static_cast<int>(TerminalWidth(hint.key) + 1 + TerminalWidth(hint.text));
      if (x + columns > pane.width()) break;
      x += pane.Put(x, 0, hint.key, {Role::kKey});
      x += 1 + pane.Put(x, 0, std::string(" ") + hint.text, {Role::kDim}) + 1;
    }
  };
  if (state.help) {
    put(kHelp);
  } else if (state.view == View::kProcess) {
    put(kProcess);
  } else {
    put(kMachine);
  }
}

// The line that a person types on, with the cursor as a selected cell; the text moves so that the cursor is seen.
void DrawAnswer(const Pane& whole, std::string_view question, const TopState& state) {
  const LineEditor& line = state.line;
  Pane pane = whole;
  if (!state.message.empty()) {
    // What was wrong with the last answer.
    const int columns = std::min(static_cast<int>(TerminalWidth(state.message)) + 2, pane.width() * 2 / 3);
    pane = whole.Sub(0, 0, whole.width() - columns, 1);
    whole.Put(pane.width(), 0, "  " + state.message, {Role::kCritical}, columns);
  }
  const int asked = pane.Put(0, 0, question, {Role::kKey});
  const Pane rest = pane.Sub(asked, 0, pane.width() - asked, 1);
  if (rest.width() <= 0) return;
  const std::string before = TerminalText(line.before());
  const std::string after = TerminalText(line.after());
  const int cursor = std::min(static_cast<int>(TerminalWidth(before)), rest.width() - 1);
  rest.PutRight(cursor, 0, before, {}, cursor);
  rest.Put(cursor, 0, after.empty() ? " " : after);
  rest.Sub(cursor, 0, 1, 1).Select(0);
}

void DrawBottom(const TopState& state, const Pane& pane) {
  switch (state.question) {
    case Question::kFilter:
      DrawAnswer(pane, "Filter: ", state);
      return;
    case Question::kFile:
      DrawAnswer(pane, "Write the screen to: ", state);
      return;
    case Question::kKill: {
      const KillSignal& signal = kKillSignals[state.kill.signal];
      pane.Put(0, 0,
               fmt::format("Send {} to {} {}? [y/N]  Tab: another signal", signal.name, state.kill.pid,
                           TerminalText(state.kill.command, 30)),
               {Role::kCritical});
      return;
    }
    case Question::kNone:
      break;
  }
  if (!state.message.empty()) {
    pane.Put(0, 0, state.message, {state.message_is_bad ? Role::kCritical : Role::kTitle});
    return;
  }
  DrawHints(state, pane);
}

// Returns the lines taken.
int DrawBanner(const Model& model, const Pane& pane) {
  const int lines = std::min({static_cast<int>(model.banner().size()), kMostBannerLines, pane.height()});
  for (int y = 0; y < lines; ++y) {
    const BannerLine& line = model.banner()[static_cast<size_t>(y)];
    pane.Put(0, y, "! " + line.text, {line.role});
  }
  return lines;
}

// How many lines the table wants at least, before the devices get theirs.
int TableShare(const Model& model, int height) {
  const int wanted = static_cast<int>(std::min<size_t>(model.list().lines.size(), 200)) + 1;
  return std::min(wanted, std::max(height / 2, std::min(height, 4)));
}

// Below devices that do not all fit.
void DrawMore(int first, int shown, int all, const Pane& pane) {
  const int x = pane.Put(0, 0, "[ ]", {Role::kKey});
  pane.Put(x, 0, fmt::format(" devices: lines {} to {} of {}", first + 1, first + shown, all), {Role::kDim});
}

void DrawMachine(const Model& model, const TopState& state, const Pane& pane, ScreenMap* map) {
  int y = 0;
  if (pane.height() >= 4) y = DrawBanner(model, pane.Sub(0, 0, pane.width(), std::max(pane.height() / 4, 1)));
  const int rest = pane.height() - y;
  const int room = rest - TableShare(model, rest);
  int devices = 0;
  if (room > 0) {
    const DevicePanel panel(model.snapshot(), state, pane.width(), room > 3 ? room - 1 : room);
    devices = std::min(panel.lines(), room > 3 ? room - 1 : room);
    map->device_lines = static_cast<size_t>(panel.lines());
    map->device_page = static_cast<size_t>(devices);
    const Pane part = pane.Sub(0, y, pane.width(), devices);
    const int last = panel.lines() - devices;
    const int first = std::min(static_cast<int>(state.first_device_line), last);
    panel.Draw(part, first);
    map->targets.push_back({Target::Kind::kDevices, part.area(), 0});
    y += devices;
    if (room > 3 && devices != 0) {
      if (last > 0) DrawMore(first, devices, panel.lines(), pane.Sub(0, y, pane.width(), 1));
      ++y;
    }
  }
  DrawProcessTable(model, state, pane.Sub(0, y, pane.width(), pane.height() - y), map);
}

}  // namespace

ScreenMap Draw(const Model& model, const TopState& state, CellGrid* grid) {
  ScreenMap map;
  const Pane all(grid);
  const int title = all.height() >= 8 ? 1 : 0;
  const bool must_ask = state.question != Question::kNone || !state.message.empty();
  const int bottom = all.height() >= 6 || (must_ask && all.height() >= 1) ? 1 : 0;
  if (title != 0) DrawTitle(model, state, all.Sub(0, 0, all.width(), 1));
  const Pane body = all.Sub(0, title, all.width(), all.height() - title - bottom);
  if (state.help) {
    DrawHelp(state, body, &map);
  } else if (state.view == View::kProcess) {
    DrawProcessView(model, state, body, &map);
  } else {
    DrawMachine(model, state, body, &map);
  }
  if (bottom != 0) DrawBottom(state, all.Sub(0, all.height() - 1, all.width(), 1));
  return map;
}

CellGrid DrawPlain(const Model& model, const TopState& state, int width, Charset charset) {
  TopState plain = state;
  plain.list.cursor = CellGrid::kMaxSide;  // nothing is selected
  const DevicePanel panel(model.snapshot(), plain, width, CellGrid::kMaxSide);
  const int banner = std::min<int>(static_cast<int>(model.banner().size()), kMostBannerLines);
  const auto lines = static_cast<int>(std::min<size_t>(std::max<size_t>(model.list().lines.size(), 1), 1500));
  CellGrid grid(width, 1 + banner + panel.lines() + 1 + 1 + lines, charset);
  const Pane all(&grid);
  DrawTitle(model, plain, all.Sub(0, 0, width, 1));
  int y = 1 + DrawBanner(model, all.Sub(0, 1, width, banner));
  panel.Draw(all.Sub(0, y, width, panel.lines()), 0);
  y += panel.lines() + 1;
  ScreenMap map;
  DrawProcessTable(model, plain, all.Sub(0, y, width, grid.height() - y), &map);
  return grid;
}

}  // namespace memtally::tools::top
