// SPDX-License-Identifier: Apache-2.0
#include "tools/suppressions.hpp"

#include <fnmatch.h>

#include <random>
#include <string>

#include <gtest/gtest.h>

namespace memtally::tools {
namespace {

TEST(GlobMatches, WhatGlobsMean) {
  EXPECT_TRUE(GlobMatches("load", "load"));
  EXPECT_FALSE(GlobMatches("load", "loads"));
  EXPECT_FALSE(GlobMatches("load", "preload"));
  EXPECT_TRUE(GlobMatches("*load", "preload"));
  EXPECT_TRUE(GlobMatches("layer ?", "layer 3"));
  EXPECT_FALSE(GlobMatches("layer ?", "layer 13"));
  EXPECT_TRUE(GlobMatches("layer [0-9]*", "layer 13"));
  EXPECT_FALSE(GlobMatches("layer [!0-9]*", "layer 13"));
  EXPECT_TRUE(GlobMatches("a*b*c", "a / b / b / c"));
  EXPECT_TRUE(GlobMatches("[]x]", "]"));
  EXPECT_TRUE(GlobMatches("\\*", "*"));
  EXPECT_FALSE(GlobMatches("\\*", "x"));
  EXPECT_TRUE(GlobMatches("", ""));
  EXPECT_TRUE(GlobMatches("**", ""));
  EXPECT_FALSE(GlobMatches("?", ""));
}

// The C library agrees, on small alphabets where nearly everything happens.
TEST(GlobMatches, AgreesWithTheLibrary) {
  std::mt19937 random(7);
  const std::string glob_letters = "ab*?*[]-!\\";
  const std::string text_letters = "ab-]";
  int matched = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string glob(random() % 7, ' ');
    for (char& c : glob) c = glob_letters[random() % glob_letters.size()];
    std::string text(random() % 7, ' ');
    for (char& c : text) c = text_letters[random() % text_letters.size()];
    // What a set without an end, a backslash in a set, ranges of nothing and one at the end mean is the library's
    // affair.
    const size_t open = glob.find('[');
    if (open != std::string::npos && (glob.find(']', open + 2) == std::string::npos ||
                                      glob.find('\\') != std::string::npos || glob.find('-') != std::string::npos ||
                                      glob.find('[', open + 1) != std::string::npos || glob.substr(open, 3) == "[!]")) {
      continue;
    }
    if (!glob.empty() && glob.back() == '\\') continue;
    const bool expected = fnmatch(glob.c_str(), text.c_str(), 0) == 0;
    matched += expected ? 1 : 0;
    ASSERT_EQ(GlobMatches(glob, text), expected) << glob << " | " << text;
  }
  EXPECT_GT(matched, 1000);
}

// A hostile tag must not make the command hang.
TEST(GlobMatches, TakesNoTimeToSpeakOf) {
  const std::string text(60'000, 'a');
  EXPECT_FALSE(GlobMatches("*a*a*a*a*a*a*a*a*b", text));
}

TEST(Suppressions, ParsesLinesAndNamesWhatIsWrong) {
  Suppressions suppressions;
  std::string error;
  ASSERT_TRUE(suppressions.Parse("# comment\n\n  load \r\nrequest / debug*\n-", "known", &error)) << error;
  ASSERT_EQ(suppressions.entries().size(), 3u);
  EXPECT_EQ(suppressions.entries()[0].glob, "load");
  EXPECT_EQ(suppressions.entries()[0].line, 3u);
  EXPECT_EQ(suppressions.entries()[2].line, 5u);
  EXPECT_FALSE(suppressions.Parse("a\nlayer [0\n", "known", &error));
  EXPECT_EQ(error.rfind("known:2: '[' without ']'", 0), 0u) << error;
  EXPECT_TRUE(suppressions.Parse("layer \\[0\n", "known", &error));
  EXPECT_FALSE(suppressions.Parse(std::string_view("a\0b", 3), "known", &error));
  EXPECT_FALSE(suppressions.Read("/nowhere/at/all", &error));
  EXPECT_NE(error.find("/nowhere/at/all: cannot be read: No such file"), std::string::npos) << error;
  EXPECT_FALSE(suppressions.Read("/", &error));
}

TEST(Suppressions, MatchPathsAndTheirBeginnings) {
  Suppressions suppressions;
  std::string error;
  ASSERT_TRUE(suppressions.Parse("load\nrequest / debug*\n*cache\n-\n", "known", &error));
  const auto line = [&](const std::string& path) {
    const Suppressions::Entry* entry = suppressions.Find(path);
    return entry != nullptr ? entry->line : 0;
  };
  EXPECT_EQ(line("load"), 1u);
  EXPECT_EQ(line("load / layer 3"), 1u);
  EXPECT_EQ(line("preload"), 0u);
  EXPECT_EQ(line("loader / x"), 0u);
  EXPECT_EQ(line("request"), 0u);
  EXPECT_EQ(line("request / debug copy / deep"), 2u);
  EXPECT_EQ(line("decode / kv cache"), 3u);
  EXPECT_EQ(line("decode / kv cache / page"), 3u);
  EXPECT_EQ(line("decode / kv cache 2"), 0u);
  EXPECT_EQ(line(""), 4u);
}

}  // namespace
}  // namespace memtally::tools
