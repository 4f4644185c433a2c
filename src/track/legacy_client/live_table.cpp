// SPDX-License-Identifier: Apache-2.0
#include "track/legacy_client/live_table.hpp"

#include <sys/mman.h>

#include <memtally/abi/legacy_protocol.h>

namespace memtally::legacy_client {
namespace {

constexpr size_t kFirstCapacity = 128;

// The allocation that a free takes back.
uint8_t AllocationOf(uint8_t type) {
  switch (type) {
    case MEMTALLY_LEGACY_FREE:
      return MEMTALLY_LEGACY_ALLOC;
    case MEMTALLY_LEGACY_CB_FREE:
      return MEMTALLY_LEGACY_CB_ALLOC;
    case MEMTALLY_LEGACY_KERNEL_UNLOAD:
      return MEMTALLY_LEGACY_KERNEL_LOAD;
    default:
      return type;
  }
}

}  // namespace

size_t LiveTable::HomeOf(const LegacyEvent& event) const {
  uint64_t key =
      event.id ^ (uint64_t{static_cast<uint32_t>(event.device)} << 40) ^ (uint64_t{AllocationOf(event.type)} << 32);
  key *= 0x9e3779b97f4a7c15ULL;
  key ^= key >> 32;
  return key & (capacity_ - 1);
}

bool LiveTable::Apply(const LegacyEvent& event) {
  const uint8_t type = AllocationOf(event.type);
  const bool is_allocation = type == event.type;
  if (is_allocation && size_ >= capacity_ / 4 * 3 && !Grow()) {
    complete_ = false;
    return false;
  }
  if (capacity_ == 0) return true;
  size_t newest = capacity_;
  size_t at = HomeOf(event);
  for (; entries_[at].references != 0; at = Next(at)) {
    Entry& entry = entries_[at];
    if (entry.event.id != event.id || entry.event.device != event.device || entry.event.type != type) continue;
    if (is_allocation) {
      // Kernels differ in nothing else.
      if (type == MEMTALLY_LEGACY_ALLOC && entry.event.buffer_type != event.buffer_type) continue;
      ++entry.references;
      return true;
    }
    if (newest == capacity_ || static_cast<int32_t>(entry.order - entries_[newest].order) > 0) newest = at;
  }
  if (is_allocation) {
    entries_[at] = {event, ++order_, 1};
    ++size_;
  } else if (newest != capacity_ && --entries_[newest].references == 0) {
    Erase(newest);
  }
  return true;
}

void LiveTable::Erase(size_t hole) {
  // Entries behind the hole that may not lie before their home stay; the others move up.
  for (size_t at = Next(hole); entries_[at].references != 0; at = Next(at)) {
    const size_t home = HomeOf(entries_[at].event);
    if (((at - home) & (capacity_ - 1)) < ((at - hole) & (capacity_ - 1))) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole].references = 0;
  --size_;
}

bool LiveTable::Grow() {
  const size_t capacity = capacity_ == 0 ? kFirstCapacity : capacity_ * 2;
  void* memory = mmap(nullptr, capacity * sizeof(Entry), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  Entry* old = entries_;
  const size_t old_capacity = capacity_;
  entries_ = static_cast<Entry*>(memory);
  capacity_ = capacity;
  for (size_t i = 0; i < old_capacity; ++i) {
    if (old[i].references == 0) continue;
    size_t at = HomeOf(old[i].event);
    while (entries_[at].references != 0) at = Next(at);
    entries_[at] = old[i];
  }
  if (old != nullptr) munmap(old, old_capacity * sizeof(Entry));
  return true;
}

void LiveTable::Clear() {
  if (entries_ != nullptr) munmap(entries_, capacity_ * sizeof(Entry));
  entries_ = nullptr;
  capacity_ = size_ = 0;
  complete_ = true;
}

}  // namespace memtally::legacy_client
