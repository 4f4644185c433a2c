// SPDX-License-Identifier: Apache-2.0
#include "tools/top/tag_tree.hpp"

#include <algorithm>
#include <utility>

#include "collect/snapshot.hpp"

namespace memtally::tools::top {
namespace {

constexpr int kOpenDepth = 1;

void Add(const TagSums& from, TagSums* to) {
  to->buffers += from.buffers;
  to->bytes_reserved += from.bytes_reserved;
  to->bytes_requested += from.bytes_requested;
  to->bytes_other += from.bytes_other;
}

// What each tag itself holds; tags that the ledger does not have count as none.
std::vector<TagSums> OwnSums(const LedgerView& facts) {
  std::vector<TagSums> sums(std::max<size_t>(facts.tags.size(), 1));
  for (const LedgerBuffer& buffer : facts.buffers) {
    if (buffer.imported || buffer.released) continue;
    const LedgerAccount* account = collect::AccountAt(facts, buffer.account);
    if (account == nullptr) continue;
    TagSums& sum = sums[buffer.tag < sums.size() ? buffer.tag : 0];
    ++sum.buffers;
    if (AddsUp(facts, *account)) {
      sum.bytes_reserved += ReservedBytes(buffer, *account);
      sum.bytes_requested += buffer.bytes_requested;
    } else {
      sum.bytes_other += ReservedBytes(buffer, *account);
    }
  }
  return sums;
}

}  // namespace

uint64_t ReservedBytes(const LedgerBuffer& buffer, const LedgerAccount& account) {
  uint64_t bytes = 0;
  return __builtin_mul_overflow(buffer.bytes_per_bank, account.banks, &bytes) ? UINT64_MAX : bytes;
}

bool AddsUp(const LedgerView& facts, const LedgerAccount& account) {
  const LedgerKind* kind = facts.kind(account.kind);
  return kind == nullptr || (!kind->overlaps && !kind->inside && !kind->on_host);
}

std::vector<TagNode> BuildTagTree(const LedgerView& facts, const TagFolds& folds) {
  std::vector<TagSums> sums = OwnSums(facts);
  // Tags are numbered as they come, so a parent comes before its children; what says otherwise has no parent.
  std::vector<std::vector<uint32_t>> children(sums.size());
  for (auto tag = static_cast<uint32_t>(sums.size() - 1); tag > 0; --tag) {
    if (sums[tag].buffers == 0) continue;
    const uint32_t parent = facts.tags[tag].parent;
    const bool has_parent = parent != 0 && parent < tag;
    children[has_parent ? parent : 0].push_back(tag);
    if (has_parent) Add(sums[tag], &sums[parent]);
  }
  for (std::vector<uint32_t>& siblings : children) {
    std::sort(siblings.begin(), siblings.end(), [&](uint32_t a, uint32_t b) {
      const auto size = [&](uint32_t tag) { return std::pair(sums[tag].bytes_reserved, sums[tag].bytes_other); };
      return size(a) != size(b) ? size(a) > size(b) : a < b;
    });
  }

  std::vector<TagNode> nodes;
  std::vector<std::pair<uint32_t, int>> waiting;  // tag and depth, the next one last
  const auto wait_for = [&](const std::vector<uint32_t>& siblings, int depth) {
    for (auto tag = siblings.rbegin(); tag != siblings.rend(); ++tag) waiting.emplace_back(*tag, depth);
  };
  if (sums[0].buffers != 0) waiting.emplace_back(0, 0);
  wait_for(children[0], 0);
  while (!waiting.empty()) {
    const auto [tag, depth] = waiting.back();
    waiting.pop_back();
    const bool has_children = tag != 0 && !children[tag].empty();
    const bool open = has_children && (folds.all_open || depth < kOpenDepth) != folds.toggled.contains(tag);
    nodes.push_back({tag, depth, has_children, open, sums[tag]});
    if (open) wait_for(children[tag], depth + 1);
  }
  return nodes;
}

}  // namespace memtally::tools::top
