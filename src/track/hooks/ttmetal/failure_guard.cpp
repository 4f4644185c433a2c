// SPDX-License-Identifier: Apache-2.0
#include "track/hooks/ttmetal/failure_guard.hpp"

#include <cstdint>

namespace {

// Of the unwinder's interface (the C++ ABI for Itanium, which all of Linux shares).
constexpr int kCleanUpPhase = 2;
constexpr int kForcedUnwind = 8;  // a thread that is cancelled
constexpr int kContinueUnwind = 8;

}  // namespace

extern "C" {

__attribute__((visibility("hidden"))) int memtally_tt_personality(int /*version*/, int actions, uint64_t /*language*/,
                                                                  void* /*exception*/, void* /*context*/) {
  if ((actions & kCleanUpPhase) != 0 && (actions & kForcedUnwind) == 0) memtally::track::ttmetal::OnFailure();
  return kContinueUnwind;
}

// The unwind tables, which are read-only, reach the function through this word.
using Personality = int(int, int, uint64_t, void*, void*);
extern __attribute__((visibility("hidden"))) Personality* const memtally_tt_personality_pointer;
__attribute__((used)) Personality* const memtally_tt_personality_pointer = memtally_tt_personality;

}  // extern "C"
