// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/caption.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tools/demo/paragraph.hpp"
#include "tools/demo/story.hpp"

namespace memtally::tools::demo {
namespace {

// Of the longest caption, about.
constexpr int kCharacters = 300;
constexpr int kIndent = 2;

int TextColumns(int width) { return std::max(width - 2 * kIndent, 1); }

// What the story waits for, or does next.
std::string Waiting(const Storyteller& teller, const Facts& facts) {
  if (teller.paused()) return "paused: the programs stand still";
  if (const std::string awaited = teller.Awaited(facts); !awaited.empty()) return "waiting: " + awaited;
  if (teller.held()) return teller.is_last() ? "look around" : "look around; the story waits for you";
  if (teller.is_last())
    return fmt::format("ends in {:.0f} s; any other key stays", std::max(teller.seconds_left(), 0.0));
  return "";
}

}  // namespace

int CaptionLines(int width, int height) {
  // The rule, the caption, what is awaited.
  const int wanted = 1 + (kCharacters + TextColumns(width) - 1) / TextColumns(width) + 1;
  return std::min(wanted, std::max(height / 3, 1));
}

void DrawCaption(const Storyteller& teller, const Facts& facts, const top::Pane& pane) {
  const top::Style rule{top::Role::kTitle};
  pane.Fill(0, 0, pane.width(), pane.charset() == top::Charset::kUnicode ? "━" : "=", rule);
  std::string title = "memtally demo";
  std::string caption;
  if (const Step* step = teller.step()) {
    title = fmt::format("{} of {}: {}", teller.number(), Story().size(), step->title);
    caption = step->caption(facts);
  }
  const int end = 3 + pane.Put(3, 0, fmt::format(" {} ", title), rule);
  const std::string keys =
      fmt::format(" n {}  Space {}  q Quit ", teller.is_last() ? "End" : "Next", teller.paused() ? "Go on" : "Pause");
  const int columns = static_cast<int>(keys.size());
  if (end + 1 + columns + 1 <= pane.width()) pane.PutRight(pane.width() - 2, 0, keys, {top::Role::kKey}, columns);
  const std::vector<std::string> lines = Lines(caption, static_cast<size_t>(TextColumns(pane.width())));
  for (size_t y = 0; y < lines.size(); ++y) pane.Put(kIndent, static_cast<int>(y) + 1, lines[y]);
  const std::string waiting = Waiting(teller, facts);
  const int last = pane.height() - 1;
  if (waiting.empty() || last <= static_cast<int>(lines.size())) return;
  pane.PutRight(pane.width() - kIndent, last, waiting, {top::Role::kWarning}, TextColumns(pane.width()));
}

}  // namespace memtally::tools::demo
