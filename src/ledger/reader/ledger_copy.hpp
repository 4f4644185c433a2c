// SPDX-License-Identifier: Apache-2.0
//
// LedgerCopy: collects a copy of a ledger of which all parts belong to one instant, or says that it could not.
//
//   repeat:  first page;  each lane: its sequence, then its contents;  catalog;  then every sequence again.
//
// A lane whose sequence did not move since its contents were copied is not copied again by the next try.  If at the end
// of a try no lane has moved, all contents were true at the moment at which the last one was copied.  A lane may come
// into being meanwhile, so the number of lanes is looked at again, too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

#include "ledger/reader/claims.hpp"
#include "ledger/reader/gaps.hpp"
#include "ledger/reader/header_check.hpp"
#include "ledger/reader/lane_copy.hpp"
#include "ledger/reader/ledger_bytes.hpp"

namespace memtally::reader {

// An area of the file, after the checks.
struct CheckedArea {
  uint64_t offset = 0;
  uint32_t count = 0;  // entries that are in use and inside the file
};

class LedgerCopy {
 public:
  // Copies what totals need, or buffers as well.  `writer_gone`: nobody will end the calls that are under way.
  // Returns false and sets *error if the file cannot be believed at all.  *moving is set if calls were under way to the
  // end: if the process has died meanwhile, Collect with `writer_gone` will do better.
  bool Collect(LedgerBytes& bytes, const std::string& path, bool buffers, bool writer_gone, bool* moving,
               LedgerError* error);

  const memtally_ledger_header& header() const { return page_.header; }
  const std::vector<memtally_catalog_entry>& catalog() const { return catalog_; }
  const CheckedArea& threads() const { return threads_; }
  const CheckedArea& tags() const { return tags_; }
  const CheckedArea& groups() const { return groups_; }
  uint32_t lane_count() const { return lane_count_; }
  const LaneCopy& lane(uint32_t i) const { return lanes_[i]; }
  bool lane_usable(uint32_t i) const { return lane_usable_[i]; }

  bool exact() const { return exact_; }
  bool buffers_exact() const { return exact_ && buffers_complete_; }
  bool took_back() const { return took_back_; }
  const Gaps& gaps() const { return gaps_; }

 private:
  using TakeBack = LaneCopy::Wish::TakeBack;
  enum class Result { kExact, kMoving, kAgain };

  bool CopyFirstPage(LedgerBytes& bytes, const std::string& path, LedgerError* error);
  CheckedArea CheckArea(const LedgerBytes& bytes, const memtally_area& area, uint32_t entry_bytes, uint32_t most,
                        const char* name);
  void CopyCatalog(LedgerBytes& bytes);
  uint64_t DevicesOfCatalog() const;
  Result Try(LedgerBytes& bytes, bool buffers, TakeBack take_back);

  FirstPage page_{};
  std::vector<memtally_catalog_entry> catalog_;
  CheckedArea catalog_area_, threads_, tags_, groups_;
  uint64_t catalog_end_ = 0;
  uint32_t lane_count_ = 0;
  std::vector<LaneCopy> lanes_;
  std::vector<bool> lane_usable_;
  Claims claims_;
  Gaps gaps_;
  bool exact_ = false;
  bool buffers_complete_ = true;
  bool took_back_ = false;
};

}  // namespace memtally::reader
