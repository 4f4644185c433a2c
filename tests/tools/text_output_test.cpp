// SPDX-License-Identifier: Apache-2.0
//
// What the command prints is made of: numbers for people, tables, JSON.
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "tools/json_writer.hpp"
#include "tools/screen_units.hpp"
#include "tools/table_printer.hpp"

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

TEST(JsonWriter, WritesWhatWasSaid) {
  JsonWriter json;
  json.BeginObject();
  json.Field("n", UINT64_MAX);
  json.Key("s");
  json.SignedNumber(INT64_MIN);
  json.Key("list");
  json.BeginArray();
  json.Bool(true);
  json.Null();
  json.String("a\"\n\x1b\xff");
  json.EndArray();
  json.Key("none");
  json.BeginArray();
  json.EndArray();
  json.EndObject();
  EXPECT_EQ(json.Take(),
            "{\n"
            "  \"n\": 18446744073709551615,\n"
            "  \"s\": -9223372036854775808,\n"
            "  \"list\": [\n"
            "    true,\n"
            "    null,\n"
            "    \"a\\\"\\n\\u001b\uFFFD\"\n"
            "  ],\n"
            "  \"none\": []\n"
            "}\n");
}

}  // namespace
}  // namespace memtally::tools
