// SPDX-License-Identifier: Apache-2.0
//
// BufferTable: the slots of one lane, in segments of the file, and which of them are free (private).
// Not thread-safe; the lane's lock guards it.
#pragma once

#include <cstdint>

#include <memtally/abi/ledger_format.h>

#include "ledger/writer/ledger_file.hpp"
#include "ledger/writer/pages.hpp"

namespace memtally::writer {

class BufferTable {
 public:
  static constexpr uint32_t kMostSlots = MEMTALLY_SEGMENT_0_SLOTS * ((1u << MEMTALLY_SEGMENTS) - 1);

  void Init(memtally_lane* lane) { lane_ = lane; }

  memtally_record* At(uint32_t slot) const { return segment_[SegmentOf(slot)] + slot; }

  // A slot to write to, reserved and not live.  It stays free until Take.  False if the file cannot grow.
  bool Offer(LedgerFile& file, uint32_t* slot) {
    if (free_count_ != 0) [[likely]] {
      *slot = free_[free_count_ - 1];
      return true;
    }
    if (lane_->slots_used >= reserved_slots_ && !Grow(file)) [[unlikely]]
      return false;
    *slot = static_cast<uint32_t>(lane_->slots_used);
    return true;
  }

  // The frequent cases of Offer, Take and GiveBack: a slot that was used before; room to remember one more.
  bool OfferUsed(uint32_t* slot) const {
    if (free_count_ == 0) [[unlikely]]
      return false;
    *slot = free_[free_count_ - 1];
    return true;
  }
  void TakeUsed() { --free_count_; }
  bool CanGiveBack() const { return free_count_ < free_room_; }
  void GiveBackSurely(uint32_t slot) { free_[free_count_++] = slot; }

  // Takes what Offer offered last.
  void Take() {
    if (free_count_ != 0) [[likely]] {
      --free_count_;
    } else {
      __atomic_store_n(&lane_->slots_used, lane_->slots_used + 1, __ATOMIC_RELAXED);
    }
  }

  // If there is no memory to remember it, the slot is never used again.
  void GiveBack(uint32_t slot) {
    if (free_count_ == free_room_) {
      if (!free_.Reserve(free_count_ + 1)) return;
      free_room_ = free_.capacity();
    }
    free_[free_count_++] = slot;
  }

  // Where the slot lies in the file.
  uint64_t OffsetOf(uint32_t slot) const {
    const uint32_t segment = SegmentOf(slot);
    return lane_->segment_offset[segment] + sizeof(memtally_record) * (slot - FirstSlot(segment));
  }

  uint32_t slots_used() const { return static_cast<uint32_t>(lane_->slots_used); }

 private:
  static uint32_t SegmentOf(uint32_t slot) {
    return 31u - static_cast<uint32_t>(__builtin_clz(slot / MEMTALLY_SEGMENT_0_SLOTS + 1));
  }
  static uint32_t FirstSlot(uint32_t segment) { return MEMTALLY_SEGMENT_0_SLOTS * ((1u << segment) - 1); }

  static size_t BytesOf(uint32_t segment) {
    return sizeof(memtally_record) * (size_t{MEMTALLY_SEGMENT_0_SLOTS} << segment);
  }

  // Reserves more slots, in the present segment or a new one.
  bool Grow(LedgerFile& file);

  memtally_lane* lane_ = nullptr;
  memtally_record* segment_[MEMTALLY_SEGMENTS] = {};  // moved down, so that slot numbers index them
  uint32_t segments_ = 0;
  size_t reserved_bytes_ = 0;    // of the last segment, in whole pages
  uint32_t reserved_slots_ = 0;  // slots that lie on reserved pages altogether
  PageArray<uint32_t> free_;
  size_t free_count_ = 0;
  size_t free_room_ = 0;
};

}  // namespace memtally::writer
