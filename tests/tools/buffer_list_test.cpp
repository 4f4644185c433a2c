// SPDX-License-Identifier: Apache-2.0
#include "tools/buffer_list.hpp"

#include <string>

#include <gtest/gtest.h>

namespace memtally::tools {
namespace {

// A process with an account of 12 banks, and buffers that a test adds.
collect::Process MakeProcess() {
  collect::Process process;
  LedgerView& ledger = process.facts;
  ledger.devices.emplace_back().local_index = 4;
  ledger.kinds.emplace_back().name = "dram";
  ledger.accounts.emplace_back().banks = 12;
  ledger.tags.resize(3);
  ledger.tags[2].name = "layer";
  return process;
}

LedgerBuffer& Add(collect::Process* process, uint64_t id, uint64_t bytes_per_bank, uint32_t tag) {
  LedgerBuffer& buffer = process->facts.buffers.emplace_back();
  buffer.id = id;
  buffer.address = 100 * id;
  buffer.bytes_requested = bytes_per_bank;
  buffer.bytes_per_bank = bytes_per_bank;
  buffer.tag = tag;
  return buffer;
}

TEST(BufferList, SumsByTag) {
  collect::Process process = MakeProcess();
  Add(&process, 1, 10, 2);
  Add(&process, 2, 20, 0);
  Add(&process, 3, 5, 2);
  Add(&process, 4, 1000, 2).imported = true;
  Add(&process, 5, 1000, 2).released = true;
  const BufferList list({&process}, {});
  EXPECT_EQ(list.rows().size(), 4u);
  const std::vector<BufferSum> sums = list.Sums(Grouping::kTag);
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_EQ(sums[0].bytes_reserved, 240u);
  EXPECT_EQ(*sums[0].tag_path, "");
  EXPECT_EQ(sums[1].bytes_reserved, 180u);
  EXPECT_EQ(sums[1].count, 2u);
  EXPECT_EQ(sums[1].imported, 1u);
  EXPECT_EQ(sums[1].lowest_address, 100u);
  EXPECT_EQ(sums[1].highest_end, 305u);
  EXPECT_EQ(list.Sums(Grouping::kKind).front().count, 3u);
}

TEST(BufferList, Filters) {
  collect::Process process = MakeProcess();
  Add(&process, 1, 10, 2);
  Add(&process, 2, 10, 0);
  EXPECT_EQ(BufferList({&process}, {.device = 4, .kind = "", .tag = nullptr}).rows().size(), 2u);
  EXPECT_EQ(BufferList({&process}, {.device = 0, .kind = "", .tag = nullptr}).rows().size(), 0u);
  EXPECT_EQ(BufferList({&process}, {.device = {}, .kind = "DRAM", .tag = nullptr}).rows().size(), 2u);
  EXPECT_EQ(BufferList({&process}, {.device = {}, .kind = "l1", .tag = nullptr}).rows().size(), 0u);
  std::string error;
  EXPECT_EQ(
      BufferList({&process}, {.device = {}, .kind = "", .tag = TagPattern::Compile("^lay", &error)}).rows().size(), 1u);
  EXPECT_EQ(TagPattern::Compile("(", &error), nullptr);
  EXPECT_NE(error, "");
}

TEST(BufferList, SumsBySize) {
  collect::Process process = MakeProcess();
  Add(&process, 1, 10, 2);
  Add(&process, 2, 20, 0);
  Add(&process, 3, 10, 0);
  Add(&process, 4, 10, 0);
  const std::vector<BufferSum> sums = BufferList({&process}, {}).Sums(Grouping::kSize);
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_EQ(sums[0].size, 10u);
  EXPECT_EQ(sums[0].count, 3u);
  EXPECT_EQ(sums[0].bytes_reserved, 360u);
  EXPECT_EQ(sums[1].size, 20u);
}

// What a hostile ledger may hold.
TEST(BufferList, TrustsNothing) {
  collect::Process process = MakeProcess();
  Add(&process, 1, UINT64_MAX, 4'000'000'000u);
  Add(&process, 2, UINT64_MAX, 2);
  Add(&process, 3, 1, 2).account = 999;
  Add(&process, 4, 1, 1).address = UINT64_MAX;
  process.facts.accounts.front().device = 77;
  process.facts.accounts.front().kind = 78;
  BufferList list({&process}, {});
  EXPECT_EQ(list.rows().size(), 3u);
  for (const BufferOrder order : {BufferOrder::kSize, BufferOrder::kAge, BufferOrder::kId, BufferOrder::kAddress}) {
    list.Sort(order);
  }
  const BufferSum sum = list.Sums(Grouping::kKind).front();
  EXPECT_EQ(sum.bytes_reserved, UINT64_MAX);
  EXPECT_EQ(sum.highest_end, UINT64_MAX);
  EXPECT_EQ(list.Sums(Grouping::kSize).size(), 2u);
}

TEST(TagPattern, CopesWithLongText) {
  std::string error;
  const auto pattern = TagPattern::Compile("(a|b)*c$", &error);
  ASSERT_NE(pattern, nullptr);
  EXPECT_FALSE(pattern->Matches(std::string(60000, 'a')));
}

}  // namespace
}  // namespace memtally::tools
