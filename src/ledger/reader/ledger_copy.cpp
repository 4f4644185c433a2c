// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/ledger_copy.hpp"

#include <sched.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstddef>

namespace memtally::reader {

namespace {

constexpr int kTries = 40;
constexpr int kEagerTries = 16;   // at once
constexpr int kPoliteTries = 24;  // letting others run; then with naps
constexpr long kNapNs = 50'000;
constexpr int kTriesOfTheDead = 4;  // a dead ledger moves only if somebody plays with it

// More entries than the tables of the format can need are not believed.
constexpr uint32_t kMostCatalogEntries = 4096;

// Beyond what the file system holds for a file, a copy of its buffers may have this much (pages that came meanwhile).
constexpr uint64_t kBudgetSlack = uint64_t{1} << 20;

void Wait(int tries) {
  if (tries < kEagerTries) return;
  if (tries < kPoliteTries) {
    sched_yield();
    return;
  }
  const timespec nap{0, kNapNs};
  nanosleep(&nap, nullptr);
}

}  // namespace

bool LedgerCopy::Collect(LedgerBytes& bytes, const std::string& path, bool buffers, bool writer_gone, bool* moving,
                         LedgerError* error) {
  exact_ = false;
  *moving = false;
  for (LaneCopy& lane : lanes_) lane.Reset();
  lane_count_ = 0;
  bytes.SetOldWords({});

  const int tries = writer_gone ? kTriesOfTheDead : kTries;
  for (int i = 0; i < tries; ++i) {
    Wait(i);
    if (!CopyFirstPage(bytes, path, error)) return false;
    // Odd for so long: that thread is stopped, or was ended by exec.
    const TakeBack take_back = writer_gone ? TakeBack::kAll : i > kPoliteTries ? TakeBack::kStopped : TakeBack::kNone;
    Result result = Try(bytes, buffers, take_back);
    if (result == Result::kAgain) {
      if (!CopyFirstPage(bytes, path, error)) return false;
      result = Try(bytes, buffers, writer_gone ? TakeBack::kAll : TakeBack::kNone);
    }
    exact_ = result == Result::kExact;
    if (exact_) break;
  }
  took_back_ = false;
  buffers_complete_ = true;
  for (uint32_t i = 0; i < lane_count_; ++i) {
    if (!lane_usable_[i]) continue;
    took_back_ = took_back_ || lanes_[i].taken_back();
    buffers_complete_ = buffers_complete_ && lanes_[i].buffers_complete();
    *moving = *moving || (lanes_[i].is_odd() && !lanes_[i].taken_back());
  }
  return true;
}

bool LedgerCopy::CopyFirstPage(LedgerBytes& bytes, const std::string& path, LedgerError* error) {
  gaps_.Clear();
  claims_.Clear();
  claims_.Take(0, MEMTALLY_PAGE_BYTES);
  if (!ReadFirstPage(bytes, path, &page_, error)) return false;
  const memtally_ledger_header& header = page_.header;
  if (bytes.size() < header.file_end) {
    bytes.Refresh();  // it may have grown
    if (bytes.size() < header.file_end) {
      gaps_.Add("the file has " + std::to_string(bytes.size()) + " of the " + std::to_string(header.file_end) +
                " bytes that its header names");
    }
  }
  catalog_area_ = CheckArea(bytes, header.catalog, sizeof(memtally_catalog_entry), kMostCatalogEntries, "catalog");
  threads_ = CheckArea(bytes, header.threads, sizeof(uint32_t), MEMTALLY_MAX_THREADS, "threads");
  tags_ = CheckArea(bytes, header.tags, sizeof(memtally_tag), MEMTALLY_MAX_TAGS, "tags");
  groups_ = CheckArea(bytes, header.groups, sizeof(memtally_group), MEMTALLY_MAX_GROUPS, "groups");
  catalog_end_ = catalog_area_.offset + uint64_t{catalog_area_.count} * sizeof(memtally_catalog_entry);

  uint32_t count = header.lane_count;
  if (count > MEMTALLY_MAX_LANES) {
    gaps_.Add("the header names " + std::to_string(count) + " lanes, more than there can be");
    count = MEMTALLY_MAX_LANES;
  }
  if (lanes_.size() < count) lanes_.resize(count);
  lane_count_ = count;
  lane_usable_.assign(count, false);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t begin = page_.lane_offset[i];
    if (begin % 8 != 0 || begin < MEMTALLY_PAGE_BYTES || begin >= bytes.size() ||
        bytes.size() - begin < MEMTALLY_LANE_SUMS_OFFSET) {
      gaps_.Add("lane " + std::to_string(i) + " is said to be at " + std::to_string(begin) + ", which cannot be");
    } else if (!claims_.Take(begin, std::min(bytes.size(), begin + MEMTALLY_LANE_RING_OFFSET))) {
      gaps_.Add("lane " + std::to_string(i) + " overlaps another part of the file");
    } else {
      lane_usable_[i] = true;
      if (bytes.size() - begin < MEMTALLY_LANE_RING_OFFSET) {
        gaps_.Add("the file ends within the sums of lane " + std::to_string(i));
      }
    }
  }
  return true;
}

CheckedArea LedgerCopy::CheckArea(const LedgerBytes& bytes, const memtally_area& area, uint32_t entry_bytes,
                                  uint32_t most, const char* name) {
  CheckedArea checked;
  if (area.capacity == 0) return checked;
  const uint64_t size = bytes.size();
  if (area.offset % (entry_bytes < 8 ? 4 : 8) != 0 || area.offset < MEMTALLY_PAGE_BYTES || area.offset >= size ||
      area.capacity > uint64_t{most} * 16) {
    gaps_.Add(std::string("the area of ") + name + " is said to be at " + std::to_string(area.offset) + " with " +
              std::to_string(area.capacity) + " entries, which cannot be");
    return checked;
  }
  const uint64_t end = area.offset + uint64_t{area.capacity} * entry_bytes;
  if (!claims_.Take(area.offset, std::min(end, size))) {
    gaps_.Add(std::string("the area of ") + name + " overlaps another part of the file");
    return checked;
  }
  const uint64_t possible = std::min({uint64_t{area.capacity}, uint64_t{most}, (size - area.offset) / entry_bytes});
  checked.offset = area.offset;
  checked.count = static_cast<uint32_t>(std::min<uint64_t>(area.count, possible));
  if (checked.count < area.count) {
    gaps_.Add(std::to_string(area.count - checked.count) + " of the " + std::to_string(area.count) + " " + name +
              " that the header names cannot be there");
  }
  return checked;
}

LedgerCopy::Result LedgerCopy::Try(LedgerBytes& bytes, bool buffers, TakeBack take_back) {
  uint64_t loaded = 0;
  for (uint32_t i = 0; i < lane_count_; ++i) loaded += lanes_[i].loaded_bytes();
  const uint64_t whole_budget = bytes.allocated_bytes() + kBudgetSlack;
  uint64_t budget = whole_budget > loaded ? whole_budget - loaded : 0;

  if (buffers) CopyCatalog(bytes);
  const uint64_t devices = buffers ? DevicesOfCatalog() : 0;
  bool words_changed = false;
  for (uint32_t i = 0; i < lane_count_; ++i) {
    if (!lane_usable_[i]) continue;
    LaneCopy::Wish wish;
    wish.lane = i;
    wish.offset = page_.lane_offset[i];
    wish.accounts = std::min<uint32_t>(MEMTALLY_MAX_ACCOUNTS, catalog_area_.count);
    wish.catalog_begin = catalog_area_.offset;
    wish.catalog_end = catalog_end_;
    wish.buffers = buffers;
    wish.devices = devices;
    wish.take_back = take_back;
    lanes_[i].Copy(bytes, wish, claims_, gaps_, &budget, &words_changed);
  }
  if (words_changed) {
    std::vector<OldWord> words;
    for (uint32_t i = 0; i < lane_count_; ++i) {
      if (lane_usable_[i]) words.insert(words.end(), lanes_[i].old_words().begin(), lanes_[i].old_words().end());
    }
    bytes.SetOldWords(std::move(words));
    return Result::kAgain;
  }

  CopyCatalog(bytes);
  std::atomic_thread_fence(std::memory_order_seq_cst);

  const auto lanes_now = bytes.ReadValue<uint32_t>(offsetof(memtally_ledger_header, lane_count));
  // Where the parts lie was checked against the size that the file had: new ones may have seemed to lie beyond it.
  const auto end_now = bytes.ReadValue<uint64_t>(offsetof(memtally_ledger_header, file_end));
  bool exact = lanes_now == page_.header.lane_count && end_now == page_.header.file_end;
  for (uint32_t i = 0; i < lane_count_ && end_now != page_.header.file_end; ++i) lanes_[i].NoteGrowth();
  for (uint32_t i = 0; i < lane_count_; ++i) {
    if (lane_usable_[i] && !lanes_[i].StillTrue(bytes)) exact = false;
  }
  if (buffers && DevicesOfCatalog() != devices) {
    exact = false;
    for (uint32_t i = 0; i < lane_count_; ++i) lanes_[i].Distrust();
  }
  return exact ? Result::kExact : Result::kMoving;
}

void LedgerCopy::CopyCatalog(LedgerBytes& bytes) {
  catalog_.resize(catalog_area_.count);
  bytes.Read(catalog_area_.offset, catalog_.data(), catalog_.size() * sizeof(memtally_catalog_entry));
}

// A number that changes when a device is closed or opened.
uint64_t LedgerCopy::DevicesOfCatalog() const {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const memtally_catalog_entry& entry : catalog_) {
    if (entry.type != MEMTALLY_CATALOG_DEVICE) continue;
    memtally_catalog_device device;
    static_assert(sizeof(device) == sizeof(entry));
    memcpy(&device, &entry, sizeof(device));
    for (const uint64_t part : {uint64_t{device.index}, device.closed_at, uint64_t{device.closes}}) {
      hash = (hash ^ part) * 0x100000001b3u;
    }
  }
  return hash;
}

}  // namespace memtally::reader
