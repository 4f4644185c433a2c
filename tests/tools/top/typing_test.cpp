// SPDX-License-Identifier: Apache-2.0
//
// What people type: lines, and expressions to filter by.
#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include "tools/top/line_editor.hpp"
#include "tools/top/row_filter.hpp"

namespace memtally::tools::top {
namespace {

TEST(LineEditor, EditsUtf8) {
  LineEditor line("aé日🚀");
  for (int i = 0; i < 3; ++i) line.Take({KeyCode::kLeft});
  EXPECT_EQ(line.before(), "a");
  line.Take(Character(U'ß'));
  EXPECT_EQ(line.text(), "aßé日🚀");
  line.Take({KeyCode::kDelete});
  EXPECT_EQ(line.text(), "aß日🚀");
  line.Take({KeyCode::kEnd});
  line.Take({KeyCode::kBackspace});
  EXPECT_EQ(line.text(), "aß日");
  line.Take({KeyCode::kHome});
  line.Take({KeyCode::kBackspace});
  line.Take({KeyCode::kLeft});
  EXPECT_EQ(line.before(), "");
  line.Take({KeyCode::kRight});
  line.Take({KeyCode::kControlU});
  EXPECT_EQ(line.text(), "ß日");
}

TEST(LineEditor, TakesOnlyTextAndOnlySoMuch) {
  LineEditor line;
  EXPECT_FALSE(line.Take(Character(0x1b)));
  EXPECT_FALSE(line.Take(Character(0x9b)));
  EXPECT_FALSE(line.Take(Character(0xd800)));
  EXPECT_FALSE(line.Take(Character(0x110000)));
  EXPECT_FALSE(line.Take({KeyCode::kUp}));
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(line.Take(Character(U'日')));
  EXPECT_LE(line.text().size(), LineEditor::kMaxBytes);
  EXPECT_EQ(line.text().size() % 3, 0u);
}

TEST(RowFilter, MatchesAnywhereCapitalsOrNot) {
  std::string error;
  const auto filter = RowFilter::Compile("^(llama|Serve)[0-9]{1,3}$", &error);
  ASSERT_NE(filter, nullptr) << error;
  EXPECT_TRUE(filter->Matches("serve12"));
  EXPECT_TRUE(filter->Matches("LLAMA1"));
  EXPECT_FALSE(filter->Matches("llama1234"));
  EXPECT_EQ(filter->expression(), "^(llama|Serve)[0-9]{1,3}$");
}

TEST(RowFilter, SaysWhatIsWrong) {
  const std::string wrong[] = {"(",
                               "[a",
                               "a{2",
                               "*)(",
                               "(a)\\1",
                               "a{999}{999}",
                               "a{99999}",
                               "((((a{30}){30}){30}){30}){30}",
                               std::string(201, 'a')};
  for (const std::string& expression : wrong) {
    std::string error;
    EXPECT_EQ(RowFilter::Compile(expression, &error), nullptr) << expression;
    EXPECT_GT(error.size(), 5u) << expression;
  }
  std::string error;
  EXPECT_NE(RowFilter::Compile("[]1-9{]\\{", &error), nullptr) << error;
  EXPECT_NE(RowFilter::Compile("[^]{99999}]", &error), nullptr) << error;
}

TEST(RowFilter, AnswersSoonWhateverTheExpression) {
  std::string error;
  const auto begin = std::chrono::steady_clock::now();
  for (const char* expression : {"(a*)*b", "(a|a)*b", "(a+)+b", "(.*)*x", "((a{1,30}){1,30})*b", "(a?){500}a*b"}) {
    const auto filter = RowFilter::Compile(expression, &error);
    ASSERT_NE(filter, nullptr) << expression << ": " << error;
    EXPECT_FALSE(filter->Matches(std::string(100000, 'a') + "c")) << expression;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace memtally::tools::top
