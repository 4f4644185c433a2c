// SPDX-License-Identifier: Apache-2.0
//
// ViewBuilder: turns a LedgerCopy into a LedgerView.  Believes no index: what names something that does not exist is
// counted as a gap and shown nowhere.  The texts of a ledger are handed on as they are, up to their first zero byte:
// who prints them has to make them harmless.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

#include "ledger/reader/gaps.hpp"
#include "ledger/reader/ledger_bytes.hpp"
#include "ledger/reader/ledger_copy.hpp"
#include "ledger/reader/time_line.hpp"

namespace memtally::reader {

class ViewBuilder {
 public:
  ViewBuilder(const LedgerCopy& copy, LedgerBytes& bytes, const TimeLine& time, LedgerView* view)
      : copy_(copy), bytes_(bytes), time_(time), view_(view) {}

  // In this order; AddBuffers and AddEvents where the level asks for them.
  void AddIdentity();
  void AddCatalog();
  void AddTotals();
  void AddAnomalies();
  void AddCounters();
  void AddTagsAndGroups();
  void AddBuffers(bool of_one_account, uint32_t account);
  void AddEvents();
  void AddGaps();

 private:
  // What is known of the accounts that records may name.
  struct AccountState {
    bool known = false;
    bool closed = false;  // its device
  };

  void AddDevice(const memtally_catalog_device& device, const memtally_catalog_entry* next);
  void AddAccount(const memtally_catalog_account& account);
  Amount AddSums(LedgerAccount* account);
  void AddRecord(const LaneCopy& lane, const memtally_record& record);
  void AddLaneEvents(uint32_t lane);
  LedgerEvent DecodeEvent(const memtally_event& event, uint32_t lane, uint64_t number);
  uint32_t ThreadId(uint32_t index);

  const LedgerCopy& copy_;
  LedgerBytes& bytes_;
  const TimeLine& time_;
  LedgerView* view_;
  Gaps gaps_;
  std::array<AccountState, MEMTALLY_MAX_ACCOUNTS> account_{};
  std::vector<memtally_catalog_account> stored_;  // as view_->accounts
  bool threads_read_ = false;
  std::vector<uint32_t> threads_;
  bool filter_ = false;
  uint32_t wanted_ = 0;

  // Records that cannot be.
  uint64_t without_account_ = 0;
  uint64_t live_extensions_ = 0;
  uint64_t lost_extensions_ = 0;
};

}  // namespace memtally::reader
