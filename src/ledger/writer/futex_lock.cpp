// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/futex_lock.hpp"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cpu_relax.hpp"
#include "ledger/writer/syscall_scope.hpp"

namespace memtally::writer {

namespace {
constexpr int kSpins = 200;
constexpr long kParkNs = 10'000'000;

constexpr uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }
// The rest, with those that glibc keeps to itself: a set of the kernel's, which sigprocmask would trim.
constexpr uint64_t kBlocked =
    ~(Bit(SIGSEGV) | Bit(SIGBUS) | Bit(SIGFPE) | Bit(SIGILL) | Bit(SIGTRAP) | Bit(SIGSYS) | Bit(SIGABRT));
}  // namespace

SignalBlock::SignalBlock() {
  const SyscallScope unnoticed;
  blocked_ = syscall(SYS_rt_sigprocmask, SIG_BLOCK, &kBlocked, &before_, sizeof(kBlocked)) == 0;
}

SignalBlock::~SignalBlock() {
  const SyscallScope unnoticed;
  if (blocked_) syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof(before_));
}

void CpuRelax() { ArchCpuRelax(); }

void Nap(long ns) {
  const SyscallScope unnoticed;
  const timespec nap{0, ns};
  syscall(SYS_nanosleep, &nap, nullptr);
}

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

bool FutexLock::LockSlowly() {
  for (int i = 0; i < kSpins; ++i) {
    uint32_t unlocked = 0;
    if (state_.load(std::memory_order_relaxed) == 0 &&
        state_.compare_exchange_weak(unlocked, 1, std::memory_order_acquire)) {
      return true;
    }
    CpuRelax();
  }
  const SyscallScope unnoticed;
  const uint64_t give_up = MonotonicNs() + kLockPatienceNs;
  // Marked as contended from here on: the holder wakes one of us.
  while (state_.exchange(2, std::memory_order_acquire) != 0) {
    const timespec timeout{0, kParkNs};
    syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, 2, &timeout, nullptr, 0);
    if (MonotonicNs() > give_up) return false;
  }
  return true;
}

void FutexLock::Wake() {
  const SyscallScope unnoticed;
  syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace memtally::writer
