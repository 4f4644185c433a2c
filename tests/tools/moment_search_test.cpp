// SPDX-License-Identifier: Apache-2.0
//
// MomentSearch against a plain model: processes that allocate, free and fail at random, of which the search sees what a
// reader would.
#include "tools/run/moment_search.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>

namespace memtally::tools {
namespace {

// One process with one account, of one bank, on device 0.
class Process {
 public:
  Process() {
    view_.liveness = Liveness::kAlive;
    view_.devices.emplace_back();
    view_.accounts.emplace_back();
    view_.tags.resize(2);
    for (const char* name : {"one", "two"}) view_.tags.push_back({0, name, false});
    accounts_.push_back({0, 0, kNoPlace, "dram", "dram", true});
  }

  uint64_t Allocate(uint64_t time_ns, uint64_t bytes, uint32_t tag) {
    const uint64_t id = next_id_++;
    LedgerBuffer buffer;
    buffer.id = id;
    buffer.bytes_requested = buffer.bytes_per_bank = bytes;
    buffer.tag = tag;
    view_.buffers.push_back(buffer);
    Add(MEMTALLY_OP_ALLOC, time_ns, buffer);
    held_ += bytes;
    Noted(time_ns);
    return id;
  }

  void Free(uint64_t time_ns, uint64_t id) {
    const auto found = std::find_if(view_.buffers.begin(), view_.buffers.end(),
                                    [id](const LedgerBuffer& buffer) { return buffer.id == id; });
    Add(MEMTALLY_OP_FREE, time_ns, *found);
    held_ -= found->bytes_per_bank;
    view_.buffers.erase(found);
    Noted(time_ns);
  }

  MomentSearch::Failure Fail(uint64_t time_ns, size_t source) {
    LedgerBuffer wanted;
    wanted.bytes_requested = wanted.bytes_per_bank = 1 << 20;
    Add(MEMTALLY_OP_ALLOC_FAILED, time_ns, wanted);
    return {source, 0, view_.events.back().number, 0, time_ns};
  }

  // What a reader sees whose reading began then, and whose recorder still has the last `kept` events.
  MomentSearch::Source Read(uint64_t began_ns, size_t kept = SIZE_MAX) {
    view_.counters.events = view_.events.size();
    view_.accounts[0].live = {view_.buffers.size(), held_, held_};
    if (kept < view_.events.size()) {
      view_.events.erase(view_.events.begin(), view_.events.end() - static_cast<std::ptrdiff_t>(kept));
    }
    return {&view_, nullptr, &accounts_, 0, began_ns, UINT64_MAX};
  }

  const std::vector<uint64_t>& ids() {
    ids_.clear();
    for (const LedgerBuffer& buffer : view_.buffers) ids_.push_back(buffer.id);
    return ids_;
  }
  LedgerView& view() { return view_; }
  uint64_t held() const { return held_; }
  // After the last event that was not later.
  uint64_t HeldAt(uint64_t time_ns) const {
    const auto after = history_.upper_bound(time_ns);
    return after == history_.begin() ? 0 : std::prev(after)->second;
  }

 private:
  void Add(uint32_t operation, uint64_t time_ns, const LedgerBuffer& buffer) {
    LedgerEvent event;
    event.operation = operation;
    event.number = view_.events.empty() ? 0 : view_.events.back().number + 1;
    event.id = buffer.id;
    event.bytes_requested = buffer.bytes_requested;
    event.bytes_per_bank = buffer.bytes_per_bank;
    event.tag = buffer.tag;
    event.time_ns = time_ns;
    event.account = 0;
    view_.events.push_back(event);
  }
  void Noted(uint64_t time_ns) { history_[time_ns] = held_; }

  LedgerView view_;
  std::vector<AccountPlace> accounts_;
  std::map<uint64_t, uint64_t> history_;
  std::vector<uint64_t> ids_;
  uint64_t next_id_ = 1;
  uint64_t held_ = 0;
};

struct Found {
  std::vector<std::optional<Moment>> highest;
  std::vector<Moment> at_failure;
};

Found Search(std::vector<MomentSearch::Source> sources, const std::vector<MomentSearch::Failure>& failures,
             bool wants_peak = true) {
  Found found;
  std::vector<MomentSearch::Wish> wishes;
  if (wants_peak) wishes.push_back({0, {0, false}, false, 0});
  MomentSearch(std::move(sources)).Search(wishes, failures, &found.highest, &found.at_failure);
  return found;
}

uint64_t OfTag(const Moment& moment, const std::string& tag) {
  uint64_t bytes = 0;
  for (const Share& share : moment.shares)
    bytes += share.tag_known && share.tag == tag ? share.amount.bytes_reserved : 0;
  return bytes;
}

TEST(MomentSearch, WhatWasHeldWhenAnAllocationFailed) {
  Process process;
  const uint64_t first = process.Allocate(10, 100, 2);
  process.Allocate(20, 50, 3);
  const MomentSearch::Failure failure = process.Fail(30, 0);
  process.Free(40, first);
  process.Allocate(50, 7, 3);
  const Found found = Search({process.Read(60)}, {failure});
  EXPECT_TRUE(found.at_failure[0].exact);
  EXPECT_EQ(found.at_failure[0].total.bytes_reserved, 150u);
  EXPECT_EQ(OfTag(found.at_failure[0], "one"), 100u);
  EXPECT_EQ(OfTag(found.at_failure[0], "two"), 50u);
  EXPECT_EQ(found.highest[0]->total.bytes_reserved, 150u);
  EXPECT_TRUE(found.highest[0]->exact);
}

// A reading shows one instant of one process, whenever in its course that was.
TEST(MomentSearch, OneProcessThatFailedWhileItWasRead) {
  Process process;
  process.Allocate(10, 100, 2);
  const MomentSearch::Failure failure = process.Fail(30, 0);
  const Found found = Search({process.Read(25)}, {failure});
  EXPECT_TRUE(found.at_failure[0].exact);
  EXPECT_EQ(found.at_failure[0].total.bytes_reserved, 100u);
}

// Of two, the other may have done something since it was read.
TEST(MomentSearch, TwoProcessesOfWhichOneFailedWhileTheyWereRead) {
  Process one;
  Process two;
  one.Allocate(10, 100, 2);
  two.Allocate(15, 40, 2);
  const MomentSearch::Failure failure = one.Fail(30, 0);
  const Found late = Search({one.Read(25), two.Read(26)}, {failure}, false);
  EXPECT_FALSE(late.at_failure[0].exact);
  EXPECT_EQ(late.at_failure[0].total.bytes_reserved, 140u);
  const Found after = Search({one.Read(31), two.Read(32)}, {failure}, false);
  EXPECT_TRUE(after.at_failure[0].exact);
  EXPECT_EQ(after.at_failure[0].total.bytes_reserved, 140u);
}

TEST(MomentSearch, BeyondTheRecorderNothingIsExact) {
  Process process;
  process.Allocate(10, 100, 2);
  const MomentSearch::Failure failure = process.Fail(20, 0);
  process.Allocate(30, 5, 2);
  process.Allocate(40, 5, 2);
  const Found found = Search({process.Read(50, 2)}, {failure});
  EXPECT_FALSE(found.at_failure[0].exact);
}

TEST(MomentSearch, TornReadingsAreNotExact) {
  Process process;
  process.Allocate(10, 100, 2);
  const MomentSearch::Failure failure = process.Fail(20, 0);
  const MomentSearch::Source source = process.Read(50);
  process.view().buffers_exact = false;
  EXPECT_FALSE(Search({source}, {failure}).at_failure[0].exact);
}

TEST(MomentSearch, AgreesWithAModel) {
  std::mt19937_64 chance(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<Process> processes(1 + chance() % 3);
    std::vector<MomentSearch::Failure> failures;
    uint64_t now_ns = 0;
    uint64_t peak = 0;
    const size_t steps = 1 + chance() % 60;
    for (size_t step = 0; step < steps; ++step) {
      now_ns += 1 + chance() % 5;
      const size_t at = chance() % processes.size();
      Process& process = processes[at];
      const uint64_t pick = chance() % 10;
      if (pick < 5) {
        process.Allocate(now_ns, 1 + chance() % 1000, static_cast<uint32_t>(2 + chance() % 2));
      } else if (pick < 9 && !process.ids().empty()) {
        process.Free(now_ns, process.ids()[chance() % process.ids().size()]);
      } else {
        failures.push_back(process.Fail(now_ns, at));
      }
      uint64_t sum = 0;
      for (const Process& each : processes) sum += each.held();
      peak = std::max(peak, sum);
    }
    std::vector<MomentSearch::Source> sources;
    sources.reserve(processes.size());
    for (Process& process : processes) sources.push_back(process.Read(++now_ns));
    const Found found = Search(sources, failures);
    for (size_t f = 0; f < failures.size(); ++f) {
      uint64_t held = 0;
      for (const Process& process : processes) held += process.HeldAt(failures[f].time_ns);
      EXPECT_TRUE(found.at_failure[f].exact) << "round " << round;
      EXPECT_EQ(found.at_failure[f].total.bytes_reserved, held) << "round " << round;
    }
    if (peak != 0) {
      ASSERT_TRUE(found.highest[0].has_value()) << "round " << round;
      EXPECT_EQ(found.highest[0]->total.bytes_reserved, peak) << "round " << round;
      EXPECT_TRUE(found.highest[0]->exact || processes.size() > 1) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace memtally::tools
