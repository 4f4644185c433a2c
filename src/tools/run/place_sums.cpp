// SPDX-License-Identifier: Apache-2.0
#include "tools/run/place_sums.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace memtally::tools {
namespace {

// What one process had of a place at most, and when it was there.
struct Stay {
  uint64_t begin_ns = 0;
  uint64_t end_ns = std::numeric_limits<uint64_t>::max();
  size_t accounts = 0;
  uint64_t reached_reserved = 0, reached_requested = 0;
  uint64_t most_reserved = 0, most_requested = 0;
};

void Add(Amount* sum, const Amount& part) {
  sum->count += part.count;
  sum->bytes_requested += part.bytes_requested;
  sum->bytes_reserved += part.bytes_reserved;
}

// The most that processes can have had together, given what each had at most: of those that were there at once.
uint64_t MostAtOnce(const std::vector<Stay>& stays, uint64_t Stay::*most) {
  std::vector<std::pair<uint64_t, const Stay*>> changes;
  for (const Stay& stay : stays) {
    changes.emplace_back(stay.begin_ns, &stay);
    changes.emplace_back(stay.end_ns, &stay);
  }
  // At the same moment arrivals come first.
  std::stable_sort(changes.begin(), changes.end(), [](const auto& a, const auto& b) {
    const bool a_leaves = a.first != a.second->begin_ns;
    const bool b_leaves = b.first != b.second->begin_ns;
    return std::pair(a.first, a_leaves) < std::pair(b.first, b_leaves);
  });
  uint64_t now = 0;
  uint64_t highest = 0;
  std::vector<const Stay*> there;
  for (const auto& [time_ns, stay] : changes) {
    const auto found = std::find(there.begin(), there.end(), stay);
    if (found == there.end()) {
      there.push_back(stay);
      now += stay->*most;
      highest = std::max(highest, now);
    } else {
      there.erase(found);
      now -= stay->*most;
    }
  }
  return highest;
}

}  // namespace

void SumPlaces(const std::vector<std::vector<AccountPlace>>& accounts, std::vector<SampledPlace> sampled,
               RunFacts* facts) {
  std::vector<std::vector<Stay>> stays(facts->places.size());
  std::vector<std::vector<std::string>> kinds(facts->places.size());
  std::vector<uint64_t> memory_capacity(facts->places.size());
  for (size_t p = 0; p < facts->processes.size(); ++p) {
    const RunProcess& process = facts->processes[p];
    for (std::vector<Stay>& of_place : stays) of_place.emplace_back();
    for (size_t i = 0; i < process.facts.accounts.size() && i < accounts[p].size(); ++i) {
      const LedgerAccount& account = process.facts.accounts[i];
      const AccountPlace& where = accounts[p][i];
      for (const size_t index : {where.kind_place, where.memory_place}) {
        if (index == kNoPlace) continue;
        RunPlace& place = facts->places[index];
        Stay& stay = stays[index].back();
        stay.begin_ns = process.facts.start_time_ns;
        if (!process.goes_on) {
          stay.end_ns = std::max(stay.begin_ns, process.facts.end_time_ns.value_or(process.seen_dead_ns.value_or(0)));
        }
        const bool used = account.allocated.count != 0 || account.failed_allocations != 0;
        if (used && std::find(kinds[index].begin(), kinds[index].end(), where.kind) == kinds[index].end()) {
          kinds[index].push_back(where.kind);
        }
        if (account.allocated.count != 0) ++stay.accounts;
        stay.reached_reserved = std::max(stay.reached_reserved, account.peak_reserved);
        stay.reached_requested = std::max(stay.reached_requested, account.peak_requested);
        stay.most_reserved += account.peak_reserved + account.peak_reserved_slack;
        stay.most_requested += account.peak_requested + account.peak_requested_slack;
        place.capacity_bytes = std::max(place.capacity_bytes, account.capacity_bytes);
        if (where.kind == where.memory)
          memory_capacity[index] = std::max(memory_capacity[index], account.capacity_bytes);
        Add(&place.allocated, account.allocated);
        Add(&place.freed, account.freed);
        Add(&place.released, account.released);
        Add(process.goes_on ? &place.live : &place.left, account.live);
        place.failed_allocations += account.failed_allocations;
        place.failed_requested += account.failed_requested;
      }
    }
  }
  sampled.resize(std::max(sampled.size(), facts->places.size()));
  for (size_t index = 0; index < facts->places.size(); ++index) {
    RunPlace& place = facts->places[index];
    std::vector<Stay>& of_place = stays[index];
    std::erase_if(of_place, [](const Stay& stay) { return stay.accounts == 0; });
    place.processes = of_place.size();
    place.kinds = kinds[index].size();
    if (place.is_memory && memory_capacity[index] != 0) place.capacity_bytes = memory_capacity[index];
    for (const Stay& stay : of_place) {
      place.peak_reserved = std::max(place.peak_reserved, stay.reached_reserved);
      place.peak_requested = std::max(place.peak_requested, stay.reached_requested);
    }
    SampledPlace& seen = sampled[index];
    // With one process and one kind, the ledger's own peak is the best that can be known.
    if (of_place.size() > 1 || place.kinds > 1) {
      place.peak_reserved = std::max({place.peak_reserved, seen.reserved, seen.by_requested ? 0 : seen.best});
      place.peak_requested = std::max({place.peak_requested, seen.requested, seen.by_requested ? seen.best : 0});
    }
    place.peak_reserved_slack =
        std::max(MostAtOnce(of_place, &Stay::most_reserved), place.peak_reserved) - place.peak_reserved;
    place.peak_requested_slack =
        std::max(MostAtOnce(of_place, &Stay::most_requested), place.peak_requested) - place.peak_requested;
    place.at_peak = std::move(seen.moment);
    if (place.at_peak) {
      place.at_peak->exact =
          place.at_peak->exact && seen.best >= (seen.by_requested ? place.peak_requested : place.peak_reserved);
    }
  }
}

}  // namespace memtally::tools
