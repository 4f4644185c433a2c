// SPDX-License-Identifier: Apache-2.0
//
// The report of something that did not fit, made at that moment: MEMTALLY_OOM_REPORT asks for it.  The thread that met
// the failure starts the memtally command on its own process and waits for it, so that what the command reads is what
// was there; other threads go on.
//
//   MEMTALLY_OOM_REPORT=stderr      the first out-of-memory and the first clash, on standard error
//   MEMTALLY_OOM_REPORT=/a/folder   the first 16 of each, as files memtally-oom.PID.N.txt and memtally-clash.PID.N.txt
//   not set, empty or 0             nothing
//
// The program does not see the child that runs the command: it has no signal at its end, and wait() does not find it.
#pragma once

#include <cstdint>

namespace memtally::track::ttmetal {

enum class FailureSort : uint8_t { kOutOfMemory, kClash };

// Reads the variable; what the program makes of its environment later changes nothing.  Called once, before the others.
void ReadReportSettings();

// `group`: of the program, for a clash.  Takes some 10 ms, at most 10 s.  Any thread.
void ReportFailureNow(FailureSort sort, uint64_t group);

}  // namespace memtally::track::ttmetal
