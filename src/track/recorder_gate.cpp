// SPDX-License-Identifier: Apache-2.0
#include "track/recorder_gate.hpp"

#include <time.h>

#include <cstddef>

namespace memtally::track {

namespace {

constexpr uint64_t kEventsBetweenLooks = 1024;
constexpr long kNapNs = 500'000;
constexpr uint64_t kSilenceNs = 200'000'000;  // a recorder whose heartbeat stands still for so long is stopped

struct ControlHead {
  uint64_t magic;
  uint32_t version;
  uint32_t flags;
  uint64_t heartbeat;
};
static_assert(offsetof(memtally_control, heartbeat) == offsetof(ControlHead, heartbeat));

bool IsRecording(const ControlHead& head) {
  return head.magic == MEMTALLY_CONTROL_MAGIC && head.version == MEMTALLY_CONTROL_VERSION &&
         (head.flags & MEMTALLY_CONTROL_RECORDING) != 0;
}

bool ReadHead(const writer::LedgerFile& file, ControlHead* head) { return file.ReadControl(head, sizeof(*head), 0); }

uint64_t ReadPosition(const writer::LedgerFile& file, const writer::Lane& lane) {
  uint64_t position = 0;
  file.ReadControl(&position, sizeof(position),
                   offsetof(memtally_control, read_events) + sizeof(uint64_t) * lane.number());
  return position;
}

bool IsFull(const writer::LedgerFile& file, const writer::Lane& lane) {
  return lane.events() >= ReadPosition(file, lane) + lane.ring_capacity();
}

// Waits until the recorder has read on.  False if it does not, or if the process has waited long enough in its life.
bool WaitForRoom(Session* session, const writer::Lane& lane, ControlHead head) {
  const writer::LedgerFile& file = session->ledger.file();
  const uint64_t begin = writer::MonotonicNs();
  uint64_t moved_at = begin;
  bool has_room = false;
  for (;;) {
    const uint64_t now = writer::MonotonicNs();
    if (now - begin >= session->recorder_wait_left_ns) break;
    if (now - moved_at >= kSilenceNs) {
      session->silent_recorder = {true, head.heartbeat};
      break;
    }
    writer::Nap(kNapNs);
    if (!IsFull(file, lane)) {
      has_room = true;
      break;
    }
    ControlHead later{};
    if (!ReadHead(file, &later) || !IsRecording(later) || !file.RecorderHoldsLock()) break;
    if (later.heartbeat != head.heartbeat) moved_at = now;
    head = later;
  }
  const uint64_t waited = writer::MonotonicNs() - begin;
  session->recorder_wait_left_ns -= waited < session->recorder_wait_left_ns ? waited : session->recorder_wait_left_ns;
  session->ledger.Count(&memtally_ledger_header::recorder_wait_ns, waited);
  return has_room;
}

}  // namespace

void RecorderGate::Attend(Session* session, writer::Lane& lane, const writer::LaneEntry& entry) {
  AttendOnce(session, lane, entry, true);
}

void RecorderGate::AttendOnce(Session* session, writer::Lane& lane, const writer::LaneEntry& entry, bool may_wait) {
  const uint64_t interval =
      lane.ring_capacity() / 4 < kEventsBetweenLooks ? lane.ring_capacity() / 4 : kEventsBetweenLooks;
  uint64_t next = lane.events() + interval;
  const writer::FutexGuard guard(session->housekeeping_lock);
  if (guard.held()) {
    session->ledger.RefreshClockPair();
    const writer::LedgerFile& file = session->ledger.file();
    ControlHead head{};
    if (ReadHead(file, &head) && IsRecording(head) && file.RecorderHoldsLock()) {
      const bool is_silent = session->silent_recorder.known && session->silent_recorder.heartbeat == head.heartbeat;
      const bool waits = may_wait && (head.flags & MEMTALLY_CONTROL_WAIT) != 0 && !is_silent;
      if (IsFull(file, lane) && (!waits || !WaitForRoom(session, lane, head))) {
        lane.AddUnread(entry, 1);  // this event takes the place of one that was not read
        next = lane.events() + 1;
      } else {
        const uint64_t limit = ReadPosition(file, lane) + lane.ring_capacity();
        if (limit < next) next = limit;
      }
    }
  }
  lane.Attend(entry, next);
}

}  // namespace memtally::track
