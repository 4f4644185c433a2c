// SPDX-License-Identifier: Apache-2.0
//
// IdIndex: from the hash of a buffer's key to the slots that may hold it.  Private memory, about six bytes a buffer.
//
//   line: 16 x 32 bits = one cache line
//   +-------+-------+-- ... --+--------+----------+
//   | entry | entry |         | entry  | overflow |     entry: fingerprint | slot; 0 is empty
//   +-------+-------+-- ... --+--------+----------+     overflow: entries of this home line that lie further on
//
// The upper 32 bits of a key's hash choose its home line, the lower its fingerprint (never 0).  A full home line sends
// an entry to one of the next few lines.  The key itself is only in the record, which the caller compares.
//
// The table grows without a pause: a second one is filled by a few slots with each insertion, in the order of the slots
// (a sequential read), and looked at first; the old one keeps what was not moved yet.
//
// Not thread-safe; the lane's lock guards it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "line_match.hpp"

namespace memtally::writer {

class IdIndex {
 public:
  // Tells the hash of the key in `slot`, or 0 if the slot holds no buffer.
  using HashOfSlot = uint64_t (*)(const void* context, uint32_t slot);

  static constexpr uint32_t kNoSlot = 0xffffffffu;

  // Visits the slots whose key may have this hash, until `visit(slot)` returns true.  Returns that slot or kNoSlot.
  template <typename Visit>
  uint32_t Find(uint64_t hash, Visit&& visit) const {
    uint32_t slot = FindIn(current_, hash, visit);
    if (slot == kNoSlot && old_.lines != nullptr) [[unlikely]]
      slot = FindIn(old_, hash, visit);
    return slot;
  }

  // Makes room for the next Insert of a slot below `slot_limit`; may move a few entries.
  // `hash_of` is asked for slots below `slots_used`.  False if memory is refused; the index is then as before.
  bool Prepare(uint32_t slot_limit, uint32_t slots_used, HashOfSlot hash_of, const void* context) {
    if (old_.lines == nullptr && entries_ < current_.limit && slot_limit <= current_.slot_limit) [[likely]]
      return true;
    return PrepareSlowly(slot_limit, slots_used, hash_of, context);
  }

  // After Prepare.  False if there was no place near the key's home; the index is then as before.
  bool Insert(uint64_t hash, uint32_t slot);

  // Removes what Find returned for this hash.
  void Erase(uint64_t hash, uint32_t slot);

  // Starts to load the line where a key of this hash would be.
  void Prefetch(uint64_t hash) const {
    if (current_.lines != nullptr) __builtin_prefetch(current_.lines + size_t{16} * HomeLine(current_, hash));
  }

  size_t entries() const { return entries_; }
  size_t bytes() const;

 private:
  static constexpr uint32_t kEntriesInLine = 15;
  static constexpr uint32_t kAverageInLine = 12;  // grow beyond
  static constexpr uint32_t kMaxDistance = 24;    // lines from home
  static constexpr uint32_t kSlotsMovedAtOnce = 8;

  struct Table {
    uint32_t* lines = nullptr;
    uint32_t line_count = 0;
    uint32_t slot_mask = 0;   // low bits of an entry
    uint32_t slot_limit = 0;  // slots that fit
    size_t limit = 0;         // entries before it grows
  };

  static uint32_t HomeLine(const Table& table, uint64_t hash) {
    return static_cast<uint32_t>(((hash >> 32) * table.line_count) >> 32);
  }
  static uint32_t Fingerprint(const Table& table, uint64_t hash) {
    const uint32_t fingerprint = static_cast<uint32_t>(hash) & ~table.slot_mask;
    return fingerprint != 0 ? fingerprint : table.slot_mask + 1;
  }

  template <typename Visit>
  static uint32_t FindIn(const Table& table, uint64_t hash, Visit&& visit) {
    if (table.lines == nullptr) [[unlikely]]
      return kNoSlot;
    const uint32_t fingerprint = Fingerprint(table, hash);
    uint32_t line = HomeLine(table, hash);
    uint32_t further = table.lines[size_t{16} * line + kEntriesInLine];
    for (uint32_t distance = 0;; ++distance) {
      const uint32_t* entries = table.lines + size_t{16} * line;
      uint32_t hits = MatchLine(entries, ~table.slot_mask, fingerprint) & 0x7fffu;
      while (hits != 0) {
        const uint32_t slot = entries[__builtin_ctz(hits)] & table.slot_mask;
        if (visit(slot)) return slot;
        hits &= hits - 1;
      }
      if (further == 0 || distance == kMaxDistance) [[likely]]
        return kNoSlot;
      if (++line == table.line_count) line = 0;
    }
  }

  static bool MakeTable(Table* table, size_t line_count, uint32_t slot_limit);
  static bool InsertInto(Table* table, uint64_t hash, uint32_t slot);
  static bool EraseFrom(Table* table, uint64_t hash, uint32_t slot);
  static bool Contains(const Table& table, uint64_t hash, uint32_t slot);
  bool PrepareSlowly(uint32_t slot_limit, uint32_t slots_used, HashOfSlot hash_of, const void* context);
  bool StartGrowing(uint32_t slot_limit);
  bool MoveSome(uint32_t count, uint32_t slots_used, HashOfSlot hash_of, const void* context);

  Table current_;
  Table old_;                 // present while growing
  uint32_t moved_slots_ = 0;  // slots below this are in current_
  size_t entries_ = 0;
};

}  // namespace memtally::writer
