// SPDX-License-Identifier: Apache-2.0
//
// What the command prints is made of: numbers for people, tables, words.
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tools/near_miss.hpp"
#include "tools/screen_units.hpp"
#include "tools/table_printer.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

TEST(ScreenUnits, Bytes) {
  EXPECT_EQ(ScreenBytes(0), "0 B");
  EXPECT_EQ(ScreenBytes(1023), "1023 B");
  EXPECT_EQ(ScreenBytes(1024), "1.0 KiB");
  EXPECT_EQ(ScreenBytes(1536, true), "~1.5 KiB");
  EXPECT_EQ(ScreenBytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(ScreenBytes(33554432), "32.0 MiB");
  EXPECT_EQ(ScreenBytes(12872318208), "12.0 GiB");
  EXPECT_EQ(ScreenBytes(UINT64_MAX), "16.0 EiB");
}

TEST(ScreenUnits, Percent) {
  EXPECT_EQ(ScreenPercent(1, 0), "-");
  EXPECT_EQ(ScreenPercent(1, 3), "33.3");
  EXPECT_EQ(ScreenPercent(3, 2, true), "~150.0");
}

TEST(ScreenUnits, Age) {
  EXPECT_EQ(ScreenAge(0), "0 ms");
  EXPECT_EQ(ScreenAge(12'345'678), "12 ms");
  EXPECT_EQ(ScreenAge(3'450'000'000), "3.4 s");
  EXPECT_EQ(ScreenAge(59'999'999'999), "59.9 s");
  EXPECT_EQ(ScreenAge(302'000'000'000), "5 min 2 s");
  EXPECT_EQ(ScreenAge(11'045'000'000'000), "3 h 4 min");
  EXPECT_EQ(ScreenAge(190'800'000'000'000), "2 d 5 h");
}

TEST(TablePrinter, AlignsByColumnsOnTheScreen) {
  TablePrinter table({{"NAME"}, {"N", TablePrinter::Align::kRight}, {"LAST"}});
  table.AddRow({"日本", "1", "a"});
  table.AddNote("  ! a note that is wider than any column");
  table.AddRow({"x", "1234", ""});
  EXPECT_EQ(table.Text(),
            "NAME     N  LAST\n"
            "日本     1  a\n"
            "  ! a note that is wider than any column\n"
            "x     1234\n");
}

TEST(TablePrinter, CutsNamesWhereTheTerminalIsNarrow) {
  TablePrinter table({{"NAME", TablePrinter::Align::kLeft, 5},
                      {"N", TablePrinter::Align::kRight},
                      {"PATH", TablePrinter::Align::kLeft, 8, Cut::kBegin}});
  table.AddRow({"abcdefghijkl", "1234", "first / second / third"});
  table.AddNote("! a note that is much too long");
  EXPECT_EQ(table.Text({.color = false, .columns = 25}),
            "NAME         N  PATH\n"
            "abcde...  1234  ... third\n"
            "! a note that is much ...\n");
  // Even the narrowest columns do not fit: lines are cut.
  EXPECT_EQ(table.Text({.color = false, .columns = 12}),
            "NAME      N\n"
            "abcd.  1234\n"
            "! a note ...\n");
}

TEST(TablePrinter, Styles) {
  TablePrinter table({{"NAME"}, {"N"}});
  table.AddRow({{"x", Style::kRed}, "1"});
  EXPECT_EQ(table.Text({.color = true, .columns = 0}),
            "\x1b[1mNAME\x1b[0m  \x1b[1mN\x1b[0m\n"
            "\x1b[31mx\x1b[0m     1\n");
  EXPECT_EQ(table.Text(), "NAME  N\nx     1\n");
}

TEST(CutToWidth, KeepsEscapesAsTheyAre) {
  EXPECT_EQ(CutToWidth("abc", 3), "abc");
  EXPECT_EQ(CutToWidth("abcdefghij", 8), "abcde...");
  EXPECT_EQ(CutToWidth("abcdefghij", 8, Cut::kBegin), "...fghij");
  EXPECT_EQ(CutToWidth("abcdefghij", 2), "a.");
  EXPECT_EQ(CutToWidth("abcdefghij", 0), "");
  EXPECT_EQ(CutToWidth("日本語日本語", 8), "日本...");
  EXPECT_EQ(CutToWidth("日本語日本語", 8, Cut::kBegin), "...本語");
  EXPECT_EQ(CutToWidth("\\\\x1b long enough", 9), "\\\\x1b ...");
}

TEST(NearestWord, FindsWhatWasMeant) {
  const std::vector<std::string> words = {"ps", "buffers", "devices", "leaks", "tags", "top", "events"};
  EXPECT_EQ(NearestWord("bufers", words), "buffers");
  EXPECT_EQ(NearestWord("event", words), "events");
  EXPECT_EQ(NearestWord("laeks", words), "leaks");
  EXPECT_EQ(NearestWord("dev", words), "devices");
  EXPECT_EQ(NearestWord("pss", words), "ps");
  EXPECT_EQ(NearestWord("nonsense", words), "");
  EXPECT_EQ(NearestWord("", words), "");
  EXPECT_EQ(NearestWord(std::string(100'000, 'x'), words), "");
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("ab", "ba"), 1u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
}

}  // namespace
}  // namespace memtally::tools
