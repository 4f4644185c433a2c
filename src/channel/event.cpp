// SPDX-License-Identifier: Apache-2.0
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

#include <memtally/channel/event.hpp>

namespace memtally::channel {

void Event::WakeSleepers() const {
  const std::atomic_ref<uint32_t> word(*word_);
  uint32_t seen = word.load(std::memory_order_relaxed);
  while ((seen & 1) != 0) {
    // Odd + 1: the bit is cleared and the count went up.  Whoever loses this exchange was overtaken by another waker.
    if (!word.compare_exchange_weak(seen, seen + 1, std::memory_order_seq_cst)) continue;
    syscall(SYS_futex, word_, shared_ ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
    return;
  }
}

void Event::Sleep(uint32_t seen, uint64_t ns) const {
  const timespec timeout{static_cast<time_t>(ns / 1'000'000'000u), static_cast<long>(ns % 1'000'000'000u)};
  syscall(SYS_futex, word_, shared_ ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE, seen, &timeout, nullptr, 0);
}

}  // namespace memtally::channel
