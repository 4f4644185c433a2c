// SPDX-License-Identifier: Apache-2.0
//
// The measurements of `memtally bench events`.  Each part runs in a process of its own with a fresh ledger, so that
// none finds what another left behind.  docs/benchmarks.md says what each figure means.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace memtally::tools {

// Name of a figure to its value, in the unit that the name ends in.
using Figures = std::map<std::string, double>;

struct BenchPart {
  const char* name;
  const char* says;  // shown while it runs
  bool tracking;     // false: the part runs with MEMTALLY=0
  Figures (*measure)(bool quick);
};

const std::vector<BenchPart>& EventBenchParts();

}  // namespace memtally::tools
