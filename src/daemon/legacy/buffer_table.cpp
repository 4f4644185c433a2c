// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/buffer_table.hpp"

#include <algorithm>

namespace memtally::daemon {
namespace {

constexpr size_t kLeast = 8;
constexpr size_t kAlwaysKept = 1024;

// Grows by half at 7/8, to 7/12; shrinks by a quarter at 1/2, to 2/3.  So an entry takes 37 to 64 bytes.
size_t MostOf(size_t capacity) { return capacity - capacity / 8; }

}  // namespace

// A multiplication spreads the key over the high bits, and a second one scales them to the capacity.
size_t BufferTable::HomeOf(uint8_t sort, uint16_t device, uint64_t id) const {
  uint64_t key = id ^ (uint64_t{device} << 48) ^ (uint64_t{sort} << 40);
  key *= 0x9e3779b97f4a7c15ULL;
  key ^= key >> 32;
  key *= 0xd6e8feb86659fd93ULL;
  __extension__ using Wide = unsigned __int128;
  return static_cast<size_t>((static_cast<Wide>(key) * entries_.size()) >> 64);
}

BufferEntry* BufferTable::Find(Sort sort, uint16_t device, uint8_t kind, uint64_t id) {
  if (entries_.empty()) return nullptr;
  const auto wanted = static_cast<uint8_t>(static_cast<uint8_t>(sort) + 1);
  for (size_t at = HomeOf(wanted, device, id); entries_[at].sort != 0; at = Next(at)) {
    BufferEntry& entry = entries_[at];
    if (entry.id == id && entry.sort == wanted && entry.device == device && entry.kind == kind) return &entry;
  }
  return nullptr;
}

BufferTable::Match BufferTable::FindAny(Sort sort, uint16_t device, uint64_t id) {
  Match match;
  if (entries_.empty()) return match;
  const auto wanted = static_cast<uint8_t>(static_cast<uint8_t>(sort) + 1);
  for (size_t at = HomeOf(wanted, device, id); entries_[at].sort != 0; at = Next(at)) {
    BufferEntry& entry = entries_[at];
    if (entry.id != id || entry.sort != wanted || entry.device != device) continue;
    ++match.count;
    if (match.newest == nullptr || match.newest->time_ns < entry.time_ns) match.newest = &entry;
  }
  return match;
}

void BufferTable::Put(const BufferEntry& entry) {
  size_t at = HomeOf(entry);
  while (entries_[at].sort != 0) at = Next(at);
  entries_[at] = entry;
}

void BufferTable::Add(Sort sort, const BufferEntry& entry) {
  if (size_ >= MostOf(entries_.size())) Resize(std::max(kLeast, entries_.size() + entries_.size() / 2));
  BufferEntry sorted = entry;
  sorted.sort = static_cast<uint8_t>(static_cast<uint8_t>(sort) + 1);
  Put(sorted);
  ++size_;
}

void BufferTable::Erase(BufferEntry* entry) {
  auto hole = static_cast<size_t>(entry - entries_.data());
  // Entries behind the hole that may not lie before their home stay; the others move up.
  for (size_t at = Next(hole); entries_[at].sort != 0; at = Next(at)) {
    const size_t home = HomeOf(entries_[at]);
    const bool stays = hole <= at ? hole < home && home <= at : hole < home || home <= at;
    if (stays) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole] = BufferEntry{};
  --size_;
  if (entries_.size() > kAlwaysKept && size_ < entries_.size() / 2) Resize(entries_.size() / 4 * 3);
}

void BufferTable::Clear() {
  entries_ = {};
  size_ = 0;
}

void BufferTable::Resize(size_t capacity) {
  std::vector<BufferEntry> old(capacity);
  old.swap(entries_);
  for (const BufferEntry& entry : old) {
    if (entry.sort != 0) Put(entry);
  }
}

}  // namespace memtally::daemon
