// SPDX-License-Identifier: Apache-2.0
//
// Gives back the pages of a dead ledger's buffer tables in which nothing is live.
#pragma once

#include <string>

#include "ledger/reader/ledger_bytes.hpp"
#include "ledger/reader/ledger_copy.hpp"

namespace memtally::reader {

// Replaces such pages of the file `writable` (the same file as `bytes`) by holes.  Pages with a part of a live record,
// of its extension or of a word that taking back the last call needs stay.  Does nothing if the ledger cannot be read
// completely. REQUIRES: the process is dead, and the caller holds the file against other clean-ups.
void PunchDeadPages(LedgerBytes& bytes, const std::string& path, int writable);

}  // namespace memtally::reader
