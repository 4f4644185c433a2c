// SPDX-License-Identifier: Apache-2.0
//
// What `memtally run` tells people at the end.
#pragma once

#include <string>
#include <vector>

#include "tools/run/run_facts.hpp"
#include "tools/run/run_verdict.hpp"

namespace memtally::tools {

// Lines for a terminal, without colour.
std::string RunSummary(const RunFacts& facts);

// A line for each check that was not passed; "" if all were.
std::string FailingChecks(const std::vector<Failing>& failing);

}  // namespace memtally::tools
