// SPDX-License-Identifier: Apache-2.0
//
// LaneLock: a lock biased towards one thread, its owner.
//
//   biased  --- another thread wants in: revoke --->  shared
//   shared  --- the owner alone came for a while --->  biased
//
// Biased: the owner enters with a store and a load, no atomic read-modify-write.  It sets `inside`, then looks at
// the mode.  A revoker, which holds the mutex, sets the mode to shared, then makes every thread of the process pass a
// full barrier (membarrier), then waits until `inside` is 0.  Either the owner saw the new mode and went to the mutex,
// or the revoker sees it inside. Shared: everybody takes the mutex.  Where the kernel has no membarrier, the lock is
// shared from the start.
#pragma once

#include <atomic>
#include <cstdint>

#include "ledger/writer/futex_lock.hpp"

namespace memtally::writer {

class LaneLock {
 public:
  // Asks the kernel for membarrier, once a process (and once in a forked child).
  static void RegisterProcess();

  // How one entry got in, and so how it leaves.
  enum class Entry : uint8_t { kRefused, kBiased, kMutex };

  // For the owner only.
  Entry EnterAsOwner() {
    inside_.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (biased_.load(std::memory_order_acquire)) [[likely]]
      return Entry::kBiased;
    inside_.store(0, std::memory_order_release);
    return EnterSharedAsOwner();
  }

  // For any thread but the owner.
  Entry EnterAsOther();

  void Leave(Entry entry) {
    if (entry == Entry::kBiased) [[likely]] {
      inside_.store(0, std::memory_order_release);
    } else if (entry == Entry::kMutex) {
      mutex_.Unlock();
    }
  }

  // The calling thread, which holds the lock by kMutex, becomes the owner (the former one is dead or gave up).
  void TakeOwnership();

 private:
  static constexpr uint32_t kFirstPatience = 256;
  static constexpr uint32_t kMostPatience = 1u << 16;

  // A lock that was refused once is refused at once for this long: one lost thread must not slow down all others for
  // good.
  static constexpr uint64_t kRefusalNs = 10'000'000'000;

  Entry EnterSharedAsOwner();
  bool LockMutex();

  std::atomic<uint32_t> inside_{0};
  std::atomic<bool> biased_{false};
  std::atomic<uint64_t> refuse_until_ns_{0};
  FutexLock mutex_;
  uint32_t owner_alone_ = 0;            // entries of the owner since another thread came; under mutex_
  uint32_t patience_ = kFirstPatience;  // entries before the lock is biased again; under mutex_
};

}  // namespace memtally::writer
