// SPDX-License-Identifier: Apache-2.0
//
// What a reader makes of ledgers as trackers write them.
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

#include "ledger_builder.hpp"

namespace memtally::test {
namespace {

class LedgerViewTest : public testing::Test {
 protected:
  bool Read(ReadLevel level = ReadLevel::kAll, uint32_t account = 0) {
    path_ = directory_.Write(builder_);
    return ReadAgain(level, account);
  }
  bool ReadAgain(ReadLevel level = ReadLevel::kAll, uint32_t account = 0) {
    LedgerError error;
    const auto reader = LedgerReader::Open(path_, &error);
    EXPECT_NE(reader, nullptr) << error.what;
    if (!reader) return false;
    const bool read = reader->Read(level, &view_, &error, account);
    EXPECT_TRUE(read) << error.what;
    return read;
  }
  TemporaryDirectory directory_;
  LedgerBuilder builder_;
  std::string path_;
  LedgerView view_;
};

TEST_F(LedgerViewTest, SaysWhoTheProcessIs) {
  builder_.Usual();
  builder_.Put<uint32_t>(kEndStateAt, 1);
  builder_.Put<uint64_t>(kEndTimeAt, 500);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_EQ(view_.path, path_);
  EXPECT_EQ(view_.identity.pid, 4194000u);
  EXPECT_EQ(view_.identity.uid, geteuid());
  EXPECT_EQ(view_.identity.comm, "trainer");
  EXPECT_EQ(view_.identity.host_name, "host7");
  EXPECT_EQ(view_.identity.executable, "/usr/bin/trainer");
  EXPECT_EQ(view_.identity.run_id[15], 16);
  EXPECT_EQ(view_.identity.launch_id, (std::array<uint8_t, 16>{}));
  EXPECT_EQ(view_.liveness, Liveness::kDead);
  EXPECT_TRUE(view_.exited_normally);
  EXPECT_EQ(view_.end_time_ns, 1'000'500u);
  EXPECT_EQ(view_.start_time_ns, 1'000'000u);
  EXPECT_TRUE(view_.totals_exact);
  EXPECT_TRUE(view_.gaps.empty()) << view_.gaps[0];
  EXPECT_GT(view_.file_bytes, 0u);
}

TEST_F(LedgerViewTest, SaysUnderWhichLaunchTheProcessRuns) {
  builder_.Usual();
  for (uint8_t i = 0; i < 16; ++i) builder_.Put<uint8_t>(1176 + uint64_t{i}, i);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_EQ(view_.identity.launch_id, (std::array<uint8_t, 16>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
}

TEST_F(LedgerViewTest, ReadsTheCatalog) {
  builder_.Usual();
  builder_.AddKind(40, 1, 1, 3, "my_pool");
  const uint64_t device = builder_.AddDevice(1, 77);
  builder_.Put<uint32_t>(device + 32, 0xffffffffu);
  builder_.Put<uint32_t>(device + 36, 0);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  ASSERT_EQ(view_.devices.size(), 2u);
  EXPECT_EQ(view_.devices[0].vendor, "tenstorrent");
  EXPECT_EQ(view_.devices[0].architecture, "wormhole_b0");
  EXPECT_EQ(view_.devices[0].pci_address, 0x0100u);
  EXPECT_FALSE(view_.devices[0].parent);
  EXPECT_FALSE(view_.devices[0].closed_at_ns);
  EXPECT_EQ(view_.devices[0].physical_bytes, uint64_t{12} << 30);
  EXPECT_FALSE(view_.devices[1].pci_address);
  EXPECT_EQ(view_.devices[1].parent, 0u);
  EXPECT_EQ(view_.devices[1].closed_at_ns, 1'000'076u);
  EXPECT_EQ(view_.devices[1].closes, 1u);
  const LedgerKind* kind = view_.kind(40);
  ASSERT_NE(kind, nullptr);
  EXPECT_EQ(kind->name, "my_pool");
  EXPECT_EQ(kind->memory, 1u);
  EXPECT_EQ(kind->inside, 1u);
  EXPECT_TRUE(kind->overlaps);
  EXPECT_TRUE(kind->on_host);
  EXPECT_FALSE(view_.kind(0)->inside);
  EXPECT_EQ(view_.kind(2), nullptr);
  ASSERT_EQ(view_.accounts.size(), 1u);
  EXPECT_EQ(view_.accounts[0].banks, 4u);
  EXPECT_EQ(view_.accounts[0].capacity_bytes, uint64_t{1} << 30);
}

TEST_F(LedgerViewTest, SumsAndListsBuffers) {
  builder_.Usual();
  builder_.AddTag(0, "");
  builder_.AddTag(0, "(other)");
  builder_.AddTag(0, "decode");
  builder_.AddTag(2, "layer 3");
  const Buffer first{.id = 7, .address = 0x1000, .requested = 100, .per_bank = 32, .units = 10, .thread = 1, .tag = 3};
  const Buffer second{.id = 8, .address = 0x2000, .requested = 50, .per_bank = 16, .units = uint64_t{1} << 50};
  builder_.Alloc(0, 0, 0, first);
  builder_.Alloc(0, 0, 600, second);
  builder_.Alloc(0, 0, 1, {.id = 9, .requested = 1, .per_bank = 1});
  builder_.Free(0, 0, 1, {.id = 9, .requested = 1, .per_bank = 1});
  ASSERT_TRUE(Read());
  EXPECT_TRUE(view_.gaps.empty()) << view_.gaps[0];
  const LedgerAccount& account = view_.accounts.at(0);
  EXPECT_EQ(account.allocated, (Amount{3, 151, 49 * 4}));
  EXPECT_EQ(account.freed, (Amount{1, 1, 4}));
  EXPECT_EQ(account.live, (Amount{2, 150, 48 * 4}));
  EXPECT_EQ(account.peak_requested, 151u);
  EXPECT_EQ(account.peak_reserved, 49u * 4);
  EXPECT_EQ(account.peak_requested_slack, 0u);
  ASSERT_EQ(view_.buffers.size(), 2u);
  EXPECT_EQ(view_.buffers[0].id, 7u);
  EXPECT_EQ(view_.buffers[0].address, 0x1000u);
  EXPECT_EQ(view_.buffers[0].bytes_requested, 100u);
  EXPECT_EQ(view_.buffers[0].bytes_per_bank, 32u);
  EXPECT_EQ(view_.buffers[0].time_ns, 1'000'010u);
  EXPECT_EQ(view_.buffers[0].thread_id, 1234u);
  EXPECT_EQ(view_.tag_path(view_.buffers[0].tag), "decode / layer 3");
  EXPECT_EQ(view_.buffers[1].time_ns, 1'000'000 + (uint64_t{1} << 50));
  EXPECT_EQ(view_.tag_path(0), "");
  ASSERT_EQ(view_.events.size(), 4u);
  EXPECT_EQ(view_.events[3].operation, MEMTALLY_OP_FREE);
  EXPECT_EQ(view_.events[3].number, 3u);
  EXPECT_EQ(view_.counters.events, 4u);

  ASSERT_TRUE(ReadAgain(ReadLevel::kAccount, 0));
  EXPECT_EQ(view_.buffers.size(), 2u);
  EXPECT_TRUE(view_.events.empty());
  ASSERT_TRUE(ReadAgain(ReadLevel::kAccount, 1));
  EXPECT_TRUE(view_.buffers.empty());
  ASSERT_TRUE(ReadAgain(ReadLevel::kTotals));
  EXPECT_TRUE(view_.buffers.empty());
  EXPECT_TRUE(view_.tags.empty());
}

TEST_F(LedgerViewTest, CompletesExtendedRecords) {
  builder_.Usual();
  builder_.AddGroup(0, "unused");
  builder_.AddGroup(5, "program 12: matmul");
  const uint64_t huge = uint64_t{1} << 46;
  builder_.PutRecord(builder_.SlotAt(0, 0), 0,
                     {.id = 1, .address = 3, .requested = huge - 1, .flags = kLive | kExtended});
  builder_.PutExtension(builder_.SlotAt(0, 3), 0xabc, 5, 77, huge + 5, uint64_t{1} << 41);
  // Its extension is no extension.
  builder_.PutRecord(builder_.SlotAt(0, 1), 0, {.id = 2, .address = 4, .requested = 9, .flags = kLive | kExtended});
  builder_.PutExtension(builder_.SlotAt(0, 4), 0xabc, 5, 77, 10, 10, kExtension | kImported);
  // Its extension is nowhere.
  builder_.PutRecord(builder_.SlotAt(0, 2), 0, {.id = 3, .address = ~0ull, .requested = 9, .flags = kLive | kExtended});
  ASSERT_TRUE(Read());
  ASSERT_EQ(view_.buffers.size(), 3u);
  EXPECT_EQ(view_.buffers[0].address, 0xabcu);
  EXPECT_EQ(view_.buffers[0].group, 5u);
  EXPECT_EQ(view_.buffers[0].stack, 77u);
  EXPECT_EQ(view_.buffers[0].bytes_requested, huge + 5);
  EXPECT_EQ(view_.buffers[0].bytes_per_bank, uint64_t{1} << 41);
  EXPECT_EQ(view_.buffers[1].bytes_requested, 9u);
  EXPECT_EQ(view_.buffers[1].address, 0u);
  EXPECT_EQ(view_.buffers[2].bytes_requested, 9u);
  ASSERT_EQ(view_.gaps.size(), 1u);
  ASSERT_EQ(view_.groups.size(), 1u);
  EXPECT_EQ(view_.groups[0].id, 5u);
  EXPECT_EQ(view_.groups[0].name, "program 12: matmul");
}

TEST_F(LedgerViewTest, ListsImportedBuffersWithoutSummingThem) {
  builder_.Usual();
  builder_.PutRecord(builder_.SlotAt(0, 0), 0, {.id = 1, .requested = 10, .flags = kLive | kImported});
  builder_.Put<uint64_t>(builder_.MoreSumsOf(0, 0) + 40, 1);
  builder_.Put<uint64_t>(builder_.MoreSumsOf(0, 0) + 48, 10);
  ASSERT_TRUE(Read());
  ASSERT_EQ(view_.buffers.size(), 1u);
  EXPECT_TRUE(view_.buffers[0].imported);
  EXPECT_EQ(view_.accounts[0].imported, 1u);
  EXPECT_EQ(view_.accounts[0].imported_requested, 10u);
  EXPECT_EQ(view_.accounts[0].live, Amount{});
}

TEST_F(LedgerViewTest, BuffersOfAClosedDeviceAreReleased) {
  builder_.AddKind(0, 0, ~0u, 0, "dram");
  builder_.AddDevice(0, 1001);
  builder_.AddAccount(0, 0, 0, 2);
  builder_.AddLane(8);
  builder_.Alloc(0, 0, 0, {.id = 1, .requested = 10, .per_bank = 8});
  const uint64_t more = builder_.MoreSumsOf(0, 0);
  builder_.Put<uint64_t>(more, 3);
  builder_.Put<uint64_t>(more + 8, 300);
  builder_.Put<uint64_t>(more + 16, 400);
  builder_.Put<uint64_t>(more + 24, 2);
  builder_.Put<uint64_t>(more + 32, 222);
  ASSERT_TRUE(Read());
  const LedgerAccount& account = view_.accounts[0];
  EXPECT_EQ(account.live, Amount{});
  EXPECT_EQ(account.freed, account.allocated);
  EXPECT_EQ(account.released, (Amount{4, 310, 416}));
  EXPECT_EQ(account.failed_allocations, 2u);
  EXPECT_EQ(account.failed_requested, 222u);
  ASSERT_EQ(view_.buffers.size(), 1u);
  EXPECT_TRUE(view_.buffers[0].released);
}

TEST_F(LedgerViewTest, PeaksOfSeveralLanesHaveSlack) {
  builder_.Usual();
  const uint64_t account_entry = builder_.CatalogEntry(4);
  builder_.AddLane(8);
  builder_.Alloc(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  builder_.Alloc(1, 0, 0, {.id = 2, .requested = 60, .per_bank = 10});
  builder_.Free(1, 0, 0, {.id = 2, .requested = 60, .per_bank = 10});
  builder_.Put<uint64_t>(account_entry + 32, 120);  // peak_requested
  builder_.Put<uint64_t>(account_entry + 48, 130);  // its bound
  ASSERT_TRUE(Read());
  EXPECT_EQ(view_.accounts[0].peak_requested, 120u);
  EXPECT_EQ(view_.accounts[0].peak_requested_slack, 40u);  // 100 + 60 - 120
  EXPECT_EQ(view_.accounts[0].peak_reserved, 40u);         // live
  EXPECT_EQ(view_.accounts[0].peak_reserved_slack, 40u);
}

TEST_F(LedgerViewTest, ShowsAnomaliesWithTheirLastSamples) {
  builder_.Usual();
  const uint64_t block = builder_.LaneAt(0) + kAnomaliesAt;
  builder_.Put<uint64_t>(block, 6);
  builder_.Put<uint64_t>(block + 8, 600);
  for (uint64_t n = 2; n < 6; ++n) {
    builder_.PutRecord(block + 16 + 48 * (n % 4), 1023,
                       {.id = n, .units = n, .thread = 1, .flags = uint64_t{kUnknownFree} << 4});
  }
  const uint64_t failed = builder_.LaneAt(0) + kAnomaliesAt + 7 * 208;
  builder_.Put<uint64_t>(failed, 1);
  builder_.PutRecord(failed + 16, 0, {.requested = 5, .flags = uint64_t{kAllocFailed} << 4});
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  const LedgerAnomaly& unknown = view_.anomalies[MEMTALLY_ANOMALY_UNKNOWN_FREE];
  EXPECT_EQ(unknown.count, 6u);
  EXPECT_EQ(unknown.bytes_requested, 600u);
  ASSERT_EQ(unknown.last.size(), 4u);
  EXPECT_EQ(unknown.last[0].id, 2u);
  EXPECT_EQ(unknown.last[3].id, 5u);
  EXPECT_EQ(unknown.last[0].thread_id, 1234u);
  EXPECT_FALSE(unknown.last[0].account);
  EXPECT_EQ(view_.anomalies[MEMTALLY_ANOMALY_FAILED_ALLOC].last.at(0).account, 0u);
  EXPECT_EQ(view_.anomalies[MEMTALLY_ANOMALY_REPLACED].count, 0u);
}

TEST_F(LedgerViewTest, ReadsCounters) {
  builder_.Usual();
  for (uint64_t i = 0; i < 9; ++i) builder_.Put<uint64_t>(kLostEventsAt + 8 * i, i + 1);
  builder_.Put<uint64_t>(builder_.LaneAt(0) + kDroppedAt, 10);
  builder_.Put<uint64_t>(builder_.LaneAt(0) + kDroppedAt + 8, 11);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  const LedgerCounters& c = view_.counters;
  EXPECT_EQ(c.lost_events, 1u);
  EXPECT_EQ(c.lost_bytes, 2u);
  EXPECT_EQ(c.lost_tags, 3u);
  EXPECT_EQ(c.lost_groups, 4u);
  EXPECT_EQ(c.lost_registrations, 5u);
  EXPECT_EQ(c.signal_overflow, 6u);
  EXPECT_EQ(c.paused_events, 7u);
  EXPECT_EQ(c.refused_pages, 8u);
  EXPECT_EQ(c.recorder_wait_ns, 9u);
  EXPECT_EQ(c.dropped_events, 10u);
  EXPECT_EQ(c.unread_events, 11u);
}

TEST_F(LedgerViewTest, FollowsTheRingRound) {
  builder_.Usual();
  for (uint64_t n = 0; n < 1000; ++n) builder_.PutEvent(0, kMark, 1023, {.id = n, .units = n}, ~0u);
  ASSERT_TRUE(Read());
  ASSERT_EQ(view_.events.size(), 64u);
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(view_.events[i].number, 936 + i);
    EXPECT_EQ(view_.events[i].id, 936 + i);
  }
  // Odd: the oldest may be half overwritten.
  builder_.Put<uint64_t>(builder_.LaneAt(0), 2001);
  ASSERT_TRUE(Read());
  ASSERT_EQ(view_.events.size(), 63u);
  EXPECT_EQ(view_.events[0].number, 937u);
  EXPECT_TRUE(view_.interrupted);
}

TEST_F(LedgerViewTest, TakesBackTheCallInWhichTheProcessDied) {
  builder_.Usual();
  builder_.Alloc(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  const uint64_t lane = builder_.LaneAt(0);
  const uint64_t undo = lane + kUndoAt;
  const uint64_t sums = builder_.SumsOf(0, 0);
  const uint64_t more = builder_.MoreSumsOf(0, 0);
  // Half of a call that frees slot 0, fills slot 1 and counts an import.
  builder_.Put<uint64_t>(lane, 3);
  builder_.Put<uint64_t>(undo, 3);
  builder_.Put<uint32_t>(undo + 8, 0);
  builder_.Put<uint32_t>(undo + 12, 3);
  builder_.Put<uint64_t>(undo + 16, 1);
  builder_.Put<uint64_t>(undo + 24, 0);  // slot 1 was not live
  for (uint64_t i = 0; i < 8; ++i) builder_.Put<uint64_t>(undo + 32 + 8 * i, builder_.Get<uint64_t>(sums + 8 * i));
  const uint64_t slot0 = builder_.SlotAt(0, 0);
  builder_.Put<uint64_t>(undo + 96, slot0 + 16);
  builder_.Put<uint64_t>(undo + 104, builder_.Get<uint64_t>(slot0 + 16));
  builder_.Put<uint64_t>(undo + 112, more + 40);
  builder_.Put<uint64_t>(undo + 120, 0);
  builder_.Put<uint64_t>(undo + 128, more + 40);  // twice: what was noted first is older
  builder_.Put<uint64_t>(undo + 136, 9);
  builder_.Put<uint64_t>(slot0 + 16, 0);
  builder_.PutRecord(builder_.SlotAt(0, 1), 0, {.id = 2, .requested = 5});
  for (uint64_t i = 0; i < 8; ++i) builder_.Put<uint64_t>(sums + 8 * i, 999);
  builder_.Put<uint64_t>(more + 40, 10);
  for (const ReadLevel level : {ReadLevel::kTotals, ReadLevel::kAll}) {
    ASSERT_TRUE(Read(level));
    EXPECT_TRUE(view_.interrupted);
    EXPECT_TRUE(view_.totals_exact);
    EXPECT_TRUE(view_.gaps.empty()) << view_.gaps[0];
    EXPECT_EQ(view_.accounts[0].live, (Amount{1, 100, 40}));
    EXPECT_EQ(view_.accounts[0].imported, 0u);
    EXPECT_EQ(view_.counters.events, 1u);
  }
  EXPECT_TRUE(view_.buffers_exact);
  ASSERT_EQ(view_.buffers.size(), 1u);
  EXPECT_EQ(view_.buffers[0].id, 1u);

  // The call had not begun to change anything.
  builder_.Put<uint64_t>(undo, 1);
  ASSERT_TRUE(Read());
  EXPECT_EQ(view_.accounts[0].imported, 10u);
}

TEST_F(LedgerViewTest, TakesBackNothingElsewhere) {
  builder_.Usual();
  const uint64_t lane = builder_.LaneAt(0);
  const uint64_t undo = lane + kUndoAt;
  builder_.Put<uint64_t>(lane, 3);
  builder_.Put<uint64_t>(undo, 3);
  builder_.Put<uint32_t>(undo + 8, 5000);
  builder_.Put<uint32_t>(undo + 12, 4'000'000'000u);
  builder_.Put<uint64_t>(undo + 16, ~0ull - 3);
  uint64_t at = undo + 96;
  for (const uint64_t target :
       {uint64_t{0}, kPidAt, kLaneCountAt, lane, lane + 1, undo, ~uint64_t{0}, ~uint64_t{7}, uint64_t{1} << 63,
        builder_.Get<uint64_t>(kTagsAt), builder_.Get<uint64_t>(kGroupsAt)}) {
    builder_.Put<uint64_t>(at, target);
    builder_.Put<uint64_t>(at + 8, 0x4141414141414141);
    at += 16;
  }
  ASSERT_TRUE(Read());
  EXPECT_EQ(view_.identity.pid, 4194000u);
  EXPECT_FALSE(view_.gaps.empty());
}

TEST_F(LedgerViewTest, TagPathsEnd) {
  builder_.Usual();
  builder_.AddTag(0, "");
  builder_.AddTag(0, "(other)");
  builder_.AddTag(3, "loop a");
  builder_.AddTag(2, "loop b");
  builder_.AddTag(4, "self");
  builder_.AddTag(4'000'000'000u, "far");
  builder_.AddTag(0, std::string(115, 'x'), 300);
  ASSERT_TRUE(Read());
  ASSERT_EQ(view_.tags.size(), 7u);
  EXPECT_EQ(view_.tag_path(2), "loop a");
  EXPECT_EQ(view_.tag_path(3), "loop a / loop b");
  EXPECT_EQ(view_.tag_path(4), "self");
  EXPECT_EQ(view_.tag_path(5), "far");
  EXPECT_TRUE(view_.tags[6].cut);
  EXPECT_EQ(view_.tags[6].name.size(), 115u);
  EXPECT_EQ(view_.tag_path(7), "");
  EXPECT_EQ(view_.gaps.size(), 1u);
  // A view that somebody else made.
  view_.tags[2].parent = 3;
  view_.tag_path(3);
  view_.tags.assign(5000, {});
  for (uint32_t i = 1; i < 5000; ++i) view_.tags[i] = {i - 1, "t", false};
  EXPECT_LT(view_.tag_path(4999).size(), 400u);
}

TEST_F(LedgerViewTest, ConvertsTimes) {
  builder_.Usual();
  builder_.Put<uint32_t>(kClockKindAt, 9);  // a clock of another machine
  builder_.Put<uint32_t>(kClockShiftAt, 2);
  builder_.Put<uint64_t>(kClockStartTicksAt, 1000);
  builder_.Put<uint64_t>(kEndTimeAt, 500);
  builder_.Put<uint64_t>(kClockHzAt, 2'000'000'000);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_EQ(view_.end_time_ns, 1'000'000u + 500 * 4 / 2);
  builder_.Put<uint64_t>(kClockPairTicksAt, 1000 + 2'000'000);
  builder_.Put<uint64_t>(kClockPairNsAt, 1'000'000 + 1'010'000);  // a little slower
  builder_.Put<uint64_t>(kEndTimeAt, 5'000'000);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_NEAR(static_cast<double>(*view_.end_time_ns), 1e6 + 2e7 / 2 * 1.01, 2);
  builder_.Put<uint32_t>(kClockShiftAt, 4'000'000'000u);
  builder_.Put<uint64_t>(kEndTimeAt, ~0ull);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  builder_.Put<uint64_t>(kClockHzAt, 0);
  builder_.Put<uint64_t>(kClockPairNsAt, 0);
  ASSERT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_FALSE(view_.gaps.empty());
}

}  // namespace
}  // namespace memtally::test
