// SPDX-License-Identifier: Apache-2.0
#include "tools/top/list_keys.hpp"

#include <algorithm>

namespace memtally::tools::top {
namespace {

constexpr size_t kWheelLines = 3;

}  // namespace

bool MoveByKey(const Key& key, const ScreenMap& map, size_t* cursor) {
  const size_t last = map.list_lines == 0 ? 0 : map.list_lines - 1;
  const size_t page = std::max<size_t>(map.page_lines, 2) - 1;
  const auto up = [&](size_t lines) { *cursor -= std::min(*cursor, lines); };
  const auto down = [&](size_t lines) { *cursor = std::min(*cursor + lines, last); };
  switch (key.code) {
    case KeyCode::kUp:
      up(1);
      return true;
    case KeyCode::kDown:
      down(1);
      return true;
    case KeyCode::kPageUp:
      up(page);
      return true;
    case KeyCode::kPageDown:
      down(page);
      return true;
    case KeyCode::kWheelUp:
      up(kWheelLines);
      return true;
    case KeyCode::kWheelDown:
      down(kWheelLines);
      return true;
    case KeyCode::kHome:
      *cursor = 0;
      return true;
    case KeyCode::kEnd:
      *cursor = last;
      return true;
    default:
      break;
  }
  if (key.Is(U'g')) *cursor = 0;
  if (key.Is(U'G')) *cursor = last;
  return key.Is(U'g') || key.Is(U'G');
}

void ScrollByKey(const Key& key, const ScreenMap& map, size_t* first) {
  ScreenMap scrolled = map;
  // The last first line is where a cursor could go at most.
  scrolled.list_lines = map.list_lines > map.page_lines ? map.list_lines - map.page_lines + 1 : 1;
  MoveByKey(key.Is(U' ') ? Key{KeyCode::kPageDown} : key, scrolled, first);
}

void FoldByKey(const Key& key, const DetailTable& table, size_t* cursor, TagFolds* folds) {
  if (key.Is(U'*')) {
    *folds = {!folds->all_open, {}};
    return;
  }
  if (*cursor >= table.count) return;
  const DetailLine line = table.line(*cursor);
  if (!line.tag) return;
  const bool open = line.fold == DetailLine::Fold::kOpen;
  const bool folded = line.fold == DetailLine::Fold::kFolded;
  const bool wants_open = key.code == KeyCode::kRight || key.Is(U'+');
  const bool wants_folded = key.code == KeyCode::kLeft || key.Is(U'-');
  const bool toggles = key.code == KeyCode::kEnter;
  if ((open && (wants_folded || toggles)) || (folded && (wants_open || toggles))) {
    if (!folds->toggled.erase(*line.tag)) folds->toggled.insert(*line.tag);
    return;
  }
  if (key.code != KeyCode::kLeft || line.depth == 0) return;
  size_t parent = *cursor;
  while (parent > 0 && table.line(parent).depth >= line.depth) --parent;
  *cursor = parent;
}

}  // namespace memtally::tools::top
