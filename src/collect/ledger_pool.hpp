// SPDX-License-Identifier: Apache-2.0
//
// LedgerPool: the ledgers of this machine, kept open between snapshots.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "collect/snapshot.hpp"

namespace memtally::collect {

// What is known of a ledger besides what one reading says.
struct OpenLedger {
  // An account's extent, and how often the account had been used when it was read.
  struct KnownExtent {
    uint64_t allocated = 0, freed = 0;
    std::optional<Extent> extent;
  };

  std::unique_ptr<LedgerReader> reader;
  std::string user;  // "" not yet asked
  // What /proc says of the process; asked again after each look for ledgers, and when the process has ended.
  bool is_placed = false;
  uint32_t placed_pid = 0;
  Place place;
  std::optional<uint32_t> parent_pid;
  std::map<uint32_t, KnownExtent> extents;  // by account
  bool found = false;                       // by the last look
};

class LedgerPool {
 public:
  // `only_ledger`: this file; "": all.
  explicit LedgerPool(std::string only_ledger) : only_ledger_(std::move(only_ledger)) {}

  // Opens what has come, lets go of what is gone.
  void Discover();

  // In the order of their paths.
  std::map<std::string, OpenLedger>& ledgers() { return ledgers_; }

  // What the last look could not open or look at.
  const std::vector<Problem>& problems() const { return problems_; }

 private:
  void Find(const std::string& path);

  std::string only_ledger_;
  std::shared_ptr<ReaderMemory> memory_ = std::make_shared<ReaderMemory>();
  std::map<std::string, OpenLedger> ledgers_;  // by path
  std::vector<Problem> problems_;
};

}  // namespace memtally::collect
