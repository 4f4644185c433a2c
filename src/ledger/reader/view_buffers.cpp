// SPDX-License-Identifier: Apache-2.0
//
// ViewBuilder: buffers, tags, groups, threads, anomalies and events.
#include <string.h>

#include <algorithm>

#include "ledger/reader/record_codec.hpp"
#include "ledger/reader/view_builder.hpp"

namespace memtally::reader {

namespace {

constexpr uint32_t kChunkEvents = 4096;
constexpr int kTriesOfGroups = 3;

template <typename T>
void ReadArea(LedgerBytes& bytes, const CheckedArea& area, std::vector<T>* out) {
  out->resize(area.count);
  bytes.Read(area.offset, out->data(), out->size() * sizeof(T));
}

}  // namespace

uint32_t ViewBuilder::ThreadId(uint32_t index) {
  if (index == 0) return 0;
  if (!threads_read_) {
    threads_read_ = true;
    ReadArea(bytes_, copy_.threads(), &threads_);
  }
  return index < threads_.size() ? threads_[index] : 0;
}

void ViewBuilder::AddTagsAndGroups() {
  view_->tags.clear();
  std::vector<memtally_tag> tags;
  ReadArea(bytes_, copy_.tags(), &tags);
  view_->tags.reserve(tags.size());
  uint64_t wrong_parents = 0;
  for (size_t i = 0; i < tags.size(); ++i) {
    const memtally_tag& tag = tags[i];
    LedgerTag& out = view_->tags.emplace_back();
    out.name.assign(tag.name, strnlen(tag.name, sizeof(tag.name)));
    out.cut = tag.name_bytes > sizeof(tag.name) - 1;
    if (tag.parent == 0) continue;
    if (tag.parent < i) {
      out.parent = tag.parent;
    } else {
      ++wrong_parents;  // a loop, were it followed
    }
  }
  gaps_.Count(wrong_parents, "tags name a parent that does not come before them; shown at the top");

  // Names come and go without a sequence: copy until two copies agree.
  view_->groups.clear();
  std::vector<memtally_group> groups;
  std::vector<memtally_group> again;
  ReadArea(bytes_, copy_.groups(), &groups);
  for (int i = 0; i < kTriesOfGroups && !groups.empty(); ++i) {
    ReadArea(bytes_, copy_.groups(), &again);
    if (memcmp(groups.data(), again.data(), groups.size() * sizeof(memtally_group)) == 0) break;
    groups.swap(again);
  }
  for (const memtally_group& group : groups) {
    if (group.id == 0) continue;
    LedgerGroup& out = view_->groups.emplace_back();
    out.id = group.id;
    out.name.assign(group.name, strnlen(group.name, sizeof(group.name)));
  }
}

void ViewBuilder::AddBuffers(bool of_one_account, uint32_t account) {
  view_->buffers.clear();
  filter_ = of_one_account;
  wanted_ = account;
  ThreadId(1);  // reads the table

  // About as many as the sums say, and no more than there are slots.
  uint64_t expected = 0;
  for (const LedgerAccount& a : view_->accounts) {
    if (filter_ && a.index != wanted_) continue;
    expected = AddUpTo(expected, AddUpTo(a.live.count, AddUpTo(a.released.count, a.imported)));
  }
  uint64_t slots = 0;
  for (uint32_t i = 0; i < copy_.lane_count(); ++i) {
    if (copy_.lane_usable(i)) slots += copy_.lane(i).slots().slots();
  }
  view_->buffers.reserve(std::min(expected, slots));

  for (uint32_t i = 0; i < copy_.lane_count(); ++i) {
    if (!copy_.lane_usable(i)) continue;
    const LaneCopy& lane = copy_.lane(i);
    for (const SlotTable::Run& run : lane.slots().runs()) {
      for (uint64_t k = 0; k < run.count; ++k) {
        if ((FlagsOf(run.records[k]) & MEMTALLY_FLAG_LIVE) != 0) AddRecord(lane, run.records[k]);
      }
    }
    for (const auto& [slot, record] : lane.slots().late()) {
      if ((FlagsOf(record) & MEMTALLY_FLAG_LIVE) != 0) AddRecord(lane, record);
    }
  }
}

void ViewBuilder::AddRecord(const LaneCopy& lane, const memtally_record& record) {
  const uint32_t flags = FlagsOf(record);
  const uint32_t account = AccountOf(record);
  if ((flags & MEMTALLY_FLAG_EXTENSION) != 0) {
    ++live_extensions_;
    return;
  }
  if (!account_[account].known) {
    ++without_account_;
    return;
  }
  if (filter_ && account != wanted_) return;
  LedgerBuffer& out = view_->buffers.emplace_back();
  out.id = record.id;
  out.address = record.address;
  out.bytes_requested = RequestedOf(record);
  out.bytes_per_bank = PerBankOf(record);
  out.time_ns = time_.Ns(UnitsOf(record));
  out.account = account;
  const uint32_t thread = ThreadOf(record);
  out.thread_id = thread < threads_.size() && thread != 0 ? threads_[thread] : 0;
  const uint32_t tag = TagOf(record);
  out.tag = tag < view_->tags.size() ? tag : 0;
  out.imported = (flags & MEMTALLY_FLAG_IMPORTED) != 0;
  out.released = account_[account].closed;
  if ((flags & MEMTALLY_FLAG_EXTENDED) == 0) return;

  const memtally_record* slot = lane.slots().Find(record.address);
  memtally_record_extension extension{};
  static_assert(sizeof(extension) == sizeof(*slot));
  if (slot != nullptr) memcpy(&extension, slot, sizeof(extension));
  if (FlagsOfWord(extension.stack_flags) != MEMTALLY_FLAG_EXTENSION) {
    ++lost_extensions_;
    out.address = 0;
    return;
  }
  out.address = extension.address;
  out.group = extension.group;
  out.stack = static_cast<uint32_t>(extension.stack_flags);
  out.bytes_requested = extension.bytes_requested;
  out.bytes_per_bank = extension.bytes_per_bank;
}

LedgerEvent ViewBuilder::DecodeEvent(const memtally_event& event, uint32_t lane, uint64_t number) {
  LedgerEvent out;
  out.operation = OperationOf(event.record);
  out.lane = lane;
  out.number = number;
  out.id = event.record.id;
  out.address = event.record.address;
  out.bytes_requested = RequestedOf(event.record);
  out.bytes_per_bank = PerBankOf(event.record);
  out.time_ns = time_.Ns(UnitsOf(event.record));
  const uint32_t account = AccountOf(event.record);
  if (account_[account].known) out.account = account;
  out.thread_id = ThreadId(ThreadOf(event.record));
  out.tag = TagOf(event.record);
  out.imported = (FlagsOf(event.record) & MEMTALLY_FLAG_IMPORTED) != 0;
  if (out.operation != MEMTALLY_OP_REPLACE) out.group_low = SecondOf(event);
  return out;
}

void ViewBuilder::AddAnomalies() {
  for (uint32_t k = 0; k < MEMTALLY_ANOMALIES; ++k) {
    LedgerAnomaly& out = view_->anomalies[k];
    out.count = out.bytes_requested = 0;
    out.last.clear();
    for (uint32_t i = 0; i < copy_.lane_count(); ++i) {
      if (!copy_.lane_usable(i)) continue;
      const memtally_anomaly_block& block = copy_.lane(i).header().anomaly[k];
      if (block.count == 0) continue;
      out.count = AddUpTo(out.count, block.count);
      out.bytes_requested = AddUpTo(out.bytes_requested, block.bytes_requested);
      const uint64_t first = SubtractDownTo0(block.count, MEMTALLY_ANOMALY_SAMPLES);
      for (uint64_t n = first; n < block.count; ++n) {
        const memtally_event& sample = block.samples[n % MEMTALLY_ANOMALY_SAMPLES];
        if (OperationOf(sample.record) != MEMTALLY_OP_NONE) out.last.push_back(DecodeEvent(sample, i, n));
      }
    }
    std::stable_sort(out.last.begin(), out.last.end(),
                     [](const LedgerEvent& a, const LedgerEvent& b) { return a.time_ns < b.time_ns; });
  }
}

void ViewBuilder::AddEvents() {
  view_->events.clear();
  for (uint32_t i = 0; i < copy_.lane_count(); ++i) {
    if (copy_.lane_usable(i) && copy_.lane(i).ring_capacity() != 0) AddLaneEvents(i);
  }
}

// The events before the instant that the copy is of, as far as they are still there.
void ViewBuilder::AddLaneEvents(uint32_t lane_number) {
  const LaneCopy& lane = copy_.lane(lane_number);
  const uint64_t capacity = lane.ring_capacity();
  const uint64_t end = lane.events();
  const uint64_t first = SubtractDownTo0(end + (lane.is_odd() ? 1 : 0), capacity);
  const size_t before = view_->events.size();

  std::vector<memtally_event> chunk(static_cast<size_t>(std::min<uint64_t>(end - first, kChunkEvents)));
  for (uint64_t n = first; n < end;) {
    const uint64_t position = n % capacity;
    const uint64_t at = lane.ring_offset() + position * sizeof(memtally_event);
    const uint64_t limit = at + std::min(capacity - position, end - n) * sizeof(memtally_event);
    uint64_t begin = 0;
    uint64_t data_end = 0;
    if (!bytes_.NextData(at, limit, &begin, &data_end)) {
      n += (limit - at) / sizeof(memtally_event);  // a hole: events that were not kept
      continue;
    }
    n += (begin - at) / sizeof(memtally_event);
    const uint64_t wanted = (data_end - begin + sizeof(memtally_event) - 1) / sizeof(memtally_event) + 1;
    const uint64_t count = std::min({wanted, end - n, capacity - n % capacity, uint64_t{kChunkEvents}});
    bytes_.Read(lane.ring_offset() + n % capacity * sizeof(memtally_event), chunk.data(),
                count * sizeof(memtally_event));
    for (uint64_t i = 0; i < count; ++i) {
      if (OperationOf(chunk[i].record) == MEMTALLY_OP_NONE) continue;
      LedgerEvent& event = view_->events.emplace_back(DecodeEvent(chunk[i], lane_number, n + i));
      if (event.tag >= view_->tags.size()) event.tag = 0;
    }
    n += count;
  }

  // Those that the process may have overwritten meanwhile are dropped.
  const auto sequence = bytes_.ReadValue<uint64_t>(lane.offset());
  const uint64_t newest = (sequence >> 1) + (sequence & 1);
  const auto begin = view_->events.begin() + static_cast<ptrdiff_t>(before);
  const auto kept = std::find_if(begin, view_->events.end(), [&](const LedgerEvent& event) {
    return event.number >= newest || newest - event.number <= capacity;
  });
  view_->events.erase(begin, kept);
}

}  // namespace memtally::reader
