// SPDX-License-Identifier: Apache-2.0
#include "tools/top/tag_tree.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>

#include "snapshot_fixture.hpp"

namespace memtally::tools::top {
namespace {

std::string Outline(const LedgerView& facts, const TagFolds& folds) {
  std::string text;
  for (const TagNode& node : BuildTagTree(facts, folds)) {
    const std::string fold = !node.has_children ? " " : node.open ? "-" : "+";
    text += std::string(static_cast<size_t>(node.depth), '.') + fold +
            (node.tag == 0 ? "none" : facts.tags[node.tag].name) + ":" + std::to_string(node.sums.bytes_reserved) +
            "/" + std::to_string(node.sums.buffers) + "\n";
  }
  return text;
}

TEST(TagTree, SumsWhatLiesBelow) {
  collect::Process process = MakeProcess(1, "x");
  const uint32_t a = AddTag(&process, "a");
  const uint32_t b = AddTag(&process, "b", a);
  const uint32_t c = AddTag(&process, "c", b);
  AddTag(&process, "empty", a);
  const uint32_t d = AddTag(&process, "d");
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 12, a);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 24, b);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 48, c);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 96, d);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 12);
  EXPECT_EQ(Outline(process.facts, {}), " d:96/1\n-a:84/3\n.+b:72/2\n none:12/1\n");
  EXPECT_EQ(Outline(process.facts, {true, {}}), " d:96/1\n-a:84/3\n.-b:72/2\n.. c:48/1\n none:12/1\n");
  EXPECT_EQ(Outline(process.facts, {false, {a}}), " d:96/1\n+a:84/3\n none:12/1\n");
  EXPECT_EQ(Outline(process.facts, {false, {b}}), " d:96/1\n-a:84/3\n.-b:72/2\n.. c:48/1\n none:12/1\n");
}

TEST(TagTree, LeavesOutWhatIsNoPartOfTheSum) {
  collect::Process process = MakeProcess(1, "x");
  const uint32_t a = AddTag(&process, "a");
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 12, a);
  AddBuffer(&process, MEMTALLY_KIND_CB, 64, a);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 1200, a);
  process.facts.buffers.back().imported = true;
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 1200, a);
  process.facts.buffers.back().released = true;
  const std::vector<TagNode> nodes = BuildTagTree(process.facts, {});
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].sums.buffers, 2u);
  EXPECT_EQ(nodes[0].sums.bytes_reserved, 12u);
  EXPECT_EQ(nodes[0].sums.bytes_other, 64u);
}

TEST(TagTree, SurvivesParentsThatCannotBe) {
  collect::Process process = MakeProcess(1, "x");
  const uint32_t a = AddTag(&process, "a", 3);
  const uint32_t b = AddTag(&process, "b", 2);
  const uint32_t c = AddTag(&process, "c", 4);
  const uint32_t d = AddTag(&process, "d", 99999);
  for (const uint32_t tag : {a, b, c, d, 12345u}) AddBuffer(&process, MEMTALLY_KIND_DRAM, 12, tag);
  EXPECT_EQ(Outline(process.facts, {true, {}}), "-a:24/2\n. b:12/1\n c:12/1\n d:12/1\n none:12/1\n");
  process.facts.tags.clear();
  EXPECT_EQ(Outline(process.facts, {true, {}}), " none:60/5\n");
}

TEST(TagTree, ManyTagsInADeepChain) {
  collect::Process process = MakeProcess(1, "x");
  uint32_t parent = 0;
  for (int i = 0; i < 60000; ++i) parent = AddTag(&process, "t", parent);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 12, parent);
  EXPECT_EQ(BuildTagTree(process.facts, {true, {}}).size(), 60000u);
  EXPECT_EQ(BuildTagTree(process.facts, {}).size(), 2u);
}

}  // namespace
}  // namespace memtally::tools::top
