// SPDX-License-Identifier: Apache-2.0
//
// How participants count: each alone writes to its counts, anybody may read them.
#pragma once

#include <time.h>

#include <atomic>
#include <cstdint>

#include <memtally/abi/channel_format.h>

namespace memtally::channel {

// CLOCK_MONOTONIC, coarse.
inline uint64_t CoarseNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

inline void Add(uint64_t* counter, uint64_t more) {
  const std::atomic_ref<uint64_t> word(*counter);
  word.store(word.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

inline void Raise(uint64_t* word, uint64_t value) {
  const std::atomic_ref<uint64_t> reference(*word);
  if (reference.load(std::memory_order_relaxed) < value) reference.store(value, std::memory_order_relaxed);
}

// Counts messages.  Returns whether what is taken only now and then is due: with the first one, and whenever 64 more
// are through.
inline bool CountMessages(memtally_channel_counts* counts, uint64_t messages, uint64_t bytes) {
  const uint64_t before = std::atomic_ref<uint64_t>(counts->messages).load(std::memory_order_relaxed);
  Add(&counts->messages, messages);
  Add(&counts->bytes, bytes);
  if (before != 0 && (before ^ (before + messages)) < 64) return false;
  Raise(&counts->last_time_ns, CoarseNs());
  return true;
}

}  // namespace memtally::channel
