// SPDX-License-Identifier: Apache-2.0
//
// Learning that a call ended by a C++ exception, without a C++ runtime: a function that begins with
// MEMTALLY_TT_FAILURE_GUARD has memtally_tt_personality in its unwind table, which an unwinder calls when an exception
// passes through the function's frame.  It looks, and lets the exception go on.
#pragma once

// Encoding 0x9b: a signed 32-bit distance to a pointer to the personality; the same on x86-64 and aarch64.
#define MEMTALLY_TT_FAILURE_GUARD() __asm__ volatile(".cfi_personality 0x9b, memtally_tt_personality_pointer")

namespace memtally::track::ttmetal {

// Called when an exception leaves a guarded function, in the thread that it unwinds.  Defined beside the guarded
// functions.
void OnFailure();

}  // namespace memtally::track::ttmetal
