// SPDX-License-Identifier: Apache-2.0
//
// What `memtally` alone says: what to try on this machine, now.
#pragma once

#include <string>
#include <vector>

namespace memtally::tools {

// A screen.  Looks at the machine's ledgers; proposes only those `commands` that there are.
std::string WelcomeText(const std::vector<std::string>& commands);

}  // namespace memtally::tools
