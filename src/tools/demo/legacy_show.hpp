// SPDX-License-Identifier: Apache-2.0
//
// The demonstration for those who have programs of the original allocation server: four of them, one of each generation
// of its protocol, at a memtallyd of their own.  Text that scrolls by.
#pragma once

namespace memtally::tools::demo {

// Returns an ExitCode.  Throws std::runtime_error.
int ShowLegacy();

}  // namespace memtally::tools::demo
