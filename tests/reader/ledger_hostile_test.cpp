// SPDX-License-Identifier: Apache-2.0
//
// Ledgers that no tracker would write: cut, mutated, lying, moving.  A reader neither crashes nor hangs nor takes
// memory for what a number in them claims, and what it shows can be.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <memtally/ledger_reader.hpp>

#include "allocation_meter.hpp"
#include "ledger_builder.hpp"
#include "ledger_sample.hpp"

namespace memtally::test {
namespace {

using Clock = std::chrono::steady_clock;

// Of this thread, not of the machine: how busy others are is no matter of the reader's.
uint64_t CpuTimeNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

constexpr ReadLevel kLevels[] = {ReadLevel::kTotals, ReadLevel::kAccount, ReadLevel::kAll};
constexpr uint64_t kLongestReadNs = 10'000'000'000;  // under a sanitizer
constexpr size_t kMostMemory = size_t{48} << 20;     // for files of half a megabyte

// Reads at all levels; checks views, time and memory.  Returns whether kAll could be read.
bool ReadSafely(const std::string& path, LedgerView* view, size_t most_memory = kMostMemory) {
  bool read = false;
  for (const ReadLevel level : kLevels) {
    const AllocationMeter meter;
    const uint64_t begin = CpuTimeNs();
    LedgerError error;
    const auto reader = LedgerReader::Open(path, &error);
    read = reader && reader->Read(level, view, &error, 1);
    EXPECT_EQ(read, !error) << error.what;
    if (read) CheckView(*view);
    EXPECT_LT(CpuTimeNs() - begin, kLongestReadNs);
    EXPECT_LT(meter.most(), most_memory);
  }
  return read;
}

class LedgerHostileTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  LedgerView view_;
};

TEST_F(LedgerHostileTest, CutAnywhere) {
  const LedgerBuilder builder = SampleLedger(true);
  const std::string path = directory_.Write(builder);
  for (size_t size = builder.bytes().size(); size > 0; size -= std::min<size_t>(size, 64)) {
    ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(size)), 0);
    const bool read = ReadSafely(path, &view_);
    const bool whole = size == builder.bytes().size();
    ASSERT_TRUE(!read || size >= 1304) << size;
    ASSERT_TRUE(!read || view_.gaps.empty() == whole) << size;
    if (HasFailure()) FAIL() << "at " << size;
  }
}

TEST_F(LedgerHostileTest, Mutations) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  printf("seed %u\n", seed);
  std::mt19937_64 random(seed);
  const auto upto = [&](uint64_t n) { return random() % n; };
  for (const bool interrupted : {false, true}) {
    const LedgerBuilder original = SampleLedger(interrupted);
    const std::string path = directory_.Write(original);
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    const uint64_t catalog = original.CatalogEntry(0);
    const uint64_t tags = original.Get<uint64_t>(kTagsAt);
    for (int round = 0; round < 2000; ++round) {
      std::vector<uint64_t> touched;
      for (uint64_t i = 0, n = 1 + upto(12); i < n; ++i) {
        uint64_t at = 0;
        switch (upto(8)) {
          case 0:
            at = kClockKindAt + upto(1176 - kClockKindAt);
            break;
          case 1:
            at = kLaneDirectoryAt + upto(24);
            break;
          case 2:
            at = catalog + upto(64 * 12);
            break;
          case 3:
            at = tags + upto(128 * 4);
            break;
          case 4:
            at = original.LaneAt(static_cast<uint32_t>(upto(2))) + upto(kAnomaliesAt);
            break;
          case 5:
            at = original.LaneAt(static_cast<uint32_t>(upto(2))) + kUndoAt + upto(608);
            break;
          case 6:
            at = original.LaneAt(static_cast<uint32_t>(upto(2))) + kRingAt + upto(3000);
            break;
          default:
            at = 16 + upto(original.bytes().size() - 24);
            break;
        }
        if (upto(2) != 0) at &= ~uint64_t{7};
        if (at < 16 || (at > 56 && at < 72)) continue;  // magic, version, owner: refused at once, tested elsewhere
        const uint64_t old = original.Get<uint64_t>(at);
        const uint64_t values[] = {random(),
                                   0,
                                   ~uint64_t{0},
                                   old + 1,
                                   old - 1,
                                   old ^ (uint64_t{1} << upto(64)),
                                   upto(4096) * 8,
                                   original.Get<uint64_t>(upto(original.bytes().size()) & ~uint64_t{7}),
                                   original.LaneAt(0) + upto(200000) * 8,
                                   uint64_t{1} << upto(64)};
        const uint64_t value = values[upto(std::size(values))];
        ASSERT_EQ(pwrite(fd, &value, 1 + upto(8), static_cast<off_t>(at)) > 0, true);
        touched.push_back(at);
      }
      ReadSafely(path, &view_);
      if (HasFailure()) FAIL() << "round " << round;
      for (const uint64_t at : touched) {
        const auto old = original.Get<uint64_t>(at);
        const size_t bytes = std::min<size_t>(8, original.bytes().size() - at);
        ASSERT_EQ(pwrite(fd, &old, bytes, static_cast<off_t>(at)), static_cast<ssize_t>(bytes));
      }
      ASSERT_EQ(ftruncate(fd, static_cast<off_t>(original.bytes().size())), 0);
    }
    close(fd);
  }
}

TEST_F(LedgerHostileTest, EveryNumberThatLies) {
  const LedgerBuilder original = SampleLedger();
  std::vector<uint64_t> places = {kClockShiftAt,   kClockHzAt, kClockStartTicksAt,
                                  kClockStartNsAt, kFileEndAt, kLaneCountAt};
  for (const uint64_t area : {kCatalogAt, kThreadsAt, kTagsAt, kGroupsAt}) {
    for (const uint64_t part : {0, 8, 12}) places.push_back(area + part);
  }
  places.push_back(kLaneDirectoryAt);
  places.push_back(kLaneDirectoryAt + 8);
  for (const uint32_t lane : {0u, 1u}) {
    for (uint64_t at = 0; at < kAnomaliesAt; at += 4) places.push_back(original.LaneAt(lane) + at);
  }
  for (uint32_t entry = 0; entry < 10; ++entry) {
    for (uint64_t at = 0; at < 64; at += 4) places.push_back(original.CatalogEntry(entry) + at);
  }
  const uint64_t size = original.bytes().size();
  for (const uint64_t place : places) {
    for (const uint64_t lie : {uint64_t{0}, uint64_t{1}, uint64_t{4097}, size - 8, size, size + 8, uint64_t{0xffffffff},
                               ~uint64_t{0}, ~uint64_t{7}, uint64_t{1} << 63, uint64_t{1} << 40, original.LaneAt(0),
                               original.LaneAt(1), original.Get<uint64_t>(original.LaneAt(0) + kSegmentsAt)}) {
      LedgerBuilder builder = original;
      builder.Put<uint64_t>(place, lie);
      ReadSafely(directory_.Write(builder), &view_);
      if (HasFailure()) FAIL() << "place " << place << " lie " << lie;
    }
  }
}

// 18 lanes with 33 million slots each, and nothing behind them: 24 GB that are not there.
TEST_F(LedgerHostileTest, ASparseLieIsCheap) {
  LedgerBuilder builder;
  builder.Usual();
  for (int i = 1; i < 18; ++i) builder.AddLane(16);
  uint64_t end = builder.bytes().size();
  for (uint32_t lane = 0; lane < 18; ++lane) {
    builder.Put<uint64_t>(builder.LaneAt(lane) + kSlotsUsedAt, 33'553'920);
    for (uint64_t k = 0; k < 16; ++k) {
      builder.Put<uint64_t>(builder.LaneAt(lane) + kSegmentsAt + 8 * k, end);
      end += (uint64_t{512} << k) * 40;
    }
  }
  const std::string path = directory_.Write(builder);
  if (truncate(path.c_str(), static_cast<off_t>(end)) != 0) GTEST_SKIP() << "no sparse files this large here";
  const uint64_t begin = CpuTimeNs();
  ASSERT_TRUE(ReadSafely(path, &view_, size_t{4} << 20));
  EXPECT_LT(CpuTimeNs() - begin, uint64_t{3'000'000'000});
  EXPECT_TRUE(view_.buffers_exact);
}

// 128 lanes that all claim the same eight megabytes.
TEST_F(LedgerHostileTest, NoByteIsCopiedTwice) {
  LedgerBuilder builder;
  builder.Usual();
  for (int i = 1; i < 128; ++i) builder.AddLane(2);
  for (uint64_t slot = 0; slot < 100'000; ++slot) builder.PutRecord(builder.SlotAt(0, slot), 0, {.id = slot});
  for (uint32_t lane = 1; lane < 128; ++lane) {
    for (uint64_t at = 8; at < kAnomaliesAt; at += 8) {
      builder.Put<uint64_t>(builder.LaneAt(lane) + at, builder.Get<uint64_t>(builder.LaneAt(0) + at));
    }
  }
  ASSERT_TRUE(ReadSafely(directory_.Write(builder), &view_, size_t{64} << 20));
  EXPECT_EQ(view_.buffers.size(), 100'000u);
  EXPECT_GT(view_.gaps.size(), 100u);
}

TEST_F(LedgerHostileTest, CutAndGrownWhileItIsRead) {
  const LedgerBuilder builder = SampleLedger();
  const std::string path = directory_.Write(builder);
  std::atomic<bool> stop{false};
  std::thread cutter([&] {
    std::mt19937 random(1);
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    while (!stop) {
      const size_t size = random() % (builder.bytes().size() * 2);
      if (ftruncate(fd, static_cast<off_t>(size)) != 0) break;
      const size_t from = random() % builder.bytes().size();
      const size_t count = std::min<size_t>(builder.bytes().size() - from, 1 << 16);
      if (pwrite(fd, builder.bytes().data() + from, count, static_cast<off_t>(from)) < 0) break;
      if (pwrite(fd, builder.bytes().data(), 4096, 0) < 0) break;
    }
    close(fd);
  });
  for (const auto end = Clock::now() + std::chrono::seconds(2); Clock::now() < end && !HasFailure();) {
    ReadSafely(path, &view_);
  }
  stop = true;
  cutter.join();
}

// A process that lives and lies: sequences, slots and counts change at random all the time.
TEST_F(LedgerHostileTest, AWriterThatLies) {
  const LedgerBuilder builder = SampleLedger();
  const std::string path = directory_.Write(builder);
  const LockHolderProcess alive(path);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  auto* bytes = static_cast<uint8_t*>(mmap(nullptr, builder.bytes().size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(bytes, MAP_FAILED);
  std::atomic<bool> stop{false};
  std::thread liar([&] {
    std::mt19937_64 random(2);
    while (!stop) {
      const uint64_t lane = builder.LaneAt(random() % 2);
      const uint64_t at = random() % 4 != 0   ? lane
                          : random() % 2 != 0 ? lane + (random() % 300) * 8
                                              : (kCatalogAt & ~uint64_t{7}) + random() % 10 * 8;
      const uint64_t old = builder.Get<uint64_t>(at);
      __atomic_store_n(reinterpret_cast<uint64_t*>(bytes + at), random() % 3 == 0 ? random() : old + random() % 16,
                       __ATOMIC_RELAXED);
      if (random() % 64 == 0) memcpy(bytes + lane, builder.bytes().data() + lane, 3072);
      if (random() % 64 == 0) memcpy(bytes, builder.bytes().data(), 4096);
    }
  });
  for (const auto end = Clock::now() + std::chrono::seconds(3); Clock::now() < end && !HasFailure();) {
    ReadSafely(path, &view_);
  }
  stop = true;
  liar.join();
  munmap(bytes, builder.bytes().size());
  close(fd);
}

TEST_F(LedgerHostileTest, OutOfMemoryIsAnError) {
  LedgerBuilder builder;
  builder.Usual();
  for (uint64_t slot = 0; slot < 200'000; ++slot) builder.PutRecord(builder.SlotAt(0, slot), 0, {.id = slot});
  const std::string path = directory_.Write(builder);
  const pid_t child = fork();
  if (child == 0) {
    LedgerError error;
    LedgerView view;
    const auto reader = LedgerReader::Open(path, &error);
    // From here on, memory is given out in small pieces only.
    g_refuse_above = 1 << 20;
    const bool read = reader->Read(ReadLevel::kAll, &view, &error);
    g_refuse_above = SIZE_MAX;
    _exit(!read && error.code == LedgerError::Code::kIo && reader->Read(ReadLevel::kAll, &view, &error) &&
                  view.buffers.size() == 200'000
              ? 0
              : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace memtally::test
