// SPDX-License-Identifier: Apache-2.0
#include "collect/ledger_pool.hpp"

#include <utility>

namespace memtally::collect {
namespace {

// A process that ends or begins while we look is nobody's problem.
bool IsTransient(const LedgerError& error) {
  return error.code == LedgerError::Code::kNotFound || error.code == LedgerError::Code::kBeingMade;
}

}  // namespace

void LedgerPool::Discover() {
  problems_.clear();
  for (auto& [path, ledger] : ledgers_) ledger.found = false;
  std::vector<LedgerPlace> places;
  if (only_ledger_.empty()) {
    std::vector<std::string> unseen;
    places = FindLedgers(&unseen);
    for (std::string& what : unseen) problems_.push_back({"", {LedgerError::Code::kIo, std::move(what), ""}});
  } else {
    places.push_back({only_ledger_, false});
  }
  for (const LedgerPlace& place : places) Find(place.path);
  std::erase_if(ledgers_, [](const auto& entry) { return !entry.second.found; });
}

void LedgerPool::Find(const std::string& path) {
  const auto known = ledgers_.find(path);
  if (known != ledgers_.end()) {
    known->second.found = true;
    known->second.is_placed = false;
    return;
  }
  LedgerError error;
  std::unique_ptr<LedgerReader> reader = LedgerReader::Open(path, &error, memory_);
  if (reader != nullptr) {
    OpenLedger& ledger = ledgers_[path];
    ledger.reader = std::move(reader);
    ledger.found = true;
  } else if (!IsTransient(error) || !only_ledger_.empty()) {
    problems_.push_back({path, std::move(error)});
  }
}

}  // namespace memtally::collect
