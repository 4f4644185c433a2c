// SPDX-License-Identifier: Apache-2.0
//
// LaneCopy, step by step: what other lanes have found out is not forgotten.
#include "ledger/reader/lane_copy.hpp"

#include <cstdint>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "ledger_builder.hpp"

namespace memtally::test {
namespace {

using reader::LaneCopy;

class LaneCopyTest : public testing::Test {
 protected:
  LaneCopyTest() {
    builder_.AddKind(0, 0, ~0u, 0, "dram");
    builder_.AddDevice(0);
    builder_.AddAccount(0, 0, 0, 1);
    builder_.AddLane(16);
    path_ = directory_.Write(builder_);
    wish_.offset = builder_.LaneAt(0);
    wish_.accounts = 1;
    wish_.take_back = LaneCopy::Wish::TakeBack::kAll;
  }

  void Store(uint64_t at, uint64_t value) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  // Copies once more; `before`: what the lanes before this one have said of their words.  Returns what is said after.
  bool Copy(reader::LedgerBytes& bytes, bool before) {
    reader::Claims claims;
    reader::Gaps gaps;
    uint64_t budget = 1 << 20;
    bool words_changed = before;
    copy_.Copy(bytes, wish_, claims, gaps, &budget, &words_changed);
    return words_changed;
  }

  TemporaryDirectory directory_;
  LedgerBuilder builder_;
  std::string path_;
  LaneCopy::Wish wish_;
  LaneCopy copy_;
};

// A lane whose call was taken back without having changed a word, and then went on: the words of another lane have
// changed all the same.  Were that forgotten, reads would go on seeing the other lane's old sums beside its new
// sequence.
TEST_F(LaneCopyTest, WordsOfOtherLanesStayChanged) {
  reader::HeldDescriptor descriptor;
  ASSERT_EQ(descriptor.Open(path_), 0);
  reader::LedgerBytes bytes(std::move(descriptor));
  ASSERT_TRUE(bytes.Refresh());
  Store(wish_.offset, 7);  // a call under way that has noted nothing to undo
  EXPECT_FALSE(Copy(bytes, false));
  EXPECT_TRUE(copy_.taken_back());
  Store(wish_.offset, 8);
  EXPECT_FALSE(copy_.StillTrue(bytes));
  EXPECT_TRUE(Copy(bytes, true));
  EXPECT_FALSE(copy_.taken_back());
  EXPECT_EQ(copy_.sequence(), 8u);
}

TEST_F(LaneCopyTest, ItsOwnWordsAreDroppedWhenItGoesOn) {
  reader::HeldDescriptor descriptor;
  ASSERT_EQ(descriptor.Open(path_), 0);
  reader::LedgerBytes bytes(std::move(descriptor));
  ASSERT_TRUE(bytes.Refresh());
  Store(wish_.offset, 7);
  Store(wish_.offset + kUndoAt, 7);
  Store(wish_.offset + kUndoAt + 8, uint64_t{0} << 32);      // no words, account 0
  Store(wish_.offset + kUndoAt + 16, uint64_t{0xffffffff});  // no slot
  EXPECT_TRUE(Copy(bytes, false));
  EXPECT_EQ(copy_.old_words().size(), 8u);
  Store(wish_.offset, 8);
  EXPECT_TRUE(Copy(bytes, false));
  EXPECT_TRUE(copy_.old_words().empty());
  EXPECT_FALSE(Copy(bytes, false));
}

}  // namespace
}  // namespace memtally::test
