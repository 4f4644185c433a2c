// SPDX-License-Identifier: Apache-2.0
//
// The clean-up of a single ledger, for those who know which one they are done with.
#pragma once

#include <string>

namespace memtally::reader {

// Removes a ledger and what lies beside it if CleanUpDeadLedgers would remove it at once: its process is dead, it is
// this user's (for root: anybody's), and it has no evidence.  Whether it was removed.
bool RemoveIfWithoutEvidence(const std::string& path);

}  // namespace memtally::reader
