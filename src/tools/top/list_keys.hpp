// SPDX-License-Identifier: Apache-2.0
//
// Keys that move in lists and fold trees.
#pragma once

#include <cstddef>

#include "tools/top/detail_table.hpp"
#include "tools/top/key.hpp"
#include "tools/top/screen_map.hpp"
#include "tools/top/tag_tree.hpp"

namespace memtally::tools::top {

// Moves the cursor within the list that `map` tells of.  Whether the key was one that moves.
bool MoveByKey(const Key& key, const ScreenMap& map, size_t* cursor);

// The same for a text without a cursor: moves its first line.
void ScrollByKey(const Key& key, const ScreenMap& map, size_t* first);

// Folds or unfolds the line under the cursor, or goes to its parent.
void FoldByKey(const Key& key, const DetailTable& table, size_t* cursor, TagFolds* folds);

}  // namespace memtally::tools::top
