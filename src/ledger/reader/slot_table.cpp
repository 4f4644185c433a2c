// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/slot_table.hpp"

#include <algorithm>

namespace memtally::reader {

namespace {

constexpr uint64_t kSlotBytes = sizeof(memtally_record);
// Reads no more than this at once, so that a file that shrinks is noticed and signals are served.
constexpr uint64_t kChunkSlots = (uint64_t{4} << 20) / kSlotBytes;
// Slots that lie this close together are read at one go.
constexpr uint64_t kNear = 64;
// A table that has grown by more than this since Load is loaded again instead.
constexpr uint64_t kMostLate = 1u << 18;

}  // namespace

void SlotTable::Clear() {
  runs_.clear();
  late_.clear();
  slots_ = 0;
  overflowed_ = false;
}

uint64_t SlotTable::Load(LedgerBytes& bytes, const SlotLayout& layout, uint64_t slots_used, uint64_t* budget) {
  Clear();
  uint64_t left_out = 0;
  for (uint32_t k = 0; k < MEMTALLY_SEGMENTS; ++k) {
    const SlotLayout::Segment& segment = layout.segment[k];
    if (segment.slots == 0 || slots_used <= FirstSlotOf(k)) continue;
    const uint64_t count = std::min(segment.slots, slots_used - FirstSlotOf(k));
    const uint64_t limit = segment.offset + count * kSlotBytes;
    uint64_t next = 0;  // first slot of the segment that no run has yet
    uint64_t begin = 0;
    uint64_t end = segment.offset;
    while (next < count && bytes.NextData(end, limit, &begin, &end)) {
      const uint64_t first = std::max(next, (begin - segment.offset) / kSlotBytes);
      const uint64_t last = std::min(count, (end - segment.offset + kSlotBytes - 1) / kSlotBytes);
      if (first >= last) continue;
      const uint64_t affordable = std::min(last - first, *budget / kSlotBytes);
      left_out += last - first - affordable;
      next = last;
      if (affordable == 0) continue;
      *budget -= affordable * kSlotBytes;
      runs_.push_back({FirstSlotOf(k) + first, affordable, segment.offset + first * kSlotBytes, nullptr});
      slots_ += affordable;
    }
  }
  if (slots_ > capacity_) {
    records_.reset();
    capacity_ = 0;
    records_ = std::make_unique_for_overwrite<memtally_record[]>(slots_);  // all of it is read into
    capacity_ = slots_;
  }
  memtally_record* to = records_.get();
  for (Run& run : runs_) {
    run.records = to;
    to += run.count;
    for (uint64_t done = 0; done < run.count; done += kChunkSlots) {
      const uint64_t now = std::min(kChunkSlots, run.count - done);
      bytes.Read(run.offset + done * kSlotBytes, run.records + done, now * kSlotBytes);
    }
  }
  return left_out;
}

memtally_record* SlotTable::FindInRuns(uint64_t slot) {
  auto run = std::upper_bound(runs_.begin(), runs_.end(), slot, [](uint64_t at, const Run& r) { return at < r.first; });
  if (run == runs_.begin()) return nullptr;
  --run;
  return slot - run->first < run->count ? run->records + (slot - run->first) : nullptr;
}

const memtally_record* SlotTable::Find(uint64_t slot) const {
  if (const memtally_record* record = const_cast<SlotTable*>(this)->FindInRuns(slot)) return record;
  const auto late = late_.find(slot);
  return late == late_.end() ? nullptr : &late->second;
}

void SlotTable::Put(uint64_t slot, const memtally_record& record) {
  if (memtally_record* there = FindInRuns(slot)) {
    *there = record;
    return;
  }
  if (const auto late = late_.find(slot); late != late_.end()) {
    late->second = record;
  } else if ((FlagsOf(record) & (MEMTALLY_FLAG_LIVE | MEMTALLY_FLAG_EXTENSION)) != 0) {
    if (late_.size() >= kMostLate) {
      overflowed_ = true;
    } else {
      late_.emplace(slot, record);
    }
  }
}

void SlotTable::Reload(LedgerBytes& bytes, const SlotLayout& layout, std::vector<uint64_t>* slots) {
  std::sort(slots->begin(), slots->end());
  slots->erase(std::unique(slots->begin(), slots->end()), slots->end());
  memtally_record block[kNear * 2];
  std::vector<uint64_t> extensions;
  for (size_t i = 0; i < slots->size();) {
    const uint64_t first = (*slots)[i];
    const uint64_t offset = layout.OffsetOf(first);
    if (offset == 0) {
      ++i;
      continue;
    }
    const uint64_t segment_end = FirstSlotOf(SegmentOf(first)) + layout.segment[SegmentOf(first)].slots;
    size_t next = i + 1;
    while (next < slots->size() && (*slots)[next] - first < kNear * 2 && (*slots)[next] - (*slots)[next - 1] <= kNear &&
           (*slots)[next] < segment_end) {
      ++next;
    }
    const uint64_t last = (*slots)[next - 1];
    bytes.Read(offset, block, (last - first + 1) * kSlotBytes);
    for (; i < next; ++i) {
      const memtally_record& record = block[(*slots)[i] - first];
      Put((*slots)[i], record);
      constexpr uint32_t kBoth = MEMTALLY_FLAG_LIVE | MEMTALLY_FLAG_EXTENDED;
      if ((FlagsOf(record) & kBoth) == kBoth) extensions.push_back(record.address);
    }
  }
  for (const uint64_t slot : extensions) {
    const uint64_t offset = layout.OffsetOf(slot);
    if (offset != 0) Put(slot, bytes.ReadValue<memtally_record>(offset));
  }
}

}  // namespace memtally::reader
