// SPDX-License-Identifier: Apache-2.0
//
// memtally bench: measures what tracking costs on this machine.  Adds nothing yet.
#include "tools/subcommand.hpp"

namespace memtally::tools {

void AddBench(CLI::App* /*app*/, Action* /*action*/) {}

}  // namespace memtally::tools
