// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/lane_lock.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ledger/writer/syscall_scope.hpp"

namespace memtally::writer {

namespace {

std::atomic<bool> g_membarrier{false};

bool Barrier() { return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0; }

}  // namespace

void LaneLock::RegisterProcess() {
  const SyscallScope unnoticed;
  g_membarrier.store(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 && Barrier(),
                     std::memory_order_relaxed);
}

bool LaneLock::LockMutex() {
  const uint64_t until = refuse_until_ns_.load(std::memory_order_relaxed);
  if (until != 0) [[unlikely]] {
    if (MonotonicNs() < until) return false;
    refuse_until_ns_.store(0, std::memory_order_relaxed);
  }
  if (mutex_.Lock()) return true;
  refuse_until_ns_.store(MonotonicNs() + kRefusalNs, std::memory_order_relaxed);
  return false;
}

LaneLock::Entry LaneLock::EnterSharedAsOwner() {
  if (!LockMutex()) return Entry::kRefused;
  if (++owner_alone_ >= patience_ && g_membarrier.load(std::memory_order_relaxed)) {
    owner_alone_ = 0;
    inside_.store(1, std::memory_order_relaxed);
    biased_.store(true, std::memory_order_release);
    mutex_.Unlock();
    return Entry::kBiased;
  }
  return Entry::kMutex;
}

LaneLock::Entry LaneLock::EnterAsOther() {
  if (!LockMutex()) return Entry::kRefused;
  owner_alone_ = 0;
  if (!biased_.load(std::memory_order_relaxed)) return Entry::kMutex;
  biased_.store(false, std::memory_order_seq_cst);
  if (patience_ < kMostPatience) patience_ *= 2;
  Barrier();
  const uint64_t give_up = MonotonicNs() + kLockPatienceNs;
  for (int spins = 0; inside_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 1000) {
      CpuRelax();
      continue;
    }
    Nap(50'000);
    if (MonotonicNs() > give_up) {
      // The owner never came back.  The lane stays closed to others: what it holds may be half-written.
      biased_.store(true, std::memory_order_release);
      refuse_until_ns_.store(MonotonicNs() + kRefusalNs, std::memory_order_relaxed);
      mutex_.Unlock();
      return Entry::kRefused;
    }
  }
  return Entry::kMutex;
}

void LaneLock::TakeOwnership() {
  owner_alone_ = 0;
  patience_ = kFirstPatience;
  inside_.store(0, std::memory_order_relaxed);
  biased_.store(false, std::memory_order_release);
  if (g_membarrier.load(std::memory_order_relaxed)) owner_alone_ = kFirstPatience;  // biased with its next entry
}

}  // namespace memtally::writer
