// SPDX-License-Identifier: Apache-2.0
//
// TagTable: from (parent, name) to the number of a tag.  Looked at without a lock; grows under the registry lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "ledger/writer/ledger_writer.hpp"

namespace memtally::track {

inline constexpr uint32_t kOtherTag = 1;

class TagTable {
 public:
  // The tag of this name below `parent`; made if it is new, kOtherTag if there is no room (counted).
  uint32_t Intern(writer::LedgerWriter& ledger, writer::FutexLock& registry_lock, uint32_t parent, const char* name);

 private:
  struct Places {
    size_t mask;
    std::atomic<uint32_t> tag[1];  // mask + 1 of them; 0 empty
  };

  static uint32_t FindIn(const Places* places, const writer::LedgerWriter& ledger, uint32_t parent, uint32_t hash,
                         const char* name, size_t name_bytes);
  static void Put(Places* places, const memtally_tag& tag, uint32_t number);
  bool Grow(const writer::LedgerWriter& ledger);

  std::atomic<Places*> places_{nullptr};  // replaced ones stay: somebody may be looking
  size_t tags_ = 0;
};

}  // namespace memtally::track
