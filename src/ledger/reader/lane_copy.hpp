// SPDX-License-Identifier: Apache-2.0
//
// LaneCopy: a copy of one lane, and what is known of how consistent it is.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <memtally/abi/ledger_format.h>

#include "ledger/reader/claims.hpp"
#include "ledger/reader/gaps.hpp"
#include "ledger/reader/ledger_bytes.hpp"
#include "ledger/reader/slot_table.hpp"

namespace memtally::reader {

class LaneCopy {
 public:
  // What the collector wants of a lane at one try.
  struct Wish {
    uint32_t lane = 0;                            // its number, for gaps
    uint64_t offset = 0;                          // inside the file, with at least the first 3072 bytes of the lane
    uint32_t accounts = 0;                        // sums wanted
    uint64_t catalog_begin = 0, catalog_end = 0;  // where a call may have changed words, besides the lane
    bool buffers = false;
    uint64_t devices = 0;  // differs once a device was closed or opened, after which slots may change without an event
    // Whether calls under way are taken back: none; those that the try before, a nap ago, had seen under way, too; all.
    // A thread that was stopped in between has all its writes behind it; one that runs may have them seen in any order.
    enum class TakeBack : uint8_t { kNone, kStopped, kAll } take_back = TakeBack::kNone;
  };

  // Forgets everything but the memory.
  void Reset();

  // Copies what is wanted.  What was copied before and cannot have changed is not copied again.  *words_changed is set
  // if old_words() has changed: the caller hands them to `bytes` and calls Copy again.  `budget`: of SlotTable::Load.
  void Copy(LedgerBytes& bytes, const Wish& wish, Claims& claims, Gaps& gaps, uint64_t* budget, bool* words_changed);

  // Whether everything copied is still what the file says.  Call after all that has to belong to the same instant was
  // copied.
  bool StillTrue(LedgerBytes& bytes);

  // The next Copy copies again.
  void Distrust() { fresh_ = false; }

  // The file has grown: a part that seemed to lie beyond its end may be there, and all slots are copied again.
  void NoteGrowth() {
    if (layout_cut_) fresh_ = false;
  }

  // The sequence that the copy belongs to; with a call under way, half of it is the number of the events before it.
  uint64_t sequence() const { return sequence_; }
  bool is_odd() const { return (sequence_ & 1) != 0; }
  uint64_t events() const { return sequence_ >> 1; }
  bool taken_back() const { return taken_back_ && !went_on_; }
  bool fresh() const { return fresh_; }
  bool buffers_complete() const { return buffers_complete_; }

  uint64_t offset() const { return offset_; }
  const memtally_lane& header() const { return header_; }
  uint64_t ring_offset() const { return ring_offset_; }
  uint32_t ring_capacity() const { return ring_capacity_; }  // 0: there is no credible ring
  const SlotLayout& layout() const { return layout_; }
  const SlotTable& slots() const { return slots_; }
  memtally_sums Sums(uint32_t account) const {
    return Element<memtally_sums>(body_, MEMTALLY_LANE_SUMS_OFFSET, account);
  }
  memtally_more_sums MoreSums(uint32_t account) const { return Element<memtally_more_sums>(more_, 0, account); }
  uint64_t loaded_bytes() const { return loaded_bytes_; }  // what the slots have cost of the budget
  const std::vector<OldWord>& old_words() const { return old_words_; }

  // A flight recorder holds at most this many events, or is not believed.
  static constexpr uint32_t kMostRingEvents = 1u << 20;

 private:
  template <typename T>
  static T Element(const std::vector<uint8_t>& from, size_t offset, uint32_t index) {
    T element{};
    const size_t at = offset + size_t{index} * sizeof(T);
    if (at + sizeof(T) <= from.size()) memcpy(&element, from.data() + at, sizeof(T));
    return element;
  }

  void CopyBody(LedgerBytes& bytes, const Wish& wish);
  void CheckLayout(const LedgerBytes& bytes, const Wish& wish, Claims& claims, Gaps& gaps);
  bool BuildOldWords(const Wish& wish);
  void AddGaps(const Wish& wish, Gaps& gaps) const;
  void UpdateSlots(LedgerBytes& bytes, const Wish& wish, uint64_t* budget);
  bool FollowEvents(LedgerBytes& bytes, uint64_t from, uint64_t to);

  static constexpr int kMostLoads = 3;  // of the whole table, a read

  uint64_t offset_ = 0;
  uint64_t sequence_ = 0;
  bool fresh_ = false;
  bool taken_back_ = false;
  bool went_on_ = false;  // the call that was taken back: the next Copy drops its old words
  memtally_lane header_{};
  std::vector<uint8_t> body_;  // lane header and sums
  std::vector<uint8_t> more_;
  uint64_t ring_offset_ = 0;
  uint32_t ring_capacity_ = 0;
  SlotLayout layout_;
  bool layout_cut_ = false;  // something of it is beyond the end of the file as known
  bool slots_cut_ = false;   // and was so when the slots were copied
  SlotTable slots_;
  int loads_ = 0;
  uint64_t loaded_bytes_ = 0;
  uint64_t loaded_devices_ = 0;
  uint64_t left_out_ = 0;         // slots, for lack of budget
  uint64_t refused_words_ = 0;    // of the call that was taken back
  uint64_t slots_events_ = 0;     // the copy of the slots has what these events did
  bool buffers_complete_ = true;  // no change was missed
  std::vector<OldWord> old_words_;
  std::vector<memtally_event> events_;
  std::vector<uint64_t> changed_;
};

}  // namespace memtally::reader
