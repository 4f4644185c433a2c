// SPDX-License-Identifier: Apache-2.0
#include "tools/tag_tree.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace memtally::tools {
namespace {

// 2 "model", 3 "model / layer 10", 4 "model / layer 2", 5 "other".
LedgerView MakeLedger() {
  LedgerView facts;
  facts.tags = {{0, "", false},         {0, "(other)", false}, {0, "model", false},
                {2, "layer 10", false}, {2, "layer 2", false}, {0, "other", false}};
  return facts;
}

Amount Bytes(uint64_t bytes) { return {1, bytes / 2, bytes}; }

std::vector<std::string> Names(const TagTree& tree, const TagTree::Node& node) {
  std::vector<std::string> names;
  for (const uint32_t child : node.children) names.push_back(tree.nodes()[child].name);
  return names;
}

TEST(TagTree, SumsUpwards) {
  const LedgerView facts = MakeLedger();
  TagTree tree;
  tree.Add(facts, 3, Bytes(100));
  tree.Add(facts, 3, Bytes(10));
  tree.Add(facts, 4, Bytes(110));
  tree.Add(facts, 2, Bytes(1000));
  tree.Add(facts, 0, Bytes(7));
  tree.Add(facts, 5, Bytes(2000));
  tree.Finish(TagOrder::kSize);
  EXPECT_EQ(tree.root().own, (Amount{1, 3, 7}));
  EXPECT_EQ(tree.root().total, (Amount{6, 1613, 3227}));
  EXPECT_EQ(Names(tree, tree.root()), (std::vector<std::string>{"other", "model"}));
  const TagTree::Node& model = tree.nodes()[tree.root().children[1]];
  EXPECT_EQ(model.own.bytes_reserved, 1000u);
  EXPECT_EQ(model.total, (Amount{4, 610, 1220}));
  // Of the same size: by name, numbers as numbers.
  EXPECT_EQ(Names(tree, model), (std::vector<std::string>{"layer 2", "layer 10"}));
  EXPECT_EQ(tree.DescendantsOf(0), 4u);
}

TEST(TagTree, Orders) {
  const LedgerView facts = MakeLedger();
  for (const TagOrder order : {TagOrder::kSize, TagOrder::kName, TagOrder::kCount}) {
    TagTree tree;
    tree.Add(facts, 5, Bytes(1000));
    tree.Add(facts, 2, Bytes(1));
    tree.Add(facts, 2, Bytes(1));
    tree.Finish(order);
    const bool other_first = order == TagOrder::kSize;
    EXPECT_EQ(Names(tree, tree.root()).front(), other_first ? "other" : "model");
  }
}

TEST(TagTree, MergesLedgersByName) {
  const LedgerView facts = MakeLedger();
  LedgerView second;
  second.tags = {{0, "", false}, {0, "(other)", false}, {3, "layer 2", false}, {0, "model", false}};
  TagTree tree;
  tree.Add(facts, 4, Bytes(10));
  tree.Add(second, 2, Bytes(5));
  tree.Finish(TagOrder::kSize);
  ASSERT_EQ(tree.nodes().size(), 3u);
  EXPECT_EQ(tree.nodes()[2].name, "layer 2");
  EXPECT_EQ(tree.nodes()[2].own.bytes_reserved, 15u);
}

// What a hostile ledger may hold: tags that are not there, that go round in circles, and a tower of them.
TEST(TagTree, TrustsNothing) {
  LedgerView facts = MakeLedger();
  facts.tags[2].parent = 3;
  TagTree tree;
  tree.Add(facts, 3, Bytes(1));
  tree.Add(facts, 99, Bytes(2));
  tree.Add(facts, UINT32_MAX, {1, UINT64_MAX, UINT64_MAX});
  LedgerView tower;
  tower.tags.resize(60'000);
  for (uint32_t i = 1; i < tower.tags.size(); ++i) tower.tags[i] = {i - 1, "x", false};
  tree.Add(tower, 59'999, Bytes(3));
  tree.Finish(TagOrder::kSize);
  EXPECT_EQ(tree.root().total.count, 4u);
  EXPECT_EQ(tree.root().total.bytes_reserved, UINT64_MAX);
  EXPECT_LT(tree.nodes().size(), 1000u);
}

}  // namespace
}  // namespace memtally::tools
