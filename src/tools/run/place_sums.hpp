// SPDX-License-Identifier: Apache-2.0
//
// What the places of a launch amount to over all its processes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tools/run/moment_search.hpp"
#include "tools/run/run_facts.hpp"

namespace memtally::tools {

// What was seen of a place while the launch ran.
struct SampledPlace {
  uint64_t reserved = 0, requested = 0;  // the highest sums over all processes that were seen
  uint64_t best = 0;                     // the sum at `moment`
  bool by_requested = false;             // that is of requested bytes
  std::optional<Moment> moment;
};

// Fills facts->places from facts->processes.  `accounts`: of each process, what its accounts are.
void SumPlaces(const std::vector<std::vector<AccountPlace>>& accounts, std::vector<SampledPlace> sampled,
               RunFacts* facts);

}  // namespace memtally::tools
