// SPDX-License-Identifier: Apache-2.0
//
// Event: how a side sleeps until the other one published something, without a lost wake-up and without a system call
// where nobody sleeps.
//
//   sleeper: word |= 1 (A); fence; looks again; sleeps while the word is what A left
//   waker:   publishes, sequentially consistent; if word & 1: word + 1 (clears the bit, counts); wakes all
//
// Either the waker sees the bit, or the sleeper's second look sees what was published: both orders go through one total
// order of sequentially consistent operations.  The count keeps a sleeper from going to sleep on a bit that another one
// set anew in between.  A sleeper that died leaves a bit behind, which costs one system call.
#pragma once

#include <atomic>
#include <cstdint>

namespace memtally::channel {

class Event {
 public:
  // `shared`: by several processes.
  Event(uint32_t* word, bool shared) : word_(word), shared_(shared) {}

  // REQUIRES: what was published was published by Publish(..., sleepers_possible = true).
  void Wake() const {
    if ((std::atomic_ref<uint32_t>(*word_).load(std::memory_order_seq_cst) & 1) != 0) [[unlikely]]
      WakeSleepers();
  }

  uint32_t PrepareToSleep() const {
    const uint32_t seen = std::atomic_ref<uint32_t>(*word_).fetch_or(1, std::memory_order_seq_cst) | 1;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return seen;
  }
  // Sleeps for at most `ns`, unless there was a Wake() since PrepareToSleep() returned `seen`.
  void Sleep(uint32_t seen, uint64_t ns) const;

 private:
  void WakeSleepers() const;

  uint32_t* word_;
  bool shared_;
};

}  // namespace memtally::channel
