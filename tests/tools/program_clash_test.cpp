// SPDX-License-Identifier: Apache-2.0
#include "tools/program_clash.hpp"

#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>

namespace memtally::tools {
namespace {

// Two devices, each with an account of L1 (even) and one of dataflow buffers (odd).
class ProgramClashTest : public testing::Test {
 protected:
  ProgramClashTest() {
    LedgerView& facts = process_.facts;
    facts.kinds.push_back({MEMTALLY_KIND_L1, MEMTALLY_KIND_L1, std::nullopt, false, false, "l1"});
    facts.kinds.push_back({MEMTALLY_KIND_DFB, MEMTALLY_KIND_L1, std::nullopt, true, false, "dfb"});
    facts.tags.resize(2);
    facts.groups.push_back({7, "program 7"});
    for (uint32_t device = 0; device < 2; ++device) {
      facts.devices.emplace_back();
      facts.devices.back().index = device;
      facts.devices.back().local_index = static_cast<int32_t>(device) + 4;
      for (const uint32_t kind : {MEMTALLY_KIND_L1, MEMTALLY_KIND_DFB}) {
        LedgerAccount account;
        account.index = static_cast<uint32_t>(facts.accounts.size());
        account.device = device;
        account.kind = kind;
        facts.accounts.push_back(account);
      }
    }
  }

  LedgerBuffer& Add(uint32_t account, uint64_t address, uint64_t bytes, uint64_t group = 0) {
    LedgerBuffer buffer;
    buffer.id = process_.facts.buffers.size() + 1;
    buffer.account = account;
    buffer.address = address;
    buffer.bytes_per_bank = bytes;
    buffer.group = group;
    return process_.facts.buffers.emplace_back(buffer);
  }

  collect::Process process_;
};

TEST_F(ProgramClashTest, TheExtentOfAProgramCounts) {
  Add(1, 100, 10, 7);
  Add(1, 300, 10, 7);
  Add(0, 200, 5);
  Add(0, 310, 5);  // begins where the program ends
  Add(0, 90, 10);  // ends where it begins
  const std::vector<ProgramClash> clashes = FindProgramClashes(process_, {}, {});
  ASSERT_EQ(clashes.size(), 1u);
  EXPECT_EQ(clashes[0].begin, 100u);
  EXPECT_EQ(clashes[0].end, 310u);
  EXPECT_EQ(clashes[0].buffers, 2u);
  EXPECT_EQ(clashes[0].program, "program 7");
  ASSERT_EQ(clashes[0].in_the_way.size(), 1u);
  EXPECT_EQ(clashes[0].lowest(), 200u);
  EXPECT_EQ(clashes[0].bytes_per_bank, 5u);
}

TEST_F(ProgramClashTest, DevicesAndProgramsAreApart) {
  Add(1, 100, 10, 7);
  Add(1, 100, 50, 8);
  Add(3, 100, 10, 7);
  Add(0, 120, 10);
  Add(2, 105, 1);
  const std::vector<ProgramClash> all = FindProgramClashes(process_, {}, {});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].device, 0u);
  EXPECT_EQ(all[0].group, 8u);
  EXPECT_EQ(all[1].device, 1u);
  EXPECT_EQ(all[1].group, 7u);
  EXPECT_EQ(FindProgramClashes(process_, 5, {}).size(), 1u);
  EXPECT_EQ(FindProgramClashes(process_, 3, {}).size(), 0u);
  EXPECT_EQ(FindProgramClashes(process_, {}, 8).size(), 1u);
}

TEST_F(ProgramClashTest, WhatIsNotThereIsNotInTheWay) {
  Add(1, 100, 10, 7);
  Add(0, 100, 10).released = true;
  Add(0, 100, 10).imported = true;
  Add(9, 100, 10);  // an account that the ledger does not have
  EXPECT_TRUE(FindProgramClashes(process_, {}, {}).empty());
}

TEST_F(ProgramClashTest, NumbersOfAHostileLedgerDoNotWrap) {
  Add(1, UINT64_MAX - 5, UINT64_MAX, 7);
  Add(0, UINT64_MAX - 1, UINT64_MAX);
  const std::vector<ProgramClash> clashes = FindProgramClashes(process_, {}, {});
  ASSERT_EQ(clashes.size(), 1u);
  EXPECT_EQ(clashes[0].end, UINT64_MAX);
}

}  // namespace
}  // namespace memtally::tools
