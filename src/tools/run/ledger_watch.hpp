// SPDX-License-Identifier: Apache-2.0
//
// LedgerWatch: finds the ledgers of one launch as they are made.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "base/fd.hpp"
#include "tools/run/run_facts.hpp"

namespace memtally::tools {

class LedgerWatch {
 public:
  LedgerWatch(std::string directory, const LaunchId& launch) : directory_(std::move(directory)), launch_(launch) {}

  // Begins to be told of new files.  Without this, or where the kernel refuses, only Scan finds them.  What is there
  // already is left alone: it is no ledger of a launch that has not begun.
  void Listen();
  // To be polled for input; -1 if the kernel refused.
  int descriptor() const { return inotify_.get(); }

  // The launch's ledgers that were not known yet, open.  Cheap if nothing has happened.
  std::vector<std::unique_ptr<LedgerReader>> TakeNew();

  // Looks through the whole directory; `everywhere`: wherever ledgers may be that this user may see.
  void Scan(bool everywhere);

  // Files that name this launch but belong to another user, who is not to be believed.
  uint64_t foreign() const { return foreign_; }

 private:
  void ReadNotices();
  void Offer(const std::string& path);

  std::string directory_;
  LaunchId launch_;
  base::Fd inotify_;
  std::deque<std::string> offered_;       // paths to be looked at
  std::unordered_set<std::string> seen_;  // names that were
  uint64_t foreign_ = 0;
};

}  // namespace memtally::tools
