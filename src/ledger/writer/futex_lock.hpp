// SPDX-License-Identifier: Apache-2.0
//
// FutexLock: a mutex of four bytes.  Waiters spin briefly, then park.  Every wait is bounded: a thread that was killed
// or jumped away inside the tracker must not hang the others, which then count a loss.
//
// SignalBlock: no handler runs in this thread while one lives, so that none jumps out (siglongjmp) of what must be
// finished.  Signals of faults stay open: their handlers belong to the code that faulted.
#pragma once

#include <atomic>
#include <cstdint>

namespace memtally::writer {

inline constexpr uint64_t kLockPatienceNs = 2'000'000'000;

void CpuRelax();

// Sleeps; a signal may end it early.
void Nap(long ns);

class FutexLock {
 public:
  // False if the lock did not come free within kLockPatienceNs.
  bool Lock() {
    uint32_t unlocked = 0;
    if (state_.compare_exchange_strong(unlocked, 1, std::memory_order_acquire)) [[likely]]
      return true;
    return LockSlowly();
  }
  void Unlock() {
    if (state_.exchange(0, std::memory_order_release) == 2) [[unlikely]]
      Wake();
  }
  // In a forked child: whoever held it is not here.
  void ResetInChild() { state_.store(0, std::memory_order_relaxed); }

 private:
  bool LockSlowly();
  void Wake();

  std::atomic<uint32_t> state_{0};  // 0 free, 1 held, 2 held and somebody parks
};

class SignalBlock {
 public:
  SignalBlock();
  ~SignalBlock();
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  uint64_t before_ = 0;  // the kernel's signal set
  bool blocked_;
};

// Holds a FutexLock for a scope, if it could be had, with signals blocked.
class FutexGuard {
 public:
  explicit FutexGuard(FutexLock& lock) : lock_(lock), held_(lock.Lock()) {}
  ~FutexGuard() {
    if (held_) lock_.Unlock();
  }
  FutexGuard(const FutexGuard&) = delete;
  FutexGuard& operator=(const FutexGuard&) = delete;
  bool held() const { return held_; }

 private:
  const SignalBlock signals_;  // before the lock is taken, and until it is given back
  FutexLock& lock_;
  bool held_;
};

// CLOCK_MONOTONIC.
uint64_t MonotonicNs();

}  // namespace memtally::writer
