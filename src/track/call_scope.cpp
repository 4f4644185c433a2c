// SPDX-License-Identifier: Apache-2.0
#include "track/call_scope.hpp"

namespace memtally::track {

namespace {

void Queue(ThreadBlock* block, Call call, memtally_device device, uint32_t kind, const writer::BufferFacts& facts) {
  if (call == Call::kNone) return;
  uint32_t place = block->queued.load(std::memory_order_relaxed);
  do {
    if (place == ThreadBlock::kQueue) {
      block->session->ledger.Count(&memtally_ledger_header::signal_overflow);
      return;
    }
  } while (!block->queued.compare_exchange_strong(place, place + 1, std::memory_order_relaxed));
  QueuedCall& queued = block->queue[place];
  queued = {call, device, kind, facts};
  queued.facts.tag = call == Call::kMark ? 0 : block->tag;  // a mark's tag is its name
}

}  // namespace

void CallScope::RunQueue(ThreadBlock* block) {
  block->state.store(ThreadBlock::kBusy, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  uint32_t done = 0;
  uint32_t queued = 0;
  do {
    while (done < block->queued.load(std::memory_order_relaxed)) RunQueuedCall(block, block->queue[done++]);
    queued = done;
    // Fails if a handler queued one more since the last look.
  } while (!block->queued.compare_exchange_strong(queued, 0, std::memory_order_relaxed));
}

ThreadBlock* CallScope::EnterSlowly(Call call, memtally_device device, uint32_t kind,
                                    const writer::BufferFacts& facts) {
  ThreadBlock* block = ProcessState::Block();
  switch (block->state.load(std::memory_order_relaxed)) {
    case ThreadBlock::kBusy:
      Queue(block, call, device, kind, facts);
      return nullptr;
    case ThreadBlock::kPaused:
      if (call == Call::kNone) break;
      block->session->ledger.Count(&memtally_ledger_header::paused_events);
      block->ReleaseToSuccessor();
      return nullptr;
    case ThreadBlock::kIdle:
      break;
    default:
      block = ProcessState::PrepareThread();
      if (block == nullptr) {
        ProcessState::CountLoss(call == Call::kAlloc ? facts.bytes_requested : 0);
        return nullptr;
      }
      break;
  }
  block->state.store(ThreadBlock::kBusy, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return block;
}

}  // namespace memtally::track
