// SPDX-License-Identifier: Apache-2.0
//
// What a process can say about itself in its ledger's header, from /proc and the environment.  Async-signal-safe.
#pragma once

#include <cstddef>

#include <memtally/abi/ledger_format.h>

namespace memtally::writer {

// Reads at most bytes - 1 bytes of a file and ends them with a zero.  Returns their number, or -1.
long ReadSmallFile(const char* path, char* buffer, size_t bytes);

// Fills all identity fields of the header but run_id and launch_id.
void FillIdentity(memtally_ledger_header* header);

// 16 random bytes.
void MakeRunId(uint8_t (&run_id)[16]);

}  // namespace memtally::writer
