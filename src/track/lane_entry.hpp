// SPDX-License-Identifier: Apache-2.0
//
// How a thread enters a lane: as its owner, or as another.
#pragma once

#include "track/thread_block.hpp"

namespace memtally::track {

inline writer::LaneEntry EnterLane(const ThreadBlock* block, writer::Lane* lane) {
  if (block->owned == lane) [[likely]]
    return writer::LaneEntry(lane->lock().EnterAsOwner());
  return writer::LaneEntry(lane->lock().EnterAsOther());
}

}  // namespace memtally::track
