// SPDX-License-Identifier: Apache-2.0
//
// TagTree: what is held, by tags and the tags above them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <memtally/ledger_reader.hpp>

namespace memtally::tools {

enum class TagOrder { kSize, kName, kCount };

class TagTree {
 public:
  struct Node {
    std::string name;                // bytes that a foreign process chose
    Amount own;                      // of this very tag
    Amount total;                    // and of all below
    std::vector<uint32_t> children;  // places in nodes()
  };

  TagTree();

  // Adds buffers of a tag of a ledger.  Tags of several ledgers with the same names are one.
  void Add(const LedgerView& facts, uint32_t tag, const Amount& amount);

  // Makes the totals, and sorts what is below each node.  Once, when all is added.
  void Finish(TagOrder order);

  // The first is the root: its own are those without a tag.
  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& root() const { return nodes_.front(); }
  size_t DescendantsOf(uint32_t node) const;

 private:
  uint32_t PlaceOf(const LedgerView& facts, uint32_t tag);

  std::vector<Node> nodes_;
  std::vector<uint32_t> parents_;                                     // of nodes_
  std::map<std::pair<uint32_t, std::string>, uint32_t> by_name_;      // parent, name
  std::map<std::pair<const LedgerView*, uint32_t>, uint32_t> known_;  // tags that have been placed
};

}  // namespace memtally::tools
