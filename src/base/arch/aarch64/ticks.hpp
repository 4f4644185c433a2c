// SPDX-License-Identifier: Apache-2.0
//
// The processor's own clock on aarch64: the virtual counter.  Chosen by the build, not by the preprocessor.
#pragma once

#include <cstdint>

namespace memtally::base {

inline constexpr uint32_t kTickClockKind = 3;  // as the ledger format numbers it
inline constexpr uint32_t kTickShift = 0;      // ledgers keep ticks >> this: a counter of 1 GHz or less
inline constexpr const char* kTickClockSource = "arch_sys_counter";

inline uint64_t ReadTicks() {
  uint64_t ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
}

inline uint64_t StatedTickHz() {
  uint64_t hz;
  __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
  return hz;
}

}  // namespace memtally::base
