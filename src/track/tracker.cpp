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

using writer::AllocOutcome;
using writer::BufferFacts;
using writer::FreeOutcome;
using writer::Lane;
using writer::LaneEntry;

Lane* LaneOfNewRegion(ThreadBlock* block, uint32_t device, uint64_t id) {
  Lane* own = ProcessState::OwnLane(block);
  if (own == nullptr) return nullptr;
  return block->session->lane(block->session->regions.Claim(device, id, own->number()));
}

// The lane of a key; null if it has none and cannot get one.
Lane* LaneOf(ThreadBlock* block, uint32_t device, uint64_t id) {
  const uint32_t lane = block->session->regions.Find(device, id);
  if (lane == RegionDirectory::kNone) [[unlikely]]
    return LaneOfNewRegion(block, device, id);
  return block->session->lane(lane);
}

// Enters a lane, ready for one event.
LaneEntry EnterForEvent(ThreadBlock* block, Lane* lane) {
  const LaneEntry entry = EnterLane(block, lane);
  if (entry && lane->NeedsAttention()) [[unlikely]]
    RecorderGate::Attend(block->session, *lane, entry);
  return entry;
}

// An event of no buffer, in the thread's own lane or, if `lane` is given, there.
void NoteEvent(ThreadBlock* block, Lane* lane, memtally_operation operation, memtally_anomaly anomaly, uint32_t account,
               BufferFacts facts) {
  if (lane == nullptr) lane = ProcessState::OwnLane(block);
  if (lane == nullptr) {
    ProcessState::CountLoss(0);
    return;
  }
  const LaneEntry entry = EnterForEvent(block, lane);
  if (!entry) {
    ProcessState::CountLoss(0);
    return;
  }
  facts.thread = block->thread;
  if (operation == MEMTALLY_OP_ALLOC_FAILED && account != writer::kNoAccount) {
    lane->NoteFailure(entry, account, facts);
  } else {
    lane->Note(entry, operation, anomaly, account, facts);
  }
  lane->lock().Leave(entry.entry());
}

[[gnu::noinline, gnu::cold]] void AfterAlloc(ThreadBlock* block, uint32_t account, uint8_t after) {
  if ((after & Lane::kFirstUse) != 0 && block->session->lanes_made() < 2)
    after &= static_cast<uint8_t>(~Lane::kFirstUse);
  if (after != Lane::kNothing) PeakCollector::Collect(block->session, block, account);
}

[[gnu::noinline, gnu::cold]] void RefuseAccount(ThreadBlock* block, uint32_t special, const BufferFacts& facts) {
  if (special == DeviceRow::kDuplicate) {
    NoteEvent(block, nullptr, MEMTALLY_OP_DUPLICATE_REPORTER, MEMTALLY_ANOMALY_DUPLICATE_REPORTER, writer::kNoAccount,
              facts);
  } else {
    ProcessState::CountLoss(facts.bytes_requested);
  }
}

// The account of a call, looked up slowly: made if the kind was never registered; or a special value of DeviceRow.
[[gnu::noinline, gnu::cold]] uint32_t FindAccountSlowly(ThreadBlock* block, memtally_device device, uint32_t kind) {
  return Registry::AccountOf(block->session, device, kind);
}

// `device` and `kind` as an account or a special value.  Sets *device_index if it is an account.
inline uint32_t AccountOf(ThreadBlock* block, memtally_device device, uint32_t kind, uint32_t* device_index) {
  Session* session = block->session;
  const uint32_t row = device - 1;
  if (row >= session->row_count.load(std::memory_order_acquire) || kind >= MEMTALLY_MAX_KINDS) [[unlikely]] {
    return DeviceRow::kFull;
  }
  uint32_t account = session->rows[row].account[kind].load(std::memory_order_relaxed);
  if (account == DeviceRow::kUnset) [[unlikely]]
    account = FindAccountSlowly(block, device, kind);
  *device_index = session->rows[row].device;
  return account;
}

[[gnu::noinline, gnu::cold]] void NoRoom(ThreadBlock* block, Lane* lane, const LaneEntry& entry, uint32_t account,
                                         const BufferFacts& facts) {
  block->session->ledger.Count(&memtally_ledger_header::refused_pages);
  lane->Note(entry, MEMTALLY_OP_NO_ROOM, MEMTALLY_ANOMALY_NO_ROOM, account, facts);
}

void DoAlloc(ThreadBlock* block, memtally_device device, uint32_t kind, BufferFacts& facts) {
  uint32_t device_index = 0;
  const uint32_t account = AccountOf(block, device, kind, &device_index);
  facts.thread = block->thread;
  if (account >= MEMTALLY_MAX_ACCOUNTS) [[unlikely]]
    return RefuseAccount(block, account, facts);
  Session* session = block->session;
  if (!session->accounts[account].open.load(std::memory_order_acquire)) [[unlikely]] {
    // The device was closed and nobody said that it is open again.
    NoteEvent(block, nullptr, MEMTALLY_OP_AFTER_CLOSE, MEMTALLY_ANOMALY_AFTER_CLOSE, account, facts);
    Registry::Reopen(block, device_index);
  }
  const uint64_t hash = writer::HashKey(device_index, facts.id);
  Lane* lane = LaneOf(block, device_index, facts.id);
  if (lane == nullptr) [[unlikely]]
    return ProcessState::CountLoss(facts.bytes_requested);
  const LaneEntry entry = EnterForEvent(block, lane);
  if (!entry) [[unlikely]]
    return ProcessState::CountLoss(facts.bytes_requested);
  if (lane->Alloc(entry, hash, account, facts) == AllocOutcome::kNoRoom) [[unlikely]] {
    NoRoom(block, lane, entry, account, facts);
  }
  const uint8_t after = lane->TakeAfter(entry);
  lane->lock().Leave(entry.entry());
  if (after != Lane::kNothing) [[unlikely]]
    AfterAlloc(block, account, after);
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

void DoFree(ThreadBlock* block, memtally_device device, uint32_t kind, uint64_t id) {
  Session* session = block->session;
  uint32_t device_index = 0;
  uint32_t account = writer::kNoAccount;
  const uint32_t row = device - 1;
  if (kind == MEMTALLY_KIND_ANY && row < session->row_count.load(std::memory_order_acquire)) [[unlikely]] {
    device_index = session->rows[row].device;
  } else {
    account = AccountOf(block, device, kind, &device_index);
    if (account >= MEMTALLY_MAX_ACCOUNTS) [[unlikely]] {
      BufferFacts facts;
      facts.id = id;
      facts.thread = block->thread;
      facts.tag = block->tag;
      return RefuseAccount(block, account, facts);
    }
  }
  const uint64_t hash = writer::HashKey(device_index, id);
  const uint32_t number = session->regions.Find(device_index, id);
  // Nobody ever allocated in this region: nothing to find, and no reason to claim it.
  Lane* lane = number == RegionDirectory::kNone ? ProcessState::OwnLane(block) : session->lane(number);
  if (lane == nullptr) [[unlikely]]
    return ProcessState::CountLoss(0);
  const LaneEntry entry = EnterForEvent(block, lane);
  if (!entry) [[unlikely]]
    return ProcessState::CountLoss(0);
  const uint8_t reporter = session->rows[row].reporter;
  if (lane->Free(entry, hash, device_index, account, reporter, id, block->thread, block->tag) == FreeOutcome::kUnknown)
      [[unlikely]] {
    NoteUnknownFree(block, lane, entry, hash, device_index, account, id);
  }
  lane->lock().Leave(entry.entry());
}

void DoAllocFailed(ThreadBlock* block, memtally_device device, uint32_t kind, BufferFacts& facts) {
  uint32_t device_index = 0;
  const uint32_t account = AccountOf(block, device, kind, &device_index);
  if (account >= MEMTALLY_MAX_ACCOUNTS) return RefuseAccount(block, account, facts);
  NoteEvent(block, nullptr, MEMTALLY_OP_ALLOC_FAILED, MEMTALLY_ANOMALY_FAILED_ALLOC, account, facts);
}

void DoMark(ThreadBlock* block, const BufferFacts& facts) {
  NoteEvent(block, nullptr, MEMTALLY_OP_MARK, MEMTALLY_ANOMALIES, writer::kNoAccount, facts);
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
  if (device == 0) [[unlikely]]
    return;
  BufferFacts facts;
  facts.id = id;
  facts.address = address;
  facts.bytes_requested = bytes_requested;
  facts.bytes_per_bank = bytes_per_bank;
  ThreadBlock* block = CallScope::Enter();
  if (block == nullptr) [[unlikely]] {
    return CallSlowly(Call::kAlloc, device, kind, facts,
                      [&](ThreadBlock* slow) { DoAlloc(slow, device, kind, facts); });
  }
  facts.tag = block->tag;
  DoAlloc(block, device, kind, facts);
  CallScope::Leave(block);
}

void Tracker::AllocBuffer(const memtally_buffer* buffer) {
  if (buffer == nullptr || buffer->size < sizeof(memtally_buffer) || buffer->device == 0) return;
  BufferFacts facts;
  facts.id = buffer->id;
  facts.address = buffer->address;
  facts.bytes_requested = buffer->bytes_requested;
  facts.bytes_per_bank = buffer->bytes_per_bank;
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
  if (device == 0) [[unlikely]]
    return;
  ThreadBlock* block = CallScope::Enter();
  if (block == nullptr) [[unlikely]] {
    BufferFacts facts;
    facts.id = id;
    return CallSlowly(Call::kFree, device, kind, facts, [&](ThreadBlock* slow) { DoFree(slow, device, kind, id); });
  }
  DoFree(block, device, kind, id);
  CallScope::Leave(block);
}

void Tracker::AllocFailed(memtally_device device, uint32_t kind, uint64_t bytes_requested, uint64_t bytes_per_bank) {
  if (device == 0) return;
  BufferFacts facts;
  facts.bytes_requested = bytes_requested;
  facts.bytes_per_bank = bytes_per_bank;
  CallSlowly(Call::kAllocFailed, device, kind, facts,
             [&](ThreadBlock* block) { DoAllocFailed(block, device, kind, facts); });
}

void Tracker::Mark(const char* name) {
  if (name == nullptr) return;
  BufferFacts facts;
  // The name becomes a tag first; a handler inside a call cannot make one, and marks without a name.
  ThreadBlock* block = ProcessState::Block();
  if (block->state.load(std::memory_order_relaxed) != ThreadBlock::kBusy) {
    const int saved_errno = errno;
    facts.tag = Registry::InternTag(0, name);
    errno = saved_errno;
  }
  CallSlowly(Call::kMark, 0, 0, facts, [&](ThreadBlock* slow) { DoMark(slow, facts); });
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
