// SPDX-License-Identifier: Apache-2.0
//
// How rings touch words that two sides share.  Rings are templates over this, so that a test can put a scheduler in its
// place and try every interleaving of the very same code.
#pragma once

#include <atomic>
#include <cstdint>

namespace memtally::channel {

struct HardwareAccess {
  static uint64_t Load(const uint64_t* word, std::memory_order order) {
    return std::atomic_ref<uint64_t>(*const_cast<uint64_t*>(word)).load(order);
  }
  static void Store(uint64_t* word, uint64_t value, std::memory_order order) {
    std::atomic_ref<uint64_t>(*word).store(value, order);
  }
  // On failure *expected is what was found.
  static bool CompareExchange(uint64_t* word, uint64_t* expected, uint64_t value) {
    return std::atomic_ref<uint64_t>(*word).compare_exchange_strong(*expected, value, std::memory_order_acq_rel,
                                                                    std::memory_order_acquire);
  }
};

// The store that publishes to the other side.  Whoever may have to wake a sleeper afterwards needs it sequentially
// consistent: "publish, then look who sleeps" against "say that I sleep, then look again".  (On x86-64 that is an
// exchange, a quarter of a fence.)
template <typename Access>
inline void Publish(uint64_t* word, uint64_t value, bool sleepers_possible) {
  if (sleepers_possible) {
    Access::Store(word, value, std::memory_order_seq_cst);
  } else {
    Access::Store(word, value, std::memory_order_release);
  }
}

// A message to be filled: `data` is null if there was no room.
struct RawLoan {
  uint8_t* data = nullptr;
  uint64_t position = 0;
  uint64_t end = 0;
};

// A message that was read, and has to be released.
struct RawView {
  const uint8_t* data = nullptr;
  uint32_t bytes = 0;
  bool batch = false;  // it has several messages in it, see batch.hpp
  uint64_t position = 0;
  uint64_t end = 0;
};

enum class ReadResult : uint8_t { kMessage, kEmpty, kCorrupt };

// Tells the processor that this is a spin loop.
inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
}

}  // namespace memtally::channel
