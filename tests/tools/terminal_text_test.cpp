// SPDX-License-Identifier: Apache-2.0
#include "tools/terminal_text.hpp"

#include <cstdint>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace memtally::tools {
namespace {

TEST(TerminalText, LeavesOrdinaryTextAlone) {
  for (const char* text : {"", "llama", "decode / layer 3", "100 % ~ {}", "Größe", "日本語", "naïve e\u0301"}) {
    EXPECT_EQ(TerminalText(text), text);
  }
}

TEST(TerminalText, EscapesControlCharacters) {
  EXPECT_EQ(TerminalText("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(TerminalText(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(TerminalText("\n\r\t\x7f"), "\\n\\r\\t\\x7f");
  EXPECT_EQ(TerminalText("\u009b31m"), "\\u{9b}31m");  // the one-character control sequence introducer
}

TEST(TerminalText, EscapesWhatIsNotSeenOrTurnsText) {
  EXPECT_EQ(TerminalText("a\u202eb"), "a\\u{202e}b");
  EXPECT_EQ(TerminalText("\u2066\u200b\ufeff\u00ad"), "\\u{2066}\\u{200b}\\u{feff}\\u{ad}");
  EXPECT_EQ(TerminalText("\u2028"), "\\u{2028}");
  EXPECT_EQ(TerminalText("\U000e0041\U0010ffff"), "\\u{e0041}\\u{10ffff}");
}

TEST(TerminalText, TellsEscapesFromText) { EXPECT_EQ(TerminalText("\\x1b"), "\\\\x1b"); }

TEST(TerminalText, EscapesInvalidBytes) {
  EXPECT_EQ(TerminalText("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(TerminalText("\xc0\xaf"), "\\xc0\\xaf");                    // longer than it needs to be
  EXPECT_EQ(TerminalText("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // half of a pair
  EXPECT_EQ(TerminalText("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond the last character
  EXPECT_EQ(TerminalText("\xc3"), "\\xc3");
  EXPECT_EQ(TerminalText("\xc3x"), "\\xc3x");
}

TEST(TerminalText, StopsTowersOfCombiningCharacters) {
  std::string tower = "e";
  for (int i = 0; i < 5; ++i) tower += "\u0301";
  EXPECT_EQ(TerminalText(tower), "e\u0301\u0301\u0301\\u{301}\\u{301}");
}

TEST(TerminalText, CutsToColumns) {
  EXPECT_EQ(TerminalText("0123456789", 10), "0123456789");
  EXPECT_EQ(TerminalText("0123456789x", 10), "0123456...");
  EXPECT_EQ(TerminalText("0123456789x", 10, Cut::kBegin), "...456789x");
  EXPECT_EQ(TerminalText("日本語日本語", 8), "日本...");
  EXPECT_EQ(TerminalText("日本語日本語", 8, Cut::kBegin), "...本語");
  EXPECT_EQ(TerminalText(std::string(1000000, 'x'), 5), "xx...");
}

TEST(TerminalText, DoesNotCutAnEscape) {
  EXPECT_EQ(TerminalText("abc\x1b[2Jxyz", 8), "abc...");
  EXPECT_EQ(TerminalText("xxxxxxxx\x1bx", 7, Cut::kBegin), "...x");
}

TEST(TerminalText, NeverWritesWhatATerminalActsOn) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 40; ++i) {
      const auto kind = random() % 3;
      if (kind == 0) text += static_cast<char>(random() % 256);
      if (kind == 1) text += static_cast<char>(random() % 32);
      if (kind == 2) text += "\xe2\x80";  // what many invisible characters begin with
    }
    const size_t columns = random() % 30 + 4;
    for (const Cut cut : {Cut::kEnd, Cut::kBegin}) {
      const std::string shown = TerminalText(text, columns, cut);
      EXPECT_LE(TerminalWidth(shown), columns);
      for (const char c : shown) EXPECT_FALSE(static_cast<uint8_t>(c) < 0x20 || c == 0x7f);
      EXPECT_EQ(shown.find("\u202e"), std::string::npos);
    }
  }
}

TEST(TerminalWidth, CountsColumns) {
  EXPECT_EQ(TerminalWidth("abc"), 3u);
  EXPECT_EQ(TerminalWidth("日本"), 4u);
  EXPECT_EQ(TerminalWidth("e\u0301"), 1u);
  EXPECT_EQ(TerminalWidth("🚀"), 2u);
  EXPECT_EQ(TerminalWidth("é"), 1u);
}

}  // namespace
}  // namespace memtally::tools
