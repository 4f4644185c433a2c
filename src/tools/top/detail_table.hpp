// SPDX-License-Identifier: Apache-2.0
//
// DetailTable: a table about one process, whose lines are only made when they are seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"
#include "tools/top/column_layout.hpp"
#include "tools/top/tag_tree.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

struct DetailLine {
  std::vector<std::string> cells;  // as many as columns; safe for a terminal.  One only: a line across all of them
  Role role = Role::kText;
  std::optional<uint32_t> tag;  // that this line is about
  int depth = 0;                // in a tree
  enum class Fold : uint8_t { kNone, kOpen, kFolded } fold = Fold::kNone;
  std::optional<double> share;  // 0 to 1: a bar in the last column
};

struct DetailTable {
  std::vector<ColumnSpec> columns;
  size_t count = 0;
  std::function<DetailLine(size_t)> line;  // REQUIRES: below count; the snapshot is still there
  std::string nothing;                     // what to say if there are no lines
};

// What `tab` shows of a process.  The snapshot must outlive the table.
DetailTable BuildDetail(const collect::Snapshot& snapshot, const collect::Process& process, Tab tab,
                        const TagFolds& folds);

}  // namespace memtally::tools::top
