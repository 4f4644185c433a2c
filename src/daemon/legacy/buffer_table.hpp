// SPDX-License-Identifier: Apache-2.0
//
// BufferTable: the live buffers of one process, at most 64 bytes each.
//
// Entries of one key (sort, device, id) may differ in kind: an address of DRAM and the same one of L1 are two buffers,
// and a free does not say which.  Open addressing with linear probing; an erased entry leaves no trace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace memtally::daemon {

// How a buffer is reported: each has messages of its own.
enum class Sort : uint8_t { kBuffer, kCircularBuffer, kKernel };

struct BufferEntry {
  uint64_t id = 0;
  uint64_t size = 0;
  uint64_t time_ns = 0;  // of its allocation; later ones are larger
  uint32_t references = 0;
  uint16_t device = 0;  // the process's own number of it, from 0 on
  uint8_t kind = 0;     // enum memtally_kind
  uint8_t sort = 0;     // 1 + Sort; 0: no entry
};
static_assert(sizeof(BufferEntry) == 32);

class BufferTable {
 public:
  struct Match {
    BufferEntry* newest = nullptr;  // null: none
    uint32_t count = 0;
  };

  // Null if there is none.  Valid until the next Add or Erase.
  BufferEntry* Find(Sort sort, uint16_t device, uint8_t kind, uint64_t id);
  // Whatever kind it has.
  Match FindAny(Sort sort, uint16_t device, uint64_t id);
  // REQUIRES: Find gives none.
  void Add(Sort sort, const BufferEntry& entry);
  void Erase(BufferEntry* entry);
  void Clear();

  size_t size() const { return size_; }
  size_t bytes() const { return entries_.capacity() * sizeof(BufferEntry); }

  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (const BufferEntry& entry : entries_) {
      if (entry.sort != 0) visit(entry);
    }
  }

 private:
  size_t HomeOf(uint8_t sort, uint16_t device, uint64_t id) const;
  size_t HomeOf(const BufferEntry& entry) const { return HomeOf(entry.sort, entry.device, entry.id); }
  size_t Next(size_t at) const { return at + 1 == entries_.size() ? 0 : at + 1; }
  void Put(const BufferEntry& entry);
  void Resize(size_t capacity);

  std::vector<BufferEntry> entries_;
  size_t size_ = 0;
};

}  // namespace memtally::daemon
