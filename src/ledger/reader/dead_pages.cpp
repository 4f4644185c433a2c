// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/dead_pages.hpp"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "ledger/reader/record_codec.hpp"

namespace memtally::reader {

namespace {

constexpr uint64_t kPage = MEMTALLY_PAGE_BYTES;

class KeptPages {
 public:
  void Keep(uint64_t offset, uint64_t bytes) {
    for (uint64_t page = offset / kPage; page <= (offset + bytes - 1) / kPage; ++page) {
      if (pages_.empty() || pages_.back() != page) pages_.push_back(page);
    }
  }
  void Sort() { std::sort(pages_.begin(), pages_.end()); }

  // Makes holes of all whole pages in [begin, end) that are not kept.
  void PunchOthers(int fd, uint64_t begin, uint64_t end) const {
    uint64_t page = (begin + kPage - 1) / kPage;
    const uint64_t last = end / kPage;
    auto kept = std::lower_bound(pages_.begin(), pages_.end(), page);
    while (page < last) {
      while (kept != pages_.end() && *kept < page) ++kept;
      const uint64_t until = kept != pages_.end() && *kept < last ? *kept : last;
      if (until > page) {
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(page * kPage),
                  static_cast<off_t>((until - page) * kPage));
      }
      page = until + 1;
    }
  }

 private:
  std::vector<uint64_t> pages_;
};

void KeepLive(const LaneCopy& lane, KeptPages* kept) {
  const auto keep_record = [&](uint64_t offset, const memtally_record& record) {
    const uint32_t flags = FlagsOf(record);
    if ((flags & MEMTALLY_FLAG_LIVE) == 0) return;
    kept->Keep(offset, sizeof(record));
    if ((flags & MEMTALLY_FLAG_EXTENDED) == 0) return;
    const uint64_t extension = lane.layout().OffsetOf(record.address);
    if (extension != 0) kept->Keep(extension, sizeof(record));
  };
  for (const SlotTable::Run& run : lane.slots().runs()) {
    for (uint64_t i = 0; i < run.count; ++i) keep_record(run.offset + i * sizeof(memtally_record), run.records[i]);
  }
  for (const auto& [slot, record] : lane.slots().late()) {
    const uint64_t offset = lane.layout().OffsetOf(slot);
    if (offset != 0) keep_record(offset, record);
  }
  for (const OldWord& word : lane.old_words()) kept->Keep(word.offset, 8);
}

}  // namespace

void PunchDeadPages(LedgerBytes& bytes, const std::string& path, int writable) {
  LedgerCopy copy;
  LedgerError error;
  bool moving = false;
  if (!bytes.Refresh() || !copy.Collect(bytes, path, true, true, &moving, &error)) return;
  if (!copy.buffers_exact()) return;
  for (uint32_t i = 0; i < copy.lane_count(); ++i) {
    if (!copy.lane_usable(i)) continue;
    const LaneCopy& lane = copy.lane(i);
    KeptPages kept;
    KeepLive(lane, &kept);
    kept.Sort();
    for (const SlotLayout::Segment& segment : lane.layout().segment) {
      if (segment.slots == 0) continue;
      kept.PunchOthers(writable, segment.offset, segment.offset + segment.slots * sizeof(memtally_record));
    }
  }
}

}  // namespace memtally::reader
