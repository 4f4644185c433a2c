// SPDX-License-Identifier: Apache-2.0
//
// The demonstration as text that scrolls by: for pipes, logs, and terminals that can do no more.
#pragma once

namespace memtally::tools::demo {

// `hurry`: how many times faster than the usual pace.  Returns an ExitCode.  Throws std::runtime_error.
int ShowPlain(double hurry);

}  // namespace memtally::tools::demo
