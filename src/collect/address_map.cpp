// SPDX-License-Identifier: Apache-2.0
#include "collect/address_map.hpp"

#include <algorithm>
#include <limits>
#include <map>

namespace memtally::collect {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

uint64_t AddUpTo(uint64_t a, uint64_t b) { return a > kMost - b ? kMost : a + b; }
uint64_t EndOf(const LedgerBuffer& buffer) { return AddUpTo(buffer.address, buffer.bytes_per_bank); }

}  // namespace

AddressMap::AddressMap(const LedgerView& facts, const LedgerAccount& account) : facts_(facts) {
  for (const LedgerBuffer& buffer : facts.buffers) {
    if (buffer.account != account.index || buffer.imported || buffer.released) continue;
    buffers_.push_back(&buffer);
    held_ = AddUpTo(held_, buffer.bytes_per_bank);
  }
  std::sort(buffers_.begin(), buffers_.end(), [](const LedgerBuffer* a, const LedgerBuffer* b) {
    return a->address != b->address ? a->address < b->address : a->id < b->id;
  });
  const uint64_t capacity = account.capacity_bytes_per_bank;
  uint64_t highest = 0;
  for (const LedgerBuffer* buffer : buffers_) highest = std::max(highest, EndOf(*buffer));
  begin_ = buffers_.empty() ? 0 : buffers_.front()->address;
  end_ = AddUpTo(begin_, capacity);
  if (highest > end_) {
    end_ = highest;
    begin_ = capacity < highest ? highest - capacity : 0;
  }
  uint64_t at = begin_;
  for (const LedgerBuffer* buffer : buffers_) {
    if (buffer->address > at) free_blocks_.push_back({at, buffer->address - at});
    at = std::max(at, EndOf(*buffer));
  }
  if (at < end_) free_blocks_.push_back({at, end_ - at});
}

uint64_t AddressMap::largest_free() const {
  uint64_t largest = 0;
  for (const FreeBlock& block : free_blocks_) largest = std::max(largest, block.bytes);
  return largest;
}

uint64_t AddressMap::LargestFreeWithout(const std::vector<bool>& gone) const {
  uint64_t largest = 0;
  uint64_t at = begin_;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (gone[i]) continue;
    if (buffers_[i]->address > at) largest = std::max(largest, buffers_[i]->address - at);
    at = std::max(at, EndOf(*buffers_[i]));
  }
  return end_ > at ? std::max(largest, end_ - at) : largest;
}

std::vector<TagShare> AddressMap::Tags() const {
  std::map<uint32_t, std::vector<size_t>> by_tag;
  for (size_t i = 0; i < buffers_.size(); ++i) by_tag[buffers_[i]->tag].push_back(i);
  std::vector<TagShare> shares;
  for (const auto& [tag, indices] : by_tag) {
    TagShare& share = shares.emplace_back();
    share.tag = facts_.tag_path(tag);
    share.count = indices.size();
    std::vector<bool> gone(buffers_.size());
    for (const size_t i : indices) {
      share.bytes_per_bank = AddUpTo(share.bytes_per_bank, buffers_[i]->bytes_per_bank);
      gone[i] = true;
    }
    share.largest_free_without = LargestFreeWithout(gone);
  }
  std::stable_sort(shares.begin(), shares.end(),
                   [](const TagShare& a, const TagShare& b) { return a.bytes_per_bank > b.bytes_per_bank; });
  return shares;
}

Clearing AddressMap::CheapestRoomFor(uint64_t bytes_per_bank) const {
  Clearing best;
  best.begin = begin_;
  best.bytes_per_bank = kMost;
  if (bytes_per_bank > capacity()) return best;
  // The cheapest room begins where the space or a buffer begins or ends, or ends where one begins or the space ends:
  // between such places a room that moves only gains or only loses.
  std::vector<uint64_t> begins{begin_, end_ - bytes_per_bank};
  for (const LedgerBuffer* buffer : buffers_) {
    begins.push_back(EndOf(*buffer));
    if (buffer->address >= bytes_per_bank) begins.push_back(buffer->address - bytes_per_bank);
  }
  std::sort(begins.begin(), begins.end());
  begins.erase(std::unique(begins.begin(), begins.end()), begins.end());

  // Buffers in the room [begin, begin + bytes): `first` is the first that ends behind its begin, `last` the first that
  // begins at or behind its end.
  size_t first = 0;
  size_t last = 0;
  uint64_t inside = 0;
  size_t best_first = 0;
  size_t best_last = 0;
  for (const uint64_t begin : begins) {
    if (begin < begin_ || begin > end_ - bytes_per_bank) continue;
    while (last < buffers_.size() && buffers_[last]->address < begin + bytes_per_bank) {
      inside = AddUpTo(inside, buffers_[last++]->bytes_per_bank);
    }
    while (first < last && EndOf(*buffers_[first]) <= begin) inside -= buffers_[first++]->bytes_per_bank;
    if (inside >= best.bytes_per_bank) continue;
    best.begin = begin;
    best.bytes_per_bank = inside;
    best_first = first;
    best_last = last;
  }
  for (size_t i = best_first; i < best_last; ++i) {
    if (EndOf(*buffers_[i]) > best.begin) best.buffers.push_back(buffers_[i]);
  }
  return best;
}

}  // namespace memtally::collect
