// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/id_index.hpp"

#include "ledger/writer/pages.hpp"

namespace memtally::writer {

namespace {
constexpr size_t kFirstLines = 64;
constexpr size_t kLineBytes = 64;
}  // namespace

void IdIndex::Table::Hide() {
  __atomic_store_n(&lines, nullptr, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
}

void IdIndex::Table::Show(const Table& other) {
  Hide();
  Table hidden = other;
  hidden.lines = nullptr;
  *this = hidden;
  __atomic_store_n(&lines, other.lines, __ATOMIC_RELEASE);
}

bool IdIndex::MakeTable(Table* table, size_t line_count, uint32_t slot_limit) {
  line_count = RoundUpToPages(line_count * kLineBytes) / kLineBytes;
  void* lines = MapPages(line_count * kLineBytes);
  if (lines == nullptr) return false;
  // As few slot bits as will do for some time: the others are fingerprint.
  uint32_t bits = 12;
  while (bits < 26 && (uint64_t{1} << bits) < uint64_t{slot_limit} + line_count * kEntriesInLine) ++bits;
  table->lines = static_cast<uint32_t*>(lines);
  table->line_count = static_cast<uint32_t>(line_count);
  table->slot_mask = (uint32_t{1} << bits) - 1;
  table->fingerprint_mask = ~table->slot_mask;
  table->fingerprint_one = uint32_t{1} << bits;
  table->slot_limit = uint32_t{1} << bits;
  table->limit = line_count * kAverageInLine;
  return true;
}

bool IdIndex::InsertInto(Table* table, uint64_t hash, uint32_t slot) {
  const uint32_t home = HomeLine(*table, hash);
  uint32_t line = home;
  for (uint32_t distance = 0; distance <= kMaxDistance; ++distance) {
    uint32_t* entries = table->lines + size_t{16} * line;
    const uint32_t empty = MatchLine(entries, ~uint32_t{0}, 0) & 0x7fffu;
    if (empty != 0) {
      entries[__builtin_ctz(empty)] = Fingerprint(*table, hash) | slot;
      if (distance != 0) CountBeyond(&table->lines[size_t{16} * home + kEntriesInLine], distance);
      return true;
    }
    if (++line == table->line_count) line = 0;
  }
  return false;
}

IdIndex::Place IdIndex::FindSlot(const Table& table, uint64_t hash, uint32_t slot) {
  return FindIn(table, hash, [slot](uint32_t candidate) { return candidate == slot; });
}

bool IdIndex::Insert(uint64_t hash, uint32_t slot) {
  if (!InsertInto(&current_, hash, slot)) {
    current_.limit = 0;  // 25 neighbouring lines are full: grow at the next chance
    is_ready_ = false;
    return false;
  }
  return true;
}

void IdIndex::Erase(uint64_t hash, uint32_t slot) {
  Place place = FindSlot(current_, hash, slot);
  if (!place) place = FindSlot(old_, hash, slot);
  if (place) Erase(place);
}

bool IdIndex::StartGrowing(uint32_t slot_limit) {
  size_t lines = current_.line_count == 0 ? kFirstLines : size_t{current_.line_count} + current_.line_count / 2;
  Table bigger;
  if (!MakeTable(&bigger, lines, slot_limit)) return false;
  moved_slots_ = 0;
  old_.Show(current_);  // first: what is in current_ is found throughout
  current_.Show(bigger);
  return true;
}

bool IdIndex::MoveSome(uint32_t count, uint32_t slots_used, HashOfSlot hash_of, const void* context) {
  for (; count != 0 && moved_slots_ < slots_used; --count, ++moved_slots_) {
    const uint64_t hash = hash_of(context, moved_slots_);
    if (hash == 0) continue;
    // What was inserted since the growth began is in the new table only.
    const Place old_place = FindSlot(old_, hash, moved_slots_);
    if (!old_place) continue;
    if (!InsertInto(&current_, hash, moved_slots_)) return false;
    __atomic_thread_fence(__ATOMIC_RELEASE);  // a forked child finds it in one or the other
    Erase(old_place);
  }
  if (moved_slots_ >= slots_used) {
    uint32_t* const lines = old_.lines;
    old_.Hide();
    UnmapPages(lines, size_t{old_.line_count} * kLineBytes);
  }
  return true;
}

bool IdIndex::Prepare(uint32_t slot_limit, uint32_t slots_used, HashOfSlot hash_of, const void* context) {
  is_ready_ = false;
  if (old_.lines != nullptr) MoveSome(kSlotsMovedAtOnce, slots_used, hash_of, context);
  if (slot_limit > current_.limit || slot_limit > current_.slot_limit) {
    if (old_.lines != nullptr) MoveSome(slots_used, slots_used, hash_of, context);  // too small again: finish first
    if (old_.lines != nullptr || !StartGrowing(slot_limit)) {
      // No memory for a larger table: go on in this one while it has room.
      return current_.lines != nullptr && slot_limit <= current_.slot_limit &&
             slot_limit < size_t{current_.line_count} * kEntriesInLine * 9 / 10;
    }
  }
  is_ready_ = old_.lines == nullptr;
  return true;
}

}  // namespace memtally::writer
