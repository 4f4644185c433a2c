// SPDX-License-Identifier: Apache-2.0
//
// Shows a long text through the user's pager, as git does.
#pragma once

#include <string>

namespace memtally::tools {

// Writes a screen to standard output.  If that is a terminal which the text does not fit into, through the pager:
// MEMTALLY_PAGER, PAGER or "less" (LESS=FRX if it is unset), the first that is set; "" or "cat" means none.  Waits
// until the user has left it.  A pager that cannot be started is no failure: the text is written as it is. Returns an
// ExitCode, as WriteOutput does.
int ShowScreen(const std::string& text);

}  // namespace memtally::tools
