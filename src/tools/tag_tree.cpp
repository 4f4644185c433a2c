// SPDX-License-Identifier: Apache-2.0
#include "tools/tag_tree.hpp"

#include <algorithm>
#include <cstring>

namespace memtally::tools {
namespace {

// Deeper is nobody's program; what is below counts as the tag at this depth.  Also ends what goes round in circles.
constexpr size_t kMaxDepth = 200;

void AddUp(const Amount& amount, Amount* sum) {
  const auto add = [](uint64_t more, uint64_t* to) {
    if (__builtin_add_overflow(*to, more, to)) *to = UINT64_MAX;
  };
  add(amount.count, &sum->count);
  add(amount.bytes_requested, &sum->bytes_requested);
  add(amount.bytes_reserved, &sum->bytes_reserved);
}

}  // namespace

TagTree::TagTree() : nodes_(1), parents_(1, 0) {}

uint32_t TagTree::PlaceOf(const LedgerView& facts, uint32_t tag) {
  if (tag == 0 || tag >= facts.tags.size()) return 0;
  const auto known = known_.find({&facts, tag});
  if (known != known_.end()) return known->second;
  std::vector<uint32_t> chain;  // from the tag up
  for (uint32_t at = tag; at != 0 && at < facts.tags.size() && chain.size() <= facts.tags.size();
       at = facts.tags[at].parent) {
    chain.push_back(at);
  }
  const size_t skipped = chain.size() > kMaxDepth ? chain.size() - kMaxDepth : 0;
  uint32_t place = 0;
  for (size_t i = chain.size(); i-- > skipped;) {
    const std::string& name = facts.tags[chain[i]].name;
    const auto [entry, is_new] = by_name_.try_emplace({place, name}, static_cast<uint32_t>(nodes_.size()));
    if (is_new) {
      nodes_[place].children.push_back(entry->second);
      nodes_.emplace_back().name = name;
      parents_.push_back(place);
    }
    place = entry->second;
  }
  known_[{&facts, tag}] = place;
  return place;
}

void TagTree::Add(const LedgerView& facts, uint32_t tag, const Amount& amount) {
  AddUp(amount, &nodes_[PlaceOf(facts, tag)].own);
}

void TagTree::Finish(TagOrder order) {
  for (Node& node : nodes_) node.total = node.own;
  // A node comes after its parent.
  for (size_t i = nodes_.size(); i-- > 1;) AddUp(nodes_[i].total, &nodes_[parents_[i]].total);
  for (Node& node : nodes_) {
    std::sort(node.children.begin(), node.children.end(), [&](uint32_t a, uint32_t b) {
      const Node& x = nodes_[a];
      const Node& y = nodes_[b];
      if (order == TagOrder::kCount && x.total.count != y.total.count) return x.total.count > y.total.count;
      if (order == TagOrder::kSize && x.total.bytes_reserved != y.total.bytes_reserved) {
        return x.total.bytes_reserved > y.total.bytes_reserved;
      }
      const int names = strverscmp(x.name.c_str(), y.name.c_str());  // "layer 2" before "layer 10"
      return names != 0 ? names < 0 : a < b;
    });
  }
}

size_t TagTree::DescendantsOf(uint32_t node) const {
  size_t count = 0;
  std::vector<uint32_t> open = {node};
  while (!open.empty()) {
    const std::vector<uint32_t>& children = nodes_[open.back()].children;
    open.pop_back();
    count += children.size();
    open.insert(open.end(), children.begin(), children.end());
  }
  return count;
}

}  // namespace memtally::tools
