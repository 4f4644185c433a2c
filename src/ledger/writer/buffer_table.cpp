// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/buffer_table.hpp"

namespace memtally::writer {

namespace {
// What one growth reserves: little at first, so that a process with few buffers costs few pages.
constexpr size_t kSmallStepBytes = MEMTALLY_PAGE_BYTES;
constexpr size_t kStepBytes = 64 << 10;
}  // namespace

bool BufferTable::Grow(LedgerFile& file) {
  if (segments_ == 0 || reserved_slots_ == FirstSlot(segments_)) {
    if (segments_ == MEMTALLY_SEGMENTS) return false;
    const size_t slots = size_t{MEMTALLY_SEGMENT_0_SLOTS} << segments_;
    uint64_t offset = 0;
    uint8_t* bytes = file.AddExtent(slots * sizeof(memtally_record), &offset);
    if (bytes == nullptr) return false;
    segment_[segments_] = reinterpret_cast<memtally_record*>(bytes) - FirstSlot(segments_);
    __atomic_store_n(&lane_->segment_offset[segments_], offset, __ATOMIC_RELEASE);
    ++segments_;
  }
  const uint32_t segment = segments_ - 1;
  const uint64_t begin = lane_->segment_offset[segment];
  const size_t done = sizeof(memtally_record) * (reserved_slots_ - FirstSlot(segment));
  const size_t all = sizeof(memtally_record) * (size_t{MEMTALLY_SEGMENT_0_SLOTS} << segment);
  size_t next = RoundUpToPages(done + 1) + (segment == 0 ? kSmallStepBytes : kStepBytes) - MEMTALLY_PAGE_BYTES;
  if (next > all) next = all;
  if (!file.Reserve(begin + done, next - done)) {
    // A smaller step may still fit.
    next = RoundUpToPages(done + sizeof(memtally_record));
    if (next > all) next = all;
    if (!file.Reserve(begin + done, next - done)) return false;
  }
  reserved_slots_ = FirstSlot(segment) + static_cast<uint32_t>(next / sizeof(memtally_record));
  return true;
}

}  // namespace memtally::writer
