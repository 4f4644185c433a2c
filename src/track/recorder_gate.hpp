// SPDX-License-Identifier: Apache-2.0
//
// RecorderGate: what a lane does every so many events: its flight recorder's pages, the clock's pair, and the control
// file, through which a recorder says that it reads along and how far it is.
#pragma once

#include "track/session.hpp"

namespace memtally::track {

class RecorderGate {
 public:
  // To be called, with the lane's lock, before an event if the lane NeedsAttention.  May wait for a recorder that asked
  // for it: at most a second in the whole life of the process, and never for one that is dead or does not move.
  static void Attend(Session* session, writer::Lane& lane, const writer::LaneEntry& entry);

  // As Attend if the lane NeedsAttention, but never waits for anybody: for events of the tracker's own, which are
  // written while further locks are held.
  static void AttendWithoutWaiting(Session* session, writer::Lane& lane, const writer::LaneEntry& entry) {
    if (lane.NeedsAttention()) [[unlikely]]
      AttendOnce(session, lane, entry, false);
  }

 private:
  static void AttendOnce(Session* session, writer::Lane& lane, const writer::LaneEntry& entry, bool may_wait);
};

}  // namespace memtally::track
