// SPDX-License-Identifier: Apache-2.0
//
// Session: all that the tracker keeps for one ledger.  A process has one; a forked child makes its own at its first
// event and keeps the parent's, which it can only look at, to recognise inherited buffers.  Never freed.
#pragma once

#include <atomic>
#include <cstdint>

#include "ledger/writer/ledger_writer.hpp"
#include "track/region_directory.hpp"
#include "track/settings.hpp"
#include "track/tag_table.hpp"
#include "track/thread_block.hpp"

namespace memtally::track {

// One (device, reporter) pair: what a memtally_device handle stands for.
struct DeviceRow {
  static constexpr uint16_t kUnset = 0xffff;      // look, slowly
  static constexpr uint16_t kDuplicate = 0xfffe;  // another reporter's
  static constexpr uint16_t kFull = 0xfffd;       // no room for an account

  uint16_t device;
  uint8_t reporter;
  std::atomic<uint16_t> account[MEMTALLY_MAX_KINDS];
};

struct Session {
  static constexpr uint32_t kRows = 256;
  static constexpr uint32_t kReporters = 32;

  // Makes a ledger and what belongs to it, as `settings` say.  Null if that fails; *result says why.
  static Session* Make(const Settings& settings, writer::MakeResult* result);

  // In a child: takes over the parent's devices, kinds and accounts, so that its handles go on working.
  void Inherit(Session* parent);

  writer::LedgerWriter ledger;
  writer::FutexLock registry_lock;
  writer::FutexLock peak_lock;
  writer::FutexLock housekeeping_lock;
  RegionDirectory regions;
  TagTable tags;
  std::atomic<writer::Lane*> lanes[MEMTALLY_MAX_LANES];
  std::atomic<uint32_t> lane_count;
  writer::AccountFacts accounts[MEMTALLY_MAX_ACCOUNTS];
  std::atomic<uint32_t> row_count;
  DeviceRow rows[kRows];
  uint32_t reporter_count = 0;
  char reporters[kReporters][32] = {};
  std::atomic<ThreadBlock*> blocks;
  Session* inherited = nullptr;        // the parent's, in a forked child
  bool ended = false;                  // the process ended normally and left nothing to show: the files are gone
  uint64_t recorder_wait_left_ns = 0;  // under a lane's lock and housekeeping_lock, as the next
  struct {
    bool known = false;
    uint64_t heartbeat = 0;  // at which it stood still: nobody waits for it until it moves on
  } silent_recorder;

  writer::Lane* lane(uint32_t number) const { return lanes[number].load(std::memory_order_acquire); }
  // The lane of a key; null if nobody has allocated in its region.
  writer::Lane* LaneOf(uint32_t device_index, uint64_t id) const {
    const uint32_t number = regions.Find(device_index, id);
    return number == RegionDirectory::kNone ? nullptr : lanes[number].load(std::memory_order_relaxed);
  }
  uint32_t lanes_made() const { return lane_count.load(std::memory_order_acquire); }
  bool IsOpen(uint32_t device) const { return ledger.Device(device)->closed_at == 0; }
};

}  // namespace memtally::track
