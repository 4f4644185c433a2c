// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/buffer_table.hpp"

namespace memtally::writer {

namespace {
// What one growth reserves: little at first, so that a process with few buffers costs few pages.
constexpr size_t kSmallStepBytes = MEMTALLY_PAGE_BYTES;
constexpr size_t kStepBytes = 64 << 10;
}  // namespace

bool BufferTable::Grow(LedgerFile& file) {
  if (segments_ == 0 || reserved_bytes_ == BytesOf(segments_ - 1)) {
    if (segments_ == MEMTALLY_SEGMENTS) return false;
    uint64_t offset = 0;
    uint8_t* bytes = file.AddExtent(BytesOf(segments_), &offset);
    if (bytes == nullptr) return false;
    segment_[segments_] = reinterpret_cast<memtally_record*>(bytes) - FirstSlot(segments_);
    __atomic_store_n(&lane_->segment_offset[segments_], offset, __ATOMIC_RELEASE);
    ++segments_;
    reserved_bytes_ = 0;
  }
  const uint32_t segment = segments_ - 1;
  const uint64_t begin = lane_->segment_offset[segment] + reserved_bytes_;
  const size_t rest = BytesOf(segment) - reserved_bytes_;
  size_t step = segment == 0 ? kSmallStepBytes : kStepBytes;
  if (step > rest) step = rest;
  if (!file.Reserve(begin, step)) {
    step = kSmallStepBytes;  // that may still fit
    if (step > rest) step = rest;
    if (!file.Reserve(begin, step)) return false;
  }
  reserved_bytes_ += step;
  reserved_slots_ = FirstSlot(segment) + static_cast<uint32_t>(reserved_bytes_ / sizeof(memtally_record));
  return true;
}

}  // namespace memtally::writer
