// SPDX-License-Identifier: Apache-2.0
//
// The calls that report events.  The fast path of an allocation or a free: this thread's block is idle, the (device,
// kind) has its account, the id's region has its lane; everything else leaves through an [[unlikely]] branch.
#include "track/tracker.hpp"

#include <errno.h>

#include "track/call_scope.hpp"
#include "track/lane_entry.hpp"
#include "track/peak_collector.hpp"
#include "track/process_state.hpp"
#include "track/recorder_gate.hpp"
#include "track/registry.hpp"

namespace memtally::track {

namespace {

using writer::AccountFacts;
using writer::AllocOutcome;
using writer::BufferFacts;
using writer::FreeOutcome;
using writer::Lane;
using writer::LaneEntry;

constexpr uint64_t kMostBytes = (uint64_t{1} << 56) - 1;  // of a buffer, requested or reserved

[[gnu::noinline, gnu::cold]] Lane* LaneOfNewRegion(ThreadBlock* block, uint32_t device, uint64_t id) {
  Lane* own = ProcessState::OwnLane(block);
  if (own == nullptr) return nullptr;
  return block->session->lane(block->session->regions.Claim(device, id, own->number()));
}

// The lane of a key; null if it has none and cannot get one.
Lane* LaneOf(ThreadBlock* block, uint32_t device, uint64_t id) {
  Lane* lane = block->session->LaneOf(device, id);
  return lane != nullptr ? lane : LaneOfNewRegion(block, device, id);
}

// The lane of a key, or null.  Mostly it is the thread's own: told by a comparison, which the processor predicts, so
// that the look-up in the directory is off the path that everything else waits for.
[[gnu::always_inline]] inline Lane* LikelyLaneOf(const ThreadBlock* block, uint32_t device, uint64_t id) {
  const uint32_t number = block->session->regions.Find(device, id);
  if (number == block->owned_number) [[likely]] {
    Lane* own = block->owned;
    __asm__("" : "+r"(own));  // not to be computed from `number`
    return own;
  }
  return number == RegionDirectory::kNone ? nullptr : block->session->lane(number);
}

BufferFacts Facts(uint64_t id, uint64_t address, uint64_t bytes_requested, uint64_t bytes_per_bank) {
  BufferFacts facts;
  facts.id = id;
  facts.address = address;
  // Sizes beyond reason (an application's -1) are cut, so that their sums do not overflow.
  facts.bytes_requested = bytes_requested < kMostBytes ? bytes_requested : kMostBytes;
  facts.bytes_per_bank = bytes_per_bank < kMostBytes ? bytes_per_bank : kMostBytes;
  return facts;
}

// Enters a lane, ready for one event.
[[gnu::always_inline]] inline LaneEntry EnterForEvent(ThreadBlock* block, Lane* lane) {
  const LaneEntry entry = EnterLane(block, lane);
  if (entry && lane->NeedsAttention()) [[unlikely]]
    RecorderGate::Attend(block->session, *lane, entry);
  return entry;
}

// An event of no buffer, in the thread's own lane.
[[gnu::noinline, gnu::cold]] void NoteEvent(ThreadBlock* block, memtally_operation operation, memtally_anomaly anomaly,
                                            uint32_t account, BufferFacts facts) {
  Lane* lane = ProcessState::OwnLane(block);
  if (lane == nullptr) return ProcessState::CountLoss(0);
  const LaneEntry entry = EnterForEvent(block, lane);
  if (!entry) return ProcessState::CountLoss(0);
  facts.thread = block->thread;
  lane->Note(entry, operation, anomaly, account, facts);
  lane->lock().Leave(entry.entry());
}

[[gnu::noinline, gnu::cold]] void AfterAlloc(ThreadBlock* block, uint32_t account, uint8_t after) {
  if (after == Lane::kFirstUse && block->session->lanes_made() < 2) return;
  PeakCollector::Collect(block->session, block, account);
}

// The account of a call, looked up in the tables and remembered for the next call; made if the kind was never
// registered.  Null if there is none to be had, which is then counted.
[[gnu::noinline]] const AccountFacts* LookUpAccount(ThreadBlock* block, memtally_device device, uint32_t kind,
                                                    const BufferFacts& facts) {
  ProcessState::NumberThread(block);
  Session* session = block->session;
  const uint32_t row = device - 1;
  uint32_t account = DeviceRow::kFull;
  if (row < session->row_count.load(std::memory_order_acquire) && kind < MEMTALLY_MAX_KINDS) {
    account = session->rows[row].account[kind].load(std::memory_order_acquire);
    if (account == DeviceRow::kUnset) account = Registry::AccountOf(session, device, kind);
  }
  if (account < MEMTALLY_MAX_ACCOUNTS) {
    block->last_device = device;
    block->last_kind = kind;
    block->last_account = &session->accounts[account];
    return block->last_account;
  }
  if (account == DeviceRow::kDuplicate) {
    NoteEvent(block, MEMTALLY_OP_DUPLICATE_REPORTER, MEMTALLY_ANOMALY_DUPLICATE_REPORTER, writer::kNoAccount, facts);
  } else {
    ProcessState::CountLoss(facts.bytes_requested);
  }
  return nullptr;
}

// The account of the last call, if this one has the same device and kind; else null.
inline const AccountFacts* LastAccount(const ThreadBlock* block, memtally_device device, uint32_t kind) {
  return block->last_device == device && block->last_kind == kind ? block->last_account : nullptr;
}

// The device was closed and nobody said that it is open again.
void NoteAllocOnClosedDevice(ThreadBlock* block, const AccountFacts& account, const BufferFacts& facts) {
  NoteEvent(block, MEMTALLY_OP_AFTER_CLOSE, MEMTALLY_ANOMALY_AFTER_CLOSE, account.number, facts);
  Registry::Reopen(block, account.device);
}

// An allocation, whatever it needs, in a lane that was entered.  False if the device is closed.
[[gnu::noinline]] bool AllocInLane(ThreadBlock* block, Lane* lane, const LaneEntry& entry, uint64_t hash,
                                   uint32_t account, BufferFacts facts) {
  const uint64_t most_per_bank = kMostBytes / block->session->accounts[account].banks.load(std::memory_order_relaxed);
  if (facts.bytes_per_bank > most_per_bank) facts.bytes_per_bank = most_per_bank;
  const AllocOutcome outcome = lane->Alloc(entry, hash, account, facts);
  if (outcome == AllocOutcome::kNoRoom) {
    block->session->ledger.Count(&memtally_ledger_header::refused_pages);
    lane->Note(entry, MEMTALLY_OP_NO_ROOM, MEMTALLY_ANOMALY_NO_ROOM, account, facts);
  }
  return outcome != AllocOutcome::kClosed;
}

// An allocation, from the start.
[[gnu::noinline]] void DoAlloc(ThreadBlock* block, memtally_device device, uint32_t kind, BufferFacts& facts) {
  const AccountFacts* account = LookUpAccount(block, device, kind, facts);
  if (account == nullptr) return;
  facts.thread = block->thread;
  // Another thread may close the device again before the allocation gets in; not for ever.
  for (int tries = 0; tries < 10; ++tries) {
    if (!account->open.load(std::memory_order_acquire)) NoteAllocOnClosedDevice(block, *account, facts);
    Lane* lane = LaneOf(block, account->device, facts.id);
    if (lane == nullptr) break;
    const LaneEntry entry = EnterForEvent(block, lane);
    if (!entry) break;
    const bool is_open =
        AllocInLane(block, lane, entry, writer::HashKey(account->device, facts.id), account->number, facts);
    const uint8_t after = lane->TakeAfter(entry);
    lane->lock().Leave(entry.entry());
    if (after != Lane::kNothing) AfterAlloc(block, account->number, after);
    if (is_open) return;
  }
  ProcessState::CountLoss(facts.bytes_requested);
}

// A free that no live buffer matches: of a buffer that a forked child inherited, or of none.
[[gnu::noinline, gnu::cold]] void NoteUnknownFree(ThreadBlock* block, Lane* lane, const LaneEntry& entry, uint64_t hash,
                                                  uint32_t device, uint32_t account, uint64_t id) {
  bool inherited = false;
  for (const Session* session = block->session->inherited; session != nullptr && !inherited;
       session = session->inherited) {
    for (uint32_t i = 0; i < session->lanes_made() && !inherited; ++i) {
      const Lane* parents = session->lane(i);
      inherited = parents != nullptr && parents->Knows(hash, device, id);
    }
  }
  BufferFacts facts;
  facts.id = id;
  facts.thread = block->thread;
  facts.tag = block->tag;
  if (inherited) {
    lane->Note(entry, MEMTALLY_OP_INHERITED_FREE, MEMTALLY_ANOMALY_INHERITED, account, facts);
  } else {
    lane->Note(entry, MEMTALLY_OP_UNKNOWN_FREE, MEMTALLY_ANOMALY_UNKNOWN_FREE, account, facts);
  }
}

// A free, from the start.
[[gnu::noinline]] void DoFree(ThreadBlock* block, memtally_device device, uint32_t kind, uint64_t id) {
  Session* session = block->session;
  const uint32_t row = device - 1;
  uint32_t device_index;
  uint32_t number = writer::kNoAccount;
  if (kind == MEMTALLY_KIND_ANY && row < session->row_count.load(std::memory_order_acquire)) {
    ProcessState::NumberThread(block);
    device_index = session->rows[row].device;
  } else {
    BufferFacts facts;
    facts.id = id;
    facts.thread = block->thread;
    facts.tag = block->tag;
    const AccountFacts* account = LookUpAccount(block, device, kind, facts);
    if (account == nullptr) return;
    device_index = account->device;
    number = account->number;
  }
  const uint64_t hash = writer::HashKey(device_index, id);
  const uint32_t place = session->regions.Find(device_index, id);
  // Nobody ever allocated in this region: nothing to find, and no reason to claim it.
  Lane* lane = place == RegionDirectory::kNone ? ProcessState::OwnLane(block) : session->lane(place);
  if (lane == nullptr) return ProcessState::CountLoss(0);
  const LaneEntry entry = EnterForEvent(block, lane);
  if (!entry) return ProcessState::CountLoss(0);
  if (lane->Free(entry, hash, device_index, number, session->rows[row].reporter, id, block->thread, block->tag) ==
      FreeOutcome::kUnknown) {
    NoteUnknownFree(block, lane, entry, hash, device_index, number, id);
  }
  lane->lock().Leave(entry.entry());
}

void DoAllocFailed(ThreadBlock* block, memtally_device device, uint32_t kind, BufferFacts& facts) {
  const AccountFacts* account = LookUpAccount(block, device, kind, facts);
  if (account == nullptr) return;
  NoteEvent(block, MEMTALLY_OP_ALLOC_FAILED, MEMTALLY_ANOMALY_FAILED_ALLOC, account->number, facts);
}

void DoMark(ThreadBlock* block, const BufferFacts& facts) {
  NoteEvent(block, MEMTALLY_OP_MARK, MEMTALLY_ANOMALIES, writer::kNoAccount, facts);
}

// Everything that is not "idle": a new thread, a forked child, a signal handler, a pause.
template <typename Do>
[[gnu::noinline, gnu::cold]] void CallSlowly(Call call, memtally_device device, uint32_t kind, BufferFacts& facts,
                                             Do&& run) {
  const int saved_errno = errno;
  ThreadBlock* block = CallScope::EnterSlowly(call, device, kind, facts);
  if (block != nullptr) {
    facts.tag = call == Call::kMark ? facts.tag : block->tag;
    run(block);
    CallScope::LeaveSlowly(block);
  }
  errno = saved_errno;
}

}  // namespace

void RunQueuedCall(ThreadBlock* block, QueuedCall& queued) {
  switch (queued.call) {
    case Call::kAlloc:
      return DoAlloc(block, queued.device, queued.kind, queued.facts);
    case Call::kFree:
      return DoFree(block, queued.device, queued.kind, queued.facts.id);
    case Call::kAllocFailed:
      return DoAllocFailed(block, queued.device, queued.kind, queued.facts);
    case Call::kMark:
      return DoMark(block, queued.facts);
    case Call::kNone:
      return;
  }
}

void Tracker::Alloc(memtally_device device, uint32_t kind, uint64_t id, uint64_t address, uint64_t bytes_requested,
                    uint64_t bytes_per_bank) {
  ThreadBlock* block = CallScope::Enter();
  if (block == nullptr) [[unlikely]] {
    if (device == 0) return;
    BufferFacts facts = Facts(id, address, bytes_requested, bytes_per_bank);
    return CallSlowly(Call::kAlloc, device, kind, facts,
                      [&](ThreadBlock* slow) { DoAlloc(slow, device, kind, facts); });
  }
  const AccountFacts* account = LastAccount(block, device, kind);
  Lane* lane = account != nullptr ? LikelyLaneOf(block, account->device, id) : nullptr;
  bool done = false;
  if (lane != nullptr) [[likely]] {
    const uint64_t hash = writer::HashKey(account->device, id);
    const LaneEntry entry = EnterForEvent(block, lane);
    if (entry) [[likely]] {
      const Lane::Fast fast = lane->TryAlloc(entry, hash, *account, id, address, bytes_requested, bytes_per_bank,
                                             block->thread, block->tag);
      uint8_t after = Lane::kNothing;
      done = true;
      if (fast != Lane::Fast::kDone) [[unlikely]] {
        if (fast == Lane::Fast::kMiss) {
          BufferFacts facts = Facts(id, address, bytes_requested, bytes_per_bank);
          facts.thread = block->thread;
          facts.tag = block->tag;
          done = AllocInLane(block, lane, entry, hash, account->number, facts);
        }
        after = lane->TakeAfter(entry);
      }
      lane->lock().Leave(entry.entry());
      if (after != Lane::kNothing) [[unlikely]]
        AfterAlloc(block, account->number, after);
    }
  }
  if (!done && device != 0) [[unlikely]] {
    BufferFacts facts = Facts(id, address, bytes_requested, bytes_per_bank);
    facts.tag = block->tag;
    DoAlloc(block, device, kind, facts);
  }
  CallScope::Leave(block);
}

void Tracker::AllocBuffer(const memtally_buffer* buffer) {
  if (buffer == nullptr || buffer->size < sizeof(memtally_buffer) || buffer->device == 0) return;
  BufferFacts facts = Facts(buffer->id, buffer->address, buffer->bytes_requested, buffer->bytes_per_bank);
  facts.group = buffer->group;
  facts.stack = buffer->stack;
  facts.imported = buffer->imported != 0;
  ThreadBlock* block = CallScope::Enter();
  if (block == nullptr) {
    return CallSlowly(Call::kAlloc, buffer->device, buffer->kind, facts,
                      [&](ThreadBlock* slow) { DoAlloc(slow, buffer->device, buffer->kind, facts); });
  }
  facts.tag = block->tag;
  DoAlloc(block, buffer->device, buffer->kind, facts);
  CallScope::Leave(block);
}

void Tracker::Free(memtally_device device, uint32_t kind, uint64_t id) {
  ThreadBlock* block = CallScope::Enter();
  if (block == nullptr) [[unlikely]] {
    if (device == 0) return;
    BufferFacts facts = Facts(id, 0, 0, 0);
    return CallSlowly(Call::kFree, device, kind, facts, [&](ThreadBlock* slow) { DoFree(slow, device, kind, id); });
  }
  const AccountFacts* account = LastAccount(block, device, kind);
  Lane* lane = account != nullptr ? LikelyLaneOf(block, account->device, id) : nullptr;
  bool done = false;
  if (lane != nullptr) [[likely]] {
    const uint64_t hash = writer::HashKey(account->device, id);
    const LaneEntry entry = EnterForEvent(block, lane);
    if (entry) [[likely]] {
      done = lane->TryFree(entry, hash, *account, id, block->thread, block->tag) == Lane::Fast::kDone;
      lane->lock().Leave(entry.entry());
    }
  }
  if (!done && device != 0) [[unlikely]]
    DoFree(block, device, kind, id);
  CallScope::Leave(block);
}

void Tracker::AllocFailed(memtally_device device, uint32_t kind, uint64_t bytes_requested, uint64_t bytes_per_bank) {
  if (device == 0) return;
  BufferFacts facts = Facts(0, 0, bytes_requested, bytes_per_bank);
  CallSlowly(Call::kAllocFailed, device, kind, facts,
             [&](ThreadBlock* block) { DoAllocFailed(block, device, kind, facts); });
}

void Tracker::Mark(const char* name) {
  if (name == nullptr) return;
  BufferFacts facts;
  CallSlowly(Call::kMark, 0, 0, facts, [&](ThreadBlock* slow) {
    // The name becomes a tag first; a handler that interrupted a call cannot make one, and marks without a name.
    Session* session = slow->session;
    facts.tag = session->tags.Intern(session->ledger, session->registry_lock, 0, name);
    DoMark(slow, facts);
  });
}

void Tracker::CloseDevice(memtally_device device) {
  if (device == 0) return;
  BufferFacts facts;
  CallSlowly(Call::kNone, device, 0, facts, [&](ThreadBlock* block) {
    Lane* own = ProcessState::OwnLane(block);
    if (own == nullptr) return ProcessState::CountLoss(0);
    Registry::Close(block, own, device);
  });
}

}  // namespace memtally::track
