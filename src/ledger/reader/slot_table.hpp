// SPDX-License-Identifier: Apache-2.0
//
// SlotTable: a copy of one lane's buffer table.  Holes of the file cost nothing, so that a lie about 33 million slots
// is as cheap as the file behind it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include <memtally/abi/ledger_format.h>

#include "ledger/reader/ledger_bytes.hpp"
#include "ledger/reader/record_codec.hpp"

namespace memtally::reader {

// Where a lane's slots lie, after the checks: 0 and 0 for a segment that is not there or not credible.
struct SlotLayout {
  struct Segment {
    uint64_t offset = 0;
    uint64_t slots = 0;  // that are inside the file
  };
  std::array<Segment, MEMTALLY_SEGMENTS> segment{};

  // Offset of a slot in the file, 0 if it is nowhere.
  uint64_t OffsetOf(uint64_t slot) const {
    if (slot >= kMostSlots) return 0;
    const uint32_t k = SegmentOf(slot);
    const uint64_t index = slot - FirstSlotOf(k);
    return index < segment[k].slots ? segment[k].offset + index * sizeof(memtally_record) : 0;
  }
};

class SlotTable {
 public:
  // Neighbouring slots that were copied at one go.
  struct Run {
    uint64_t first;  // slot
    uint64_t count;
    uint64_t offset;  // in the file
    memtally_record* records;
  };

  // Copies all slots below `slots_used`.  At most `budget` bytes are copied, which are then taken off it; returns how
  // many slots were left out for that.  The copy is not of one instant.
  uint64_t Load(LedgerBytes& bytes, const SlotLayout& layout, uint64_t slots_used, uint64_t* budget);

  // Copies these slots again (or for the first time); and their extensions.  Sorts `slots` and drops doubles.
  void Reload(LedgerBytes& bytes, const SlotLayout& layout, std::vector<uint64_t>* slots);

  // The copy of a slot; null if it was not copied (a hole, beyond the table).
  const memtally_record* Find(uint64_t slot) const;

  const std::vector<Run>& runs() const { return runs_; }
  const std::unordered_map<uint64_t, memtally_record>& late() const { return late_; }
  // More came after Load than is kept: Load again.
  bool overflowed() const { return overflowed_; }
  uint64_t slots() const { return slots_ + late_.size(); }

  void Clear();

 private:
  memtally_record* FindInRuns(uint64_t slot);
  void Put(uint64_t slot, const memtally_record& record);

  std::vector<Run> runs_;
  std::unique_ptr<memtally_record[]> records_;  // used again by the next Load
  uint64_t capacity_ = 0;
  uint64_t slots_ = 0;
  std::unordered_map<uint64_t, memtally_record> late_;  // slots that came after Load
  bool overflowed_ = false;
};

}  // namespace memtally::reader
