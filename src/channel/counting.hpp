// SPDX-License-Identifier: Apache-2.0
//
// How participants count: each alone writes to its counts, anybody may read them.
#pragma once

#include <time.h>

#include <atomic>
#include <cstdint>

namespace memtally::channel {

// CLOCK_MONOTONIC, coarse.
inline uint64_t CoarseNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

inline void Raise(uint64_t* word, uint64_t value) {
  const std::atomic_ref<uint64_t> reference(*word);
  if (reference.load(std::memory_order_relaxed) < value) reference.store(value, std::memory_order_relaxed);
}

}  // namespace memtally::channel
