// SPDX-License-Identifier: Apache-2.0
//
// The processor's own clock on x86-64: the time-stamp counter.  Chosen by the build, not by the preprocessor.
#pragma once

#include <cstdint>

namespace memtally::base {

inline constexpr uint32_t kTickClockKind = 2;  // as the ledger format numbers it
inline constexpr uint32_t kTickShift =
    2;  // ledgers keep ticks >> this: about a nanosecond a unit: 56 bits then last more than two years
inline constexpr const char* kTickClockSource =
    "tsc";  // the kernel's name of a clock source that makes the counter reliable

// Ticks now.  May run ahead of or behind neighbouring instructions by a few nanoseconds.
inline uint64_t ReadTicks() { return __builtin_ia32_rdtsc(); }

// Ticks a second as the hardware states them, 0 if it does not.
inline uint64_t StatedTickHz() { return 0; }

}  // namespace memtally::base
