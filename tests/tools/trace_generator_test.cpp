// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_generator.hpp"

#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tools/trace_reader.hpp"
#include "tools/trace_writer.hpp"

namespace memtally::tools {
namespace {

class TraceGeneratorTest : public testing::TestWithParam<GeneratedKind> {
 protected:
  Trace Generate(uint64_t events, uint32_t threads) const {
    return GenerateTrace({.kind = GetParam(), .events = events, .threads = threads, .seed = 9});
  }
};

std::string Text(const Trace& trace) {
  std::string text;
  WriteTrace(trace, [&](std::string_view piece) { text += piece; });
  return text;
}

TEST_P(TraceGeneratorTest, MakesTracesThatCanBeRead) {
  for (const uint32_t threads : {2u, 7u}) {
    const std::string text = Text(Generate(3000, threads));
    TraceParser parser("t");
    parser.Add(text);
    Trace read;
    ASSERT_TRUE(parser.Finish(&read)) << parser.errors().front();
    EXPECT_GE(read.events, 3000u);
    EXPECT_EQ(read.threads.size(), threads);
    EXPECT_EQ(read.views.size(), 10u);
    EXPECT_EQ(Text(read), text);
  }
}

// Its own allocator, checked apart from everything else: no two live buffers of one memory lie on each other, and none
// lies beyond the end.
TEST_P(TraceGeneratorTest, LetsNoLiveBuffersOverlap) {
  const Trace trace = Generate(5000, 3);
  std::map<std::pair<uint16_t, uint64_t>, std::pair<uint64_t, uint64_t>> live;  // (kind, id) -> start, end
  std::vector<std::map<uint64_t, uint64_t>> used(trace.kind_names.size());      // by kind: start -> end
  for (const TraceRecord& record : trace.records) {
    if (record.operation == TraceOperation::kClose) break;
    const std::pair key{record.kind, record.id};
    if (record.operation == TraceOperation::kFree || record.operation == TraceOperation::kAlloc) {
      if (const auto found = live.find(key); found != live.end()) {
        used[record.kind].erase(found->second.first);
        live.erase(found);
      }
    }
    if (record.operation != TraceOperation::kAlloc) continue;
    const uint64_t start = record.address;
    const uint64_t end = start + record.bytes_per_bank;
    const auto next = used[record.kind].lower_bound(start);
    if (next != used[record.kind].end()) {
      ASSERT_LE(end, next->first);
    }
    if (next != used[record.kind].begin()) {
      ASSERT_LE(std::prev(next)->second, start);
    }
    ASSERT_LE(end, trace.kinds[record.kind].capacity_bytes_per_bank);
    ASSERT_LE(record.bytes_requested, record.bytes_per_bank * trace.kinds[record.kind].banks);
    used[record.kind][start] = end;
    live[key] = {start, end};
  }
}

INSTANTIATE_TEST_SUITE_P(All, TraceGeneratorTest,
                         testing::Values(GeneratedKind::kChurn, GeneratedKind::kCrossThreadFrees,
                                         GeneratedKind::kDoubleAllocations, GeneratedKind::kFailures));

}  // namespace
}  // namespace memtally::tools
