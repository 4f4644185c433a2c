// SPDX-License-Identifier: Apache-2.0
//
// IdIndex: from the hash of a buffer's key to the slots that may hold it.  Private memory, about six bytes a buffer.
//
//   line: 16 x 32 bits = one cache line
//   +-------+-------+-- ... --+--------+----------+
//   | entry | entry |         | entry  | overflow |     entry: fingerprint | slot; 0 is empty
//   +-------+-------+-- ... --+--------+----------+     overflow: how many entries of this home line lie further on,
//   and how far
//
// The upper 32 bits of a key's hash choose its home line, the lower its fingerprint (never 0).  A full home line sends
// an entry to one of the next few lines.  The key itself is only in the record, which the caller compares.
//
// The table grows without a pause: a second one is filled by a few slots with each insertion, in the order of the slots
// (a sequential read), and looked at first; the old one keeps what was not moved yet.
//
// An entry is there for each live slot, so the number of slots ever used bounds the number of entries, and only a slot
// that was never used before can make the table grow.
//
// Not thread-safe; the lane's lock guards it.  But a forked child may Find in its copy, which is of any moment within
// any call of another thread: a table is there, its `lines` not null, only while all of it is, and its memory too.
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

  // Where an entry is.  Valid until the index is changed.
  struct Place {
    uint32_t* entry = nullptr;
    uint32_t* overflow = nullptr;  // the overflow word of its home line, if the entry lies further on
    uint32_t slot = kNoSlot;
    explicit operator bool() const { return entry != nullptr; }
  };

  // Visits the slots whose key may have this hash, until `visit(slot)` returns true, and returns that one's place.
  template <typename Visit>
  Place Find(uint64_t hash, Visit&& visit) const {
    const Place place = FindIn(current_, hash, visit);
    return place || old_.lines == nullptr ? place : FindIn(old_, hash, visit);
  }

  // Whether there is a table and no growth is under way.
  bool IsReady() const { return is_ready_; }

  // Find for the frequent case: looks at the key's home line alone and, if that sent entries further on and has none
  // that matches, returns beyond().  REQUIRES: IsReady.
  template <typename Visit, typename Beyond>
  [[gnu::always_inline]] Place FindReady(uint64_t hash, Visit&& visit, Beyond&& beyond) const {
    uint32_t* line = HomeOf(current_, hash);
    return FindInLine(line, MatchLine(line, current_.fingerprint_mask, Fingerprint(current_, hash)), visit, beyond);
  }

  // The same; *vacancy is an empty entry of the home line, where InsertAt may put the key, or null.
  template <typename Visit, typename Beyond>
  [[gnu::always_inline]] Place FindReady(uint64_t hash, uint32_t** vacancy, Visit&& visit, Beyond&& beyond) const {
    uint32_t* line = HomeOf(current_, hash);
    uint32_t empty;
    const uint32_t hits = MatchLineTwice(line, current_.fingerprint_mask, Fingerprint(current_, hash), &empty);
    empty &= kEntriesMask;
    *vacancy = empty != 0 ? line + __builtin_ctz(empty) : nullptr;
    return FindInLine(line, hits, visit, beyond);
  }

  // Makes room for the next Insert of a slot below `slot_limit`; may move a few entries.
  // `hash_of` is asked for slots below `slots_used`.  False if memory is refused; the index is then as before.
  bool Prepare(uint32_t slot_limit, uint32_t slots_used, HashOfSlot hash_of, const void* context);

  // After Prepare.  False if there was no place near the key's home; the index is then as before.
  bool Insert(uint64_t hash, uint32_t slot);

  // Into a vacancy that FindReady told, a slot that was in use before.
  void InsertAt(uint32_t* vacancy, uint64_t hash, uint32_t slot) { *vacancy = Fingerprint(current_, hash) | slot; }

  // Removes what Find found.
  void Erase(const Place& place) {
    *place.entry = 0;
    if (place.overflow != nullptr) [[unlikely]]
      CountBack(place.overflow);
  }

  // Removes an entry by its slot.
  void Erase(uint64_t hash, uint32_t slot);

 private:
  static constexpr uint32_t kEntriesInLine = 15;
  static constexpr uint32_t kEntriesMask = 0x7fff;
  static constexpr uint32_t kAverageInLine = 12;  // grow beyond
  static constexpr uint32_t kMaxDistance = 24;    // lines from home
  static constexpr uint32_t kSlotsMovedAtOnce = 8;

  struct Table {
    uint32_t* lines = nullptr;
    uint32_t line_count = 0;
    uint32_t slot_mask = 0;         // low bits of an entry
    uint32_t fingerprint_mask = 0;  // the other bits
    uint32_t fingerprint_one = 0;   // the lowest of them
    uint32_t slot_limit = 0;        // slots that fit
    size_t limit = 0;               // slots in use before it grows

    // Becomes `other` or goes away, as a forked child may see it: never half.
    void Show(const Table& other);
    void Hide();
  };

  static uint32_t HomeLine(const Table& table, uint64_t hash) {
    return static_cast<uint32_t>(((hash >> 32) * table.line_count) >> 32);
  }
  // Its lowest bit is always set, so that no entry is 0.
  static uint32_t Fingerprint(const Table& table, uint64_t hash) {
    return (static_cast<uint32_t>(hash) & table.fingerprint_mask) | table.fingerprint_one;
  }

  // A line's overflow word: how many of its keys lie in lines further on (16 bits), and in which one at the furthest.
  static uint32_t FurthestOf(uint32_t overflow) { return overflow >> 16; }
  static void CountBeyond(uint32_t* overflow, uint32_t distance) {
    const uint32_t furthest = FurthestOf(*overflow) > distance ? FurthestOf(*overflow) : distance;
    *overflow = ((*overflow + 1) & 0xffffu) | furthest << 16;
  }
  static void CountBack(uint32_t* overflow) {
    --*overflow;
    if ((*overflow & 0xffffu) == 0) *overflow = 0;
  }

  static uint32_t* HomeOf(const Table& table, uint64_t hash) {
    return table.lines + size_t{16} * HomeLine(table, hash);
  }

  // The first entry of a home line that `hits` names and `visit` accepts; beyond() if there is none and keys lie
  // further on.
  template <typename Visit, typename Beyond>
  [[gnu::always_inline]] Place FindInLine(uint32_t* line, uint32_t hits, Visit&& visit, Beyond&& beyond) const {
    for (hits &= kEntriesMask; hits != 0; hits &= hits - 1) {
      uint32_t* entry = line + __builtin_ctz(hits);
      const uint32_t slot = *entry & current_.slot_mask;
      if (visit(slot)) return {entry, nullptr, slot};
    }
    if (line[kEntriesInLine] != 0) [[unlikely]]
      return beyond();
    return {};
  }

  template <typename Visit>
  [[gnu::noinline]] static Place FindIn(const Table& table, uint64_t hash, Visit&& visit) {
    if (table.lines == nullptr) return {};
    const uint32_t fingerprint = Fingerprint(table, hash);
    uint32_t line = HomeLine(table, hash);
    uint32_t* const overflow = table.lines + size_t{16} * line + kEntriesInLine;
    const uint32_t furthest = FurthestOf(*overflow);
    for (uint32_t distance = 0; distance <= furthest; ++distance) {
      uint32_t* entries = table.lines + size_t{16} * line;
      uint32_t hits = MatchLine(entries, table.fingerprint_mask, fingerprint) & kEntriesMask;
      for (; hits != 0; hits &= hits - 1) {
        uint32_t* entry = entries + __builtin_ctz(hits);
        const uint32_t slot = *entry & table.slot_mask;
        if (visit(slot)) return {entry, distance == 0 ? nullptr : overflow, slot};
      }
      if (++line == table.line_count) line = 0;
    }
    return {};
  }

  static bool MakeTable(Table* table, size_t line_count, uint32_t slot_limit);
  static bool InsertInto(Table* table, uint64_t hash, uint32_t slot);
  static Place FindSlot(const Table& table, uint64_t hash, uint32_t slot);
  bool StartGrowing(uint32_t slot_limit);
  bool MoveSome(uint32_t count, uint32_t slots_used, HashOfSlot hash_of, const void* context);

  Table current_;
  Table old_;                 // present while growing
  uint32_t moved_slots_ = 0;  // slots below this are in current_
  bool is_ready_ = false;
};

}  // namespace memtally::writer
