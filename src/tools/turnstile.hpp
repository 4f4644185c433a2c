// SPDX-License-Identifier: Apache-2.0
//
// Lets threads take turns in an order that was fixed beforehand: turn 0, 1, 2, ..., each of one thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace memtally::tools {

class Turnstile {
 public:
  // REQUIRES: turns below 2^32 - 1.
  explicit Turnstile(size_t threads) : gates_(new Gate[threads]) {}

  // Returns once `turn` was passed to `thread`.  REQUIRES: called by that thread, for its turns in their order.
  void Await(size_t thread, uint32_t turn) {
    std::atomic<uint32_t>& open = gates_[thread].open;
    const uint32_t wanted = turn + 1;
    // The one before is often just finishing.
    for (int i = 0; i < 64 && open.load(std::memory_order_acquire) != wanted; ++i) {
    }
    for (uint32_t now = open.load(std::memory_order_acquire); now != wanted;
         now = open.load(std::memory_order_acquire)) {
      open.wait(now, std::memory_order_acquire);
    }
  }

  // Lets `thread` take `turn`; what the caller did before happens before it.
  void Pass(size_t thread, uint32_t turn) {
    gates_[thread].open.store(turn + 1, std::memory_order_release);
    gates_[thread].open.notify_one();
  }

 private:
  // A cache line each: a waiting thread must not slow the one at work.
  struct alignas(64) Gate {
    std::atomic<uint32_t> open{0};
  };
  std::unique_ptr<Gate[]> gates_;
};

}  // namespace memtally::tools
