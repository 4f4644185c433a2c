// SPDX-License-Identifier: Apache-2.0
//
// What a program does beyond the widths of the format, and the calls that are seldom made: counted, named, and exact.
#include <unistd.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host_process.hpp"

namespace memtally::testing {
namespace {

constexpr uint32_t kDram = MEMTALLY_KIND_DRAM;

void Alloc(memtally_device device, uint64_t id, uint64_t bytes = 64) {
  memtally_alloc(device, kDram, id, id * 4096, bytes, bytes);
}

// Runs a host to its rest, reads its ledger, and lets it end with status 0.
template <typename Body>
LedgerView ViewOf(Body body) {
  const Place place;
  Host host(place, [body] {
    body();
    Rest();
    _exit(0);
    return 0;
  });
  if (!host.AwaitRest()) return {};
  LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
  return view;
}

TEST(Limits, DeviceOpenedAgain) {
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 10; ++id) Alloc(device, id, 100);
    memtally_free(device, kDram, 0);
    memtally_close_device(device);
    memtally_close_device(device);    // once is enough
    memtally_free(device, kDram, 1);  // after the close
    REQUIRE(OpenDram() == device);
    for (uint64_t id = 0; id < 3; ++id) Alloc(device, id, 1000);
    memtally_free(device, kDram, 2);
    memtally_free(device, kDram, 5);  // released long ago
    memtally_close_device(device);
    Alloc(device, 77, 10);  // nobody said that it is open again
  });
  const LedgerAccount* account = FindAccount(view, 0, kDram);
  ASSERT_NE(account, nullptr);
  EXPECT_EQ(account->live, (Amount{1, 10, 10}));
  EXPECT_EQ(account->allocated, (Amount{14, 4010, 4010}));
  EXPECT_EQ(account->released.count, 9u + 2);
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_AFTER_CLOSE), 2u);
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE), 1u);
  EXPECT_EQ(view.devices[0].closes, 2u);
  EXPECT_FALSE(view.devices[0].closed_at_ns.has_value());
}

// Threads allocate and free while another closes the device and opens it again.
TEST(Limits, ClosedAndOpenedAgainUnderLoad) {
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
          const uint64_t id = (t << 32) + i % 500;
          Alloc(device, id);
          if (i % 7 != 0) memtally_free(device, kDram, id);
        }
      });
    }
    for (int i = 0; i < 300; ++i) {
      memtally_close_device(device);
      if (i % 3 == 0) usleep(500);
      OpenDram();
      usleep(500);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_EQ(view.counters.lost_events, 0u);
}

TEST(Limits, CapacityAndBanksChange) {
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    memtally_register_kind(device, kDram, 1200, 12, 100);
    memtally_alloc(device, kDram, 1, 0, 50, 5);
    memtally_register_kind(device, kDram, 2400, 12, 200);
    memtally_register_kind(device, kDram, 600, 6, 100);  // not while something is live
    memtally_free(device, kDram, 1);
    memtally_register_kind(device, kDram, 800, 8, 100);
    memtally_alloc(device, kDram, 1, 0, 50, 5);
  });
  const LedgerAccount* account = FindAccount(view, 0, kDram);
  ASSERT_NE(account, nullptr);
  EXPECT_EQ(account->banks, 8u);
  EXPECT_EQ(account->capacity_bytes, 800u);
  EXPECT_EQ(account->live, (Amount{1, 50, 40}));
  EXPECT_EQ(view.counters.lost_registrations, 1u);
}

TEST(Limits, KindsOfTheProgram) {
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    const uint32_t pool = memtally_define_kind("pool", kDram, MEMTALLY_KIND_ANY, 0);
    const uint32_t tensor = memtally_define_kind("tensor", kDram, pool, 0);
    REQUIRE(pool >= MEMTALLY_FIRST_PROGRAM_KIND && tensor != pool);
    REQUIRE(memtally_define_kind("pool", kDram, MEMTALLY_KIND_ANY, 0) == pool);
    memtally_alloc(device, pool, 1, 0, 1000, 1000);
    memtally_alloc(device, tensor, 1, 0, 100, 100);
    memtally_alloc(device, 31, 1, 0, 5, 5);  // no such kind
    for (int i = 0; i < 40; ++i)
      memtally_define_kind(std::string("k").append(std::to_string(i)).c_str(), kDram, MEMTALLY_KIND_ANY, 0);
  });
  EXPECT_EQ(LiveOf(view), (Amount{2, 1100, 1100}));
  const LedgerKind* tensor = view.kind(MEMTALLY_FIRST_PROGRAM_KIND + 1);
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->name, "tensor");
  EXPECT_EQ(tensor->memory, static_cast<uint32_t>(MEMTALLY_KIND_DRAM));
  EXPECT_EQ(tensor->inside, static_cast<uint32_t>(MEMTALLY_FIRST_PROGRAM_KIND));
  EXPECT_EQ(view.kinds.size(), MEMTALLY_BUILTIN_KINDS + 32u);
  EXPECT_GE(view.counters.lost_registrations, 10u);
  EXPECT_EQ(view.counters.lost_events, 1u);
  EXPECT_EQ(view.counters.lost_bytes, 5u);
}

TEST(Limits, DuplicateReporters) {
  const LedgerView view = ViewOf([] {
    const memtally_device first = RegisterDevice(0, "hook");
    const memtally_device second = RegisterDevice(0, "application");
    REQUIRE(first != second);
    for (uint64_t id = 0; id < 10; ++id) Alloc(first, id);
    for (uint64_t id = 0; id < 10; ++id) Alloc(second, id);
    for (uint64_t id = 0; id < 5; ++id) memtally_free(second, kDram, id);
    memtally_free(first, kDram, 0);
    // Another kind of the same device may be the other's.
    memtally_alloc(second, MEMTALLY_KIND_L1, 1, 0, 8, 8);
    memtally_alloc(first, MEMTALLY_KIND_L1, 1, 0, 8, 8);
  });
  EXPECT_EQ(view.devices.size(), 1u);
  EXPECT_EQ(LiveOf(view).count, 10u);
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_DUPLICATE_REPORTER), 16u);
}

TEST(Limits, PauseAndResume) {
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    Alloc(device, 1);
    memtally_pause();
    Alloc(device, 2);
    memtally_pause();
    Alloc(device, 3);
    memtally_resume();
    memtally_mark("paused");
    std::thread([device] { Alloc(device, 4); }).join();  // not this thread
    memtally_resume();
    memtally_resume();  // once too often
    Alloc(device, 5);
  });
  EXPECT_EQ(LiveOf(view).count, 3u);
  EXPECT_EQ(view.counters.paused_events, 3u);
}

TEST(Limits, TagsDeepManyAndLong) {
  constexpr uint32_t kMany = 66'000;
  const std::string long_name(10'000, 'n');
  const LedgerView view = ViewOf([&] {
    const memtally_device device = OpenDram();
    for (int i = 0; i < 300; ++i) memtally_push_tag(("level " + std::to_string(i)).c_str());
    Alloc(device, 1);
    for (int i = 0; i < 300; ++i) memtally_pop_tag();
    memtally_pop_tag();
    REQUIRE(memtally_current_tag() == 0);
    memtally_push_tag(long_name.c_str());
    Alloc(device, 2);
    memtally_pop_tag();
    const uint32_t before = memtally_current_tag();
    memtally_push_tag((long_name + "x").c_str());  // differs beyond what is kept
    Alloc(device, 3);
    memtally_pop_tag();
    REQUIRE(memtally_current_tag() == before);
    memtally_push_tag("");
    Alloc(device, 4);
    memtally_pop_tag();
    for (uint32_t i = 0; i < kMany; ++i) {
      memtally_push_tag(("many " + std::to_string(i)).c_str());
      if (i == kMany - 1) Alloc(device, 5);
      memtally_pop_tag();
    }
    memtally_push_tag("many 17");  // known: no loss
    Alloc(device, 6);
    memtally_pop_tag();
  });
  ASSERT_EQ(view.tags.size(), 65'536u);
  // 2 are there from the start; 256 levels, 2 long ones, the empty one.
  constexpr uint32_t kOthers = 2 + 256 + 2 + 1;
  EXPECT_EQ(view.counters.lost_tags, kMany - (65'536 - kOthers));
  std::map<uint64_t, uint32_t> tag_of;
  for (const LedgerBuffer& buffer : view.buffers) tag_of[buffer.id] = buffer.tag;
  EXPECT_TRUE(view.tag_path(tag_of[1]).ends_with("level 254 / level 255"));
  EXPECT_TRUE(view.tags[tag_of[2]].cut);
  EXPECT_EQ(view.tags[tag_of[2]].name, long_name.substr(0, 115));
  EXPECT_NE(tag_of[2], tag_of[3]);
  EXPECT_EQ(tag_of[5], 1u);
  EXPECT_EQ(view.tag_path(tag_of[6]), "many 17");
}

TEST(Limits, MoreGroupsThanTheTableHas) {
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    const std::string long_name(10'000, 'g');
    for (uint64_t group = 1; group <= 8300; ++group)
      memtally_name_group(group, group == 5 ? long_name.c_str() : "name");
    for (uint64_t group = 1; group <= 50; ++group) memtally_forget_group(group);
    for (uint64_t group = 9001; group <= 9050; ++group) memtally_name_group(group, "later");
    memtally_buffer buffer{};
    buffer.size = sizeof(buffer);
    buffer.device = device;
    buffer.id = 1;
    buffer.group = 8299;
    buffer.bytes_requested = buffer.bytes_per_bank = 10;
    memtally_alloc_buffer(&buffer);
  });
  EXPECT_EQ(view.counters.lost_groups, 108u);
  std::set<uint64_t> ids;
  for (const LedgerGroup& group : view.groups) ids.insert(group.id);
  EXPECT_EQ(ids.size(), 8192u);
  EXPECT_EQ(ids.count(50), 0u);
  EXPECT_EQ(ids.count(9050), 1u);
  ASSERT_EQ(view.buffers.size(), 1u);
  EXPECT_EQ(view.buffers[0].group, 8299u);
}

TEST(Limits, MoreThreadsThanLanes) {
  constexpr uint64_t kThreads = 200;
  constexpr uint64_t kBuffers = 100;
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    std::atomic<uint64_t> arrived{0};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const uint64_t first = t << 20;
        for (uint64_t i = 0; i < kBuffers; ++i) Alloc(device, first + i);
        ++arrived;
        while (arrived < kThreads) usleep(500);  // all at once: nobody takes over the lane of a thread that is gone
        for (uint64_t i = 0; i < kBuffers; i += 2) memtally_free(device, kDram, first + i);
        memtally_mark("end");
      });
    }
    for (std::thread& thread : threads) thread.join();
    // Threads come and go: their lanes are used again.
    for (uint64_t t = 0; t < 300; ++t) {
      std::thread([=] {
        Alloc(device, (t + 1000) << 20);
        memtally_free(device, kDram, (t + 1000) << 20);
      }).join();
    }
  });
  EXPECT_EQ(LiveOf(view).count, kThreads * kBuffers / 2);
  EXPECT_EQ(AllocatedOf(view).count, kThreads * kBuffers + 300);
  EXPECT_EQ(view.counters.lost_events, 0u);
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE), 0u);
}

// 128 devices, of which no more than 1023 (device, kind) pairs fit.
TEST(Limits, MoreDevicesAndAccountsThanTheTablesHave) {
  const LedgerView view = ViewOf([] {
    int refused = 0;
    for (int32_t i = 0; i < 150; ++i) {
      const memtally_device device = OpenDram(i);
      refused += device == 0;
      for (uint32_t kind = 0; kind < 9; ++kind) memtally_alloc(device, kind, 1, 0, 10, 10);
    }
    REQUIRE(refused == 22);
  });
  EXPECT_EQ(view.devices.size(), 128u);
  EXPECT_EQ(view.accounts.size(), 1023u);
  EXPECT_EQ(LiveOf(view).count, 1023u);
  EXPECT_EQ(view.counters.lost_events, 128u * 9 - 1023);
  EXPECT_EQ(view.counters.lost_bytes, (128u * 9 - 1023) * 10);
  EXPECT_GE(view.counters.lost_registrations, 22u);
}

// An application's -1 must not turn the sums of its account into nonsense.
TEST(Limits, SizesBeyondReasonAreCut) {
  constexpr uint64_t kMost = (uint64_t{1} << 56) - 1;
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    memtally_register_kind(device, kDram, 0, 12, 0);
    memtally_alloc(device, kDram, 1, 0, ~uint64_t{0}, ~uint64_t{0});
    memtally_alloc(device, kDram, 2, 0, 100, 10);
    memtally_alloc_failed(device, kDram, ~uint64_t{0}, ~uint64_t{0});
  });
  const LedgerAccount* account = FindAccount(view, 0, kDram);
  ASSERT_NE(account, nullptr);
  EXPECT_EQ(account->live, (Amount{2, kMost + 100, kMost / 12 * 12 + 120}));
  EXPECT_EQ(account->failed_requested, kMost);
}

TEST(Limits, NonsenseArgumentsAreHarmless) {
  const LedgerView view = ViewOf([] {
    const memtally_device device = OpenDram();
    Alloc(device, 1);
    for (const memtally_device odd : {0u, 2u, 255u, 256u, 0x7fffffffu, 0xffffffffu}) {
      for (const uint32_t kind : {0u, 63u, 64u, 1000u, static_cast<uint32_t>(MEMTALLY_KIND_ANY), 0xffffffffu}) {
        memtally_alloc(odd, kind, 1, 0, 8, 8);
        memtally_free(odd, kind, 1);
        memtally_alloc_failed(odd, kind, 8, 8);
        memtally_register_kind(odd, kind, 1, 0, 1);
      }
      memtally_close_device(odd);
    }
    for (const uint32_t kind : {63u, 64u, 1000u, 0xffffffffu}) {
      memtally_alloc(device, kind, 1, 0, 8, 8);
      memtally_free(device, kind, 1);
    }
    memtally_alloc(device, MEMTALLY_KIND_ANY, 1, 0, 8, 8);
    memtally_device_info small{};
    small.size = 8;
    REQUIRE(memtally_register_device(&small) == 0);
    REQUIRE(memtally_register_device(nullptr) == 0);
    memtally_buffer cut{};
    cut.size = 8;
    cut.device = device;
    memtally_alloc_buffer(&cut);
    memtally_define_kind(nullptr, 0, 0, 0);
    memtally_define_kind("", 0, 0, 0);
    memtally_name_group(0, "zero");
    memtally_name_group(1, nullptr);
    memtally_forget_group(0);
    memtally_exchange_tag(0xffffffffu);
    REQUIRE(memtally_current_tag() == 0);
    memtally_alloc(device, kDram, ~uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 62, uint64_t{1} << 62);
    memtally_free(device, kDram, ~uint64_t{0});
  });
  EXPECT_EQ(LiveOf(view).count, 1u);
}

}  // namespace
}  // namespace memtally::testing
