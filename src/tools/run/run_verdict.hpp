// SPDX-License-Identifier: Apache-2.0
//
// RunVerdict: whether a launch passes what was asked of it.
#pragma once

#include <string>
#include <vector>

#include "tools/run/run_facts.hpp"
#include "tools/run/size_limit.hpp"
#include "tools/suppressions.hpp"

namespace memtally::tools {

struct RunChecks {
  bool fail_on_leak = false;
  bool strict = false;
  std::vector<SizeLimit> limits;
};

// A check that was not passed.
struct Failing {
  std::string check;  // "leak", "limit", "strict"
  std::string what;   // safe for a terminal
};

// Marks what processes left under tags that are known to leak.
void Suppress(Suppressions* suppressions, RunFacts* facts);

std::vector<Failing> Judge(const RunFacts& facts, const RunChecks& checks);

// The command's own code if it is not 0; else kCheckFailed if a check failed.
int ExitCodeOf(const RunFacts& facts, const std::vector<Failing>& failing);

// Every anomaly and loss of a launch by its name, over all processes; only those that came up.
struct NamedSum {
  std::string name;
  uint64_t count = 0;
  uint64_t bytes_requested = 0;
};
std::vector<NamedSum> Anomalies(const RunFacts& facts);
std::vector<NamedSum> LossesOf(const RunFacts& facts);

// "0:wormhole_b0", safe for a terminal.
std::string DeviceName(const RunDevice& device);

}  // namespace memtally::tools
