// SPDX-License-Identifier: Apache-2.0
//
// TagTree: what a process holds under each tag, with everything below it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include <memtally/ledger_reader.hpp>

namespace memtally::tools::top {

// Which nodes are open.  At first only those at the top.
struct TagFolds {
  bool all_open = false;
  std::set<uint32_t> toggled;  // tags for which it is the other way round
  bool operator==(const TagFolds&) const = default;
};

struct TagSums {
  uint64_t buffers = 0;         // of all kinds
  uint64_t bytes_reserved = 0;  // device memory, without kinds that nest or overlap
  uint64_t bytes_requested = 0;
  uint64_t bytes_other = 0;  // reserved by the kinds that are left out above
};

struct TagNode {
  uint32_t tag = 0;  // index of LedgerView::tags; 0: buffers without a tag
  int depth = 0;
  bool has_children = false;
  bool open = false;
  TagSums sums;
};

// Nodes that hold something, largest first among siblings, in the order in which a person reads a tree, buffers without
// a tag at the end; without what lies below nodes that are not open.
std::vector<TagNode> BuildTagTree(const LedgerView& facts, const TagFolds& folds);

// Bytes that the memory lost for a buffer: in all banks.
uint64_t ReservedBytes(const LedgerBuffer& buffer, const LedgerAccount& account);

// Whether bytes of the kind are a part of a device memory's sum.
bool AddsUp(const LedgerView& facts, const LedgerAccount& account);

}  // namespace memtally::tools::top
