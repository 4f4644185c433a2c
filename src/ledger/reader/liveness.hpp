// SPDX-License-Identifier: Apache-2.0
//
// Whether the process that writes a ledger lives.
#pragma once

#include <cstdint>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

namespace memtally::reader {

// Facts about the reading process, found out once.
bool IsThisBoot(const uint8_t (&boot_id)[16]);
bool IsOwnPidNamespace(uint64_t inode);
// Whether this process (or the program that it was before exec) made the ledger.
bool IsOwnProcess(const memtally_ledger_header& header);

// Asks the lock, then /proc.  The pid in a header means something only in its own pid namespace and boot: elsewhere the
// lock alone decides.  *visible_pid: in this process's pid namespace, 0 unknown.
Liveness AskLiveness(int descriptor, const memtally_ledger_header& header, uint32_t* visible_pid);

}  // namespace memtally::reader
