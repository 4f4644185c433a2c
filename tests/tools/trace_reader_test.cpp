// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_reader.hpp"

#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "tools/trace_writer.hpp"

namespace memtally::tools {
namespace {

constexpr const char* kHead =
    "memtally-trace 1\n"
    "device 3 tenstorrent wormhole_b0 18446744073709551615\n"
    "kind 3 DRAM 12288 12 1024\n"
    "kind 3 L1 640 64 10\n";

// The trace of `text`, or an empty one and *error.
Trace Parse(const std::string& text, std::string* error = nullptr, size_t piece = std::string::npos) {
  TraceParser parser("t");
  for (size_t i = 0; i < text.size(); i += std::min(piece, text.size())) {
    if (!parser.Add(std::string_view(text).substr(i, piece))) break;
  }
  Trace trace;
  const bool usable = parser.Finish(&trace);
  EXPECT_EQ(usable, parser.errors().empty());
  const std::string first = parser.errors().empty() ? "" : parser.errors().front();
  if (error) {
    *error = first;
  } else {
    EXPECT_EQ(first, "");
  }
  return trace;
}

TEST(TraceReader, UnderstandsEveryLine) {
  const Trace trace = Parse(std::string(kHead) +
                            "5 77 a 3 DRAM 1 2 3 4\n"
                            "6 78 f 3 DRAM 1\n"
                            "7 77 x 3 dram 8 9\n"
                            "8 77 > a tag with spaces \n"
                            "9 77 <\n"
                            "10 77 c 3\n"
                            "view v DRAM 1 12 L1 2 64\n"
                            "anomaly after_close 18446744073709551615\n");
  ASSERT_EQ(trace.records.size(), 11u);
  EXPECT_EQ(trace.events, 4u);
  EXPECT_EQ(trace.chips, std::vector<int32_t>{3});
  EXPECT_EQ(trace.threads, (std::vector<uint64_t>{77, 78}));
  EXPECT_EQ(trace.kind_names, (std::vector<std::string>{"dram", "l1"}));
  EXPECT_EQ(trace.devices.front().unique_id, UINT64_MAX);
  const TraceRecord& alloc = trace.records[3];
  EXPECT_EQ(alloc.operation, TraceOperation::kAlloc);
  EXPECT_EQ(alloc.time_ns, 5u);
  EXPECT_EQ(alloc.line, 5u);
  EXPECT_EQ(alloc.id, 1u);
  EXPECT_EQ(alloc.address, 2u);
  EXPECT_EQ(alloc.bytes_requested, 3u);
  EXPECT_EQ(alloc.bytes_per_bank, 4u);
  EXPECT_EQ(trace.records[4].thread, 1);
  EXPECT_EQ(trace.records[5].kind, 0);
  EXPECT_EQ(trace.tags.front(), "a tag with spaces ");
  EXPECT_EQ(trace.views.front().entries.size(), 2u);
  EXPECT_EQ(trace.anomalies.front().count, UINT64_MAX);
}

TEST(TraceReader, GivesKindsWithoutALineTheBanksOfTheirMemory) {
  const Trace trace = Parse(std::string(kHead) +
                            "5 1 a 3 DFB 1 2 3 4\n5 1 a 3 TRACE 1 2 3 4\n5 1 a 3 OTHER 1 2 3 4\n5 1 a 3 DFB 2 2 3 4\n");
  ASSERT_EQ(trace.kinds.size(), 5u);
  EXPECT_EQ(trace.kinds[2].banks, 64u);
  EXPECT_EQ(trace.kinds[3].banks, 12u);
  EXPECT_EQ(trace.kinds[4].banks, 1u);
  EXPECT_TRUE(trace.kinds[2].implied);
  EXPECT_EQ(trace.records[3].operation, TraceOperation::kKind);
  EXPECT_EQ(trace.records[4].operation, TraceOperation::kAlloc);
}

TEST(TraceReader, DoesNotCareWhereTextIsCut) {
  const std::string text = std::string(kHead) + "5 1 > tag\n6 1 a 3 L1 1 2 3 4\n7 1 <";
  const Trace whole = Parse(text);
  for (size_t piece = 1; piece < 40; ++piece) {
    const Trace cut = Parse(text, nullptr, piece);
    ASSERT_EQ(cut.records.size(), whole.records.size());
    EXPECT_EQ(cut.records.back().operation, TraceOperation::kPopTag);
    EXPECT_EQ(cut.tags, whole.tags);
  }
}

TEST(TraceReader, WritesWhatItRead) {
  const std::string text = std::string(kHead) +
                           "5 1 > tag\n6 2 a 3 L1 1 2 3 4\n6 2 a 3 DFB 1 2 3 4\n7 1 <\nview v L1 4 64\n"
                           "anomaly replaced 0\n8 1 x 3 DRAM 1 1\n8 2 f 3 L1 1\n9 1 c 3\n";
  std::string written;
  WriteTrace(Parse(text), [&](std::string_view piece) { written += piece; });
  EXPECT_EQ(written, text);
}

TEST(TraceReader, NamesFileLineAndWhatItExpected) {
  std::string error;
  Parse(std::string(kHead) + "5 1 f 3 DRAM 1\n5 1 f 3 DRAM one\n", &error);
  EXPECT_EQ(error, "t:6: expected the id of the buffer (a number), found 'one'");
  Parse("memtally-trace 7\n", &error);
  EXPECT_EQ(error, "t:1: expected version 1, found version 7; a newer memtally may read it");
  Parse("", &error);
  EXPECT_EQ(error, "t:1: expected 'memtally-trace' and a version, found 'the end of the line'");
}

TEST(TraceReader, KeepsGoingIfTold) {
  TraceParser parser("t", true);
  parser.Add(std::string(kHead) + "nonsense\n5 1 c 3\n5 1 <\n");
  Trace trace;
  EXPECT_TRUE(parser.Finish(&trace));
  EXPECT_EQ(parser.errors().size(), 2u);
  EXPECT_EQ(trace.events, 1u);
}

TEST(TraceReader, SurvivesDamagedText) {
  const std::string good = std::string(kHead) +
                           "5 1 > tag\n6 2 a 3 L1 1 2 3 4\n6 2 a 3 DFB 1 2 3 4\n7 1 <\nview v L1 4 64\n"
                           "anomaly replaced 0\n8 1 x 3 DRAM 1 1\n8 2 f 3 L1 1\n9 1 c 3\n";
  std::mt19937 random(1);
  for (int round = 0; round < 5000; ++round) {
    std::string text = good;
    for (auto i = random() % 4 + 1; i > 0; --i) {
      const size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = static_cast<char>(random() % 256);
          break;
        case 1:
          text.erase(at, random() % 10);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), 10));
          break;
      }
    }
    TraceParser parser("t", random() % 2 == 0);
    parser.Add(text);
    Trace trace;
    if (!parser.Finish(&trace)) {
      EXPECT_FALSE(parser.errors().empty());
      continue;
    }
    for (const TraceRecord& record : trace.records) {
      EXPECT_TRUE(record.chip == 0 || record.chip < trace.chips.size());
      EXPECT_TRUE(record.kind == 0 || record.kind < trace.kind_names.size());
      EXPECT_TRUE(record.thread == 0 || record.thread < trace.threads.size());
    }
  }
}

}  // namespace
}  // namespace memtally::tools
