// SPDX-License-Identifier: Apache-2.0
//
// LiveTable: what this process has reported and not taken back, so that a server that comes back can be told again.
//
// Counts as the server does: repeated allocations are references; a free without a kind takes the newest match.
// Memory comes from mmap: the program's allocator may be what is being reported.
#pragma once

#include <cstddef>
#include <cstdint>

#include "track/legacy_client/legacy_event.hpp"

namespace memtally::legacy_client {

class LiveTable {
 public:
  // False if there was no memory: from then on the table is not complete.
  bool Apply(const LegacyEvent& event);
  // Forgets all, without giving memory back that another process image may share.
  void Clear();

  size_t size() const { return size_; }
  bool complete() const { return complete_; }

  // An allocation for each buffer, as often as it has references.  Ends where visit says false.
  template <typename Visit>
  bool ForEach(Visit&& visit) const {
    for (size_t i = 0; i < capacity_; ++i) {
      const Entry& entry = entries_[i];
      for (uint32_t reference = 0; reference < entry.references; ++reference) {
        if (!visit(entry.event)) return false;
      }
    }
    return true;
  }

 private:
  struct Entry {
    LegacyEvent event;    // its allocation
    uint32_t order;       // later ones are larger, as far as 32 bits tell
    uint32_t references;  // 0: no entry
  };

  size_t HomeOf(const LegacyEvent& event) const;
  size_t Next(size_t at) const { return (at + 1) & (capacity_ - 1); }
  bool Grow();
  void Erase(size_t hole);

  Entry* entries_ = nullptr;
  size_t capacity_ = 0;  // a power of two
  size_t size_ = 0;
  uint32_t order_ = 0;
  bool complete_ = true;
};

}  // namespace memtally::legacy_client
