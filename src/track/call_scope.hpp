// SPDX-License-Identifier: Apache-2.0
//
// CallScope: the way into and out of the tracker for one thread.
//
// While a thread is inside, its block is busy; a signal handler that comes then finds that out, queues its call, and
// the thread runs it on its way out.  Sixteen calls fit; more are counted.
#pragma once

#include <memtally/track.h>

#include "track/process_state.hpp"
#include "track/thread_block.hpp"

namespace memtally::track {

// Runs a call that a handler queued; in tracker.cpp, as are all calls.
void RunQueuedCall(ThreadBlock* block, QueuedCall& queued);

class CallScope {
 public:
  // The block, now busy; or null if this call must go the slow way.
  static ThreadBlock* Enter() {
    ThreadBlock* block = ProcessState::Block();
    if (block->state.load(std::memory_order_relaxed) != ThreadBlock::kIdle) [[unlikely]]
      return nullptr;
    block->state.store(ThreadBlock::kBusy, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return block;
  }

  // Leaves what Enter entered, after the calls that handlers queued meanwhile.
  static void Leave(ThreadBlock* block, ThreadBlock::State state = ThreadBlock::kIdle) {
    for (;;) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
      // Released to the thread that takes this block over once this one is gone: nothing but atomics after it.
      block->state.store(state, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (block->queued.load(std::memory_order_relaxed) == 0) [[likely]]
        return;
      RunQueue(block);
    }
  }

  // For a block that is not idle, and for calls without a fast path.  Null if there is nothing to be done: the call was
  // queued, counted as paused, or lost.
  static ThreadBlock* EnterSlowly(Call call, memtally_device device, uint32_t kind, const writer::BufferFacts& facts);

  // Leaves what EnterSlowly entered.
  static void LeaveSlowly(ThreadBlock* block) {
    Leave(block, block->pauses != 0 ? ThreadBlock::kPaused : ThreadBlock::kIdle);
  }

 private:
  static void RunQueue(ThreadBlock* block);
};

}  // namespace memtally::track
