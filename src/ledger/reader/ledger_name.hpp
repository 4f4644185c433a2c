// SPDX-License-Identifier: Apache-2.0
//
// Names of ledgers and of what lies beside them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace memtally::reader {

struct LedgerName {
  uint32_t uid = 0;
  uint32_t pid = 0;
  bool is_control = false;
};

// Takes "memtally-<uid>-<pid>-<32 hex digits>.ledger" or ".control" apart; a directory before it is ignored.
// False if the name is of another form.
bool ParseLedgerName(std::string_view path, LedgerName* name);

// The directory of this process's ledgers: MEMTALLY_DIR or /dev/shm.
std::string LedgerDirectory();
// Whether MEMTALLY_DIR names it.
bool LedgerDirectoryIsNamed();

}  // namespace memtally::reader
