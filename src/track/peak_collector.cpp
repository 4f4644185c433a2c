// SPDX-License-Identifier: Apache-2.0
#include "track/peak_collector.hpp"

#include "track/lane_entry.hpp"
#include "track/recorder_gate.hpp"

namespace memtally::track {

namespace {

using writer::Lane;
using writer::LaneEntry;
using writer::LaneLock;

constexpr uint64_t kLeastHeadroom = 4096;
constexpr uint64_t kHeadroomShare = 128;  // of the peak

uint64_t Largest(uint64_t a, uint64_t b) { return a > b ? a : b; }

// One side, requested or reserved.
struct Side {
  uint64_t live = 0;     // sum over the lanes, now
  uint64_t bound = 0;    // sum of the lanes' highest in this epoch
  uint64_t highest = 0;  // of one lane in this epoch: the sum of all was at least that once

  void Add(uint64_t allocated, uint64_t freed, uint64_t peak) {
    live += allocated - freed;
    bound += peak;
    highest = Largest(highest, peak);
  }
  // What each of `lanes` lanes may rise by before the next collection.
  uint64_t ShareOfHeadroom(uint64_t peak, uint64_t lanes) const {
    return ((peak - live) + Largest(peak / kHeadroomShare, kLeastHeadroom)) / lanes;
  }
};

}  // namespace

void PeakCollector::Collect(Session* session, const ThreadBlock* block, uint32_t account) {
  const writer::FutexGuard guard(session->peak_lock);
  if (!guard.held()) return;
  struct Inside {
    Lane* lane;
    LaneLock::Entry entry;
  } inside[MEMTALLY_MAX_LANES];
  uint32_t count = 0;
  Side requested;
  Side reserved;
  bool all = true;
  uint32_t allocating = 0;  // lanes that ever had an allocation; others have imported buffers only
  for (uint32_t i = 0; i < session->lanes_made(); ++i) {
    Lane* lane = session->lane(i);
    if (lane == nullptr || !lane->UsesAccount(account)) continue;
    const LaneEntry entry = EnterLane(block, lane);
    if (!entry) {
      all = false;
      break;
    }
    inside[count++] = {lane, entry.entry()};
    const memtally_sums& sums = lane->sums(entry, account);
    if (sums.allocations != 0) ++allocating;
    requested.Add(sums.allocated_requested, sums.freed_requested, sums.peak_requested);
    reserved.Add(sums.allocated_reserved, sums.freed_reserved, sums.peak_reserved);
  }
  if (all && allocating <= 1) {
    // One lane alone: its own peak is exact and must stay.  The others call again with their first allocation.
    for (uint32_t i = 0; i < count; ++i) {
      const LaneEntry entry(inside[i].entry);
      const bool is_alone = inside[i].lane->sums(entry, account).allocations != 0;
      inside[i].lane->SetBound(entry, account, is_alone ? Lane::kNoBound : 1, is_alone ? Lane::kNoBound : 0);
    }
  } else if (all) {
    memtally_catalog_account* catalog = session->ledger.Account(account);
    const uint64_t peak_requested = Largest(catalog->peak_requested, Largest(requested.live, requested.highest));
    const uint64_t peak_reserved = Largest(catalog->peak_reserved, Largest(reserved.live, reserved.highest));
    __atomic_store_n(&catalog->peak_requested, peak_requested, __ATOMIC_RELAXED);
    __atomic_store_n(&catalog->peak_reserved, peak_reserved, __ATOMIC_RELAXED);
    // Before the lanes' own highest are lowered: a reader, or a death, in between sees a bound that is too high, never
    // too low.
    __atomic_store_n(&catalog->peak_requested_bound, Largest(catalog->peak_requested_bound, requested.bound),
                     __ATOMIC_RELEASE);
    __atomic_store_n(&catalog->peak_reserved_bound, Largest(catalog->peak_reserved_bound, reserved.bound),
                     __ATOMIC_RELEASE);
    const uint64_t share_requested = requested.ShareOfHeadroom(peak_requested, count);
    const uint64_t share_reserved = reserved.ShareOfHeadroom(peak_reserved, count);
    for (uint32_t i = 0; i < count; ++i) {
      const LaneEntry entry(inside[i].entry);
      const memtally_sums& sums = inside[i].lane->sums(entry, account);
      RecorderGate::AttendWithoutWaiting(session, *inside[i].lane, entry);
      inside[i].lane->BeginEpoch(entry, account, sums.allocated_requested - sums.freed_requested + share_requested,
                                 sums.allocated_reserved - sums.freed_reserved + share_reserved);
    }
  }
  for (uint32_t i = 0; i < count; ++i) inside[i].lane->lock().Leave(inside[i].entry);
}

}  // namespace memtally::track
