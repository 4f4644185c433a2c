// SPDX-License-Identifier: Apache-2.0
//
// RegionDirectory: which lane has the buffers of which ids.
//
// Ids are cut into regions of 16 Ki neighbouring numbers, regions are hashed to 4096 places, and a place belongs for
// good to the lane of the thread that first allocated there.  So every key has exactly one lane, found without a lock
// and without looking into others; threads with ids of their own never meet, since this table is then only read.
#pragma once

#include <atomic>
#include <cstdint>

namespace memtally::track {

class RegionDirectory {
 public:
  static constexpr uint32_t kNone = 0xff;

  // Number of the lane, or kNone.
  uint32_t Find(uint32_t device, uint64_t id) const {
    return (places_[PlaceOf(device, id)].load(std::memory_order_acquire) - 1u) & 0xffu;
  }

  // The lane that has the place from now on: `lane`, or whoever was faster.
  uint32_t Claim(uint32_t device, uint64_t id, uint32_t lane) {
    uint8_t unclaimed = 0;
    std::atomic<uint8_t>& place = places_[PlaceOf(device, id)];
    if (place.compare_exchange_strong(unclaimed, static_cast<uint8_t>(lane + 1), std::memory_order_acq_rel)) {
      return lane;
    }
    return unclaimed - 1u;
  }

 private:
  static constexpr uint32_t kPlaces = 4096;
  static constexpr uint32_t kRegionBits = 14;

  static uint32_t PlaceOf(uint32_t device, uint64_t id) {
    return static_cast<uint32_t>(((id >> kRegionBits) + (uint64_t{device} << 40)) * 0x9e3779b97f4a7c15u >> 52);
  }

  std::atomic<uint8_t> places_[kPlaces];  // lane + 1; 0 nobody's
};

}  // namespace memtally::track
