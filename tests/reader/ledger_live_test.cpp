// SPDX-License-Identifier: Apache-2.0
//
// Ledgers that are written while they are read: what is called exact must add up to the byte.
#include <sched.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/ledger_reader.hpp>

#include "ledger_builder.hpp"
#include "ledger_sample.hpp"

namespace memtally::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint64_t kBanks = 4;

// Writes one lane of a mapped ledger by the page's rules.
class LaneWriter {
 public:
  LaneWriter(uint8_t* file, const LedgerBuilder& layout, uint32_t lane)
      : file_(file), lane_(layout.LaneAt(lane)), capacity_(layout.Get<uint32_t>(lane_ + kRingCapacityAt)) {
    for (uint64_t k = 0; k < 2; ++k) segment_[k] = layout.Get<uint64_t>(lane_ + kSegmentsAt + 8 * k);
  }

  void Alloc(uint64_t slot, uint64_t id, uint64_t requested) { Change(slot, id, requested, true); }
  void Free(uint64_t slot) {
    Change(slot, Word(SlotAt(slot)), Word(SlotAt(slot) + 16) & ((uint64_t{1} << 46) - 1), false);
  }
  bool IsLive(uint64_t slot) const { return (Word(SlotAt(slot) + 16) >> 56 & kLive) != 0; }

  // Leaves a call half done, and ends it.
  void BeginForEver() {
    const uint64_t undo = lane_ + kUndoAt;
    Store(lane_, Word(lane_) + 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    Store(undo + 8, 0);
    Store(undo + 16, 0xffffffff);
    for (uint64_t i = 0; i < 8; ++i) Store(undo + 32 + 8 * i, Word(lane_ + kSumsAt + 8 * i));
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    Store(undo, Word(lane_));
    Store(lane_ + kSumsAt + 8, 1);
  }

 private:
  uint64_t SlotAt(uint64_t slot) const {
    return slot < 512 ? segment_[0] + 40 * slot : segment_[1] + 40 * (slot - 512);
  }
  uint64_t Word(uint64_t at) const {
    return __atomic_load_n(reinterpret_cast<const uint64_t*>(file_ + at), __ATOMIC_RELAXED);
  }
  void Store(uint64_t at, uint64_t value) {
    __atomic_store_n(reinterpret_cast<uint64_t*>(file_ + at), value, __ATOMIC_RELAXED);
  }
  void Change(uint64_t slot, uint64_t id, uint64_t requested, bool alloc) {
    const uint64_t sequence = Word(lane_);
    Store(lane_, sequence + 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    const uint64_t undo = lane_ + kUndoAt;
    Store(undo + 8, 0);
    Store(undo + 16, slot);
    Store(undo + 24, Word(SlotAt(slot) + 16));
    for (uint64_t i = 0; i < 8; ++i) Store(undo + 32 + 8 * i, Word(lane_ + kSumsAt + 8 * i));
    Store(undo, sequence + 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    const uint64_t event = lane_ + kRingAt + 48 * (sequence / 2 % capacity_);
    Store(event, id);
    Store(event + 16, requested | (uint64_t{alloc ? kAlloc : kFree} << 60));
    Store(event + 24, requested);
    Store(event + 40, slot);
    const uint64_t at = SlotAt(slot);
    Store(at, id);
    Store(at + 24, requested);
    Store(at + 16, requested | (uint64_t{alloc} << 56));
    const uint64_t sums = lane_ + kSumsAt + (alloc ? 0 : 24);
    Store(sums, Word(sums) + 1);
    Store(sums + 8, Word(sums + 8) + requested);
    Store(sums + 16, Word(sums + 16) + requested * kBanks);
    __atomic_store_n(reinterpret_cast<uint64_t*>(file_ + lane_), sequence + 2, __ATOMIC_RELEASE);
  }

  uint8_t* file_;
  uint64_t lane_;
  uint64_t capacity_;
  uint64_t segment_[2];
};

class LedgerLiveTest : public testing::Test {
 protected:
  static constexpr uint64_t kSlots = 1500;

  void Make(uint32_t lanes, uint32_t ring) {
    builder_.AddKind(0, 0, ~0u, 0, "dram");
    builder_.AddDevice(0);
    builder_.AddAccount(0, 0, 0, kBanks);
    for (uint32_t i = 0; i < lanes; ++i) {
      builder_.AddLane(ring);
      builder_.SlotAt(i, 0);
      builder_.SlotAt(i, kSlots - 1);
    }
    path_ = directory_.Write(builder_);
    const int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    file_ = static_cast<uint8_t*>(mmap(nullptr, builder_.bytes().size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    ASSERT_NE(file_, MAP_FAILED);
    close(fd);
    holder_ = std::make_unique<LockHolderProcess>(path_);
    LedgerError error;
    reader_ = LedgerReader::Open(path_, &error);
    ASSERT_NE(reader_, nullptr) << error.what;
  }
  ~LedgerLiveTest() override {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    if (file_ != nullptr) munmap(file_, builder_.bytes().size());
  }

  // A thread that allocates and frees at random, `pause_us` apart (0: as fast as it can).
  void Write(uint32_t lane, int pause_us) {
    threads_.emplace_back([this, lane, pause_us] {
      LaneWriter writer(file_, builder_, lane);
      std::mt19937_64 random(lane);
      uint64_t id = 0;
      while (!stop_) {
        const uint64_t slot = random() % kSlots;
        if (writer.IsLive(slot)) {
          writer.Free(slot);
        } else {
          writer.Alloc(slot, ++id, random() % 10'000);
        }
        if (pause_us != 0) std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
      }
    });
  }

  static void CheckSums(const LedgerView& view) {
    if (view.totals_exact) {
      ASSERT_EQ(view.accounts.size(), 1u);
      EXPECT_EQ(view.accounts[0].live.bytes_reserved, view.accounts[0].live.bytes_requested * kBanks);
      EXPECT_EQ(view.accounts[0].allocated.count + view.accounts[0].freed.count, view.counters.events);
    }
    if (view.buffers_exact && !view.buffers.empty()) {
      Amount sum;
      for (const LedgerBuffer& b : view.buffers) {
        ++sum.count;
        sum.bytes_requested += b.bytes_requested;
        sum.bytes_reserved += b.bytes_per_bank * kBanks;
      }
      EXPECT_EQ(sum, view.accounts[0].live);
    }
    for (const LedgerEvent& event : view.events) EXPECT_LT(event.number, view.counters.events);
  }

  // Reads for a while; returns how many views were exact, of how many.
  std::pair<int, int> ReadFor(std::chrono::milliseconds time, ReadLevel level) {
    int exact = 0;
    int all = 0;
    LedgerView view;
    for (const auto end = Clock::now() + time; Clock::now() < end && !HasFailure(); ++all) {
      LedgerError error;
      const auto begin = Clock::now();
      EXPECT_TRUE(reader_->Read(level, &view, &error)) << error.what;
      EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
      EXPECT_EQ(view.liveness, Liveness::kAlive);
      CheckView(view);
      CheckSums(view);
      exact += level == ReadLevel::kTotals ? view.totals_exact : view.buffers_exact;
    }
    return {exact, all};
  }

  TemporaryDirectory directory_;
  LedgerBuilder builder_;
  std::string path_;
  uint8_t* file_ = nullptr;
  std::unique_ptr<LockHolderProcess> holder_;
  std::unique_ptr<LedgerReader> reader_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

TEST_F(LedgerLiveTest, TotalsOfOneInstant) {
  Make(2, 256);
  Write(0, 20);
  Write(1, 35);
  const auto [exact, all] = ReadFor(std::chrono::milliseconds(1000), ReadLevel::kTotals);
  EXPECT_GT(exact, all / 2) << all;
}

TEST_F(LedgerLiveTest, BuffersOfTheSameInstant) {
  Make(2, 256);
  Write(0, 100);
  Write(1, 130);
  const auto [exact, all] = ReadFor(std::chrono::milliseconds(2000), ReadLevel::kAll);
  EXPECT_GT(exact, all / 4) << all;
}

TEST_F(LedgerLiveTest, AFuriousWriterCostsExactnessOnly) {
  Make(3, 16);
  Write(0, 0);
  Write(1, 0);
  Write(2, 50);
  ReadFor(std::chrono::milliseconds(700), ReadLevel::kTotals);
  ReadFor(std::chrono::milliseconds(1300), ReadLevel::kAll);
}

// A thread that is stopped inside a call, by a debugger perhaps, for as long as anybody looks.
TEST_F(LedgerLiveTest, ACallThatDoesNotEndIsTakenBack) {
  Make(1, 16);
  LaneWriter writer(file_, builder_, 0);
  writer.Alloc(0, 1, 100);
  writer.BeginForEver();
  LedgerView view;
  LedgerError error;
  for (const ReadLevel level : {ReadLevel::kTotals, ReadLevel::kAll}) {
    ASSERT_TRUE(reader_->Read(level, &view, &error));
    EXPECT_TRUE(view.totals_exact);
    EXPECT_TRUE(view.buffers_exact);
    EXPECT_FALSE(view.interrupted);
    EXPECT_EQ(view.accounts[0].live, (Amount{1, 100, 100 * kBanks}));
  }
  holder_->Kill();
  ASSERT_TRUE(reader_->Read(ReadLevel::kAll, &view, &error));
  EXPECT_EQ(view.liveness, Liveness::kDead);
  EXPECT_TRUE(view.interrupted);
  EXPECT_EQ(view.accounts[0].live, (Amount{1, 100, 100 * kBanks}));
}

// A device that is closed and opened again takes buffers away without naming their slots.
TEST_F(LedgerLiveTest, OpeningAgainIsNoticed) {
  Make(1, 64);
  const uint64_t device = builder_.CatalogEntry(1);
  threads_.emplace_back([this, device] {
    LaneWriter writer(file_, builder_, 0);
    const uint64_t lane = builder_.LaneAt(0);
    const auto word = [&](uint64_t at) -> uint64_t& { return *reinterpret_cast<uint64_t*>(file_ + at); };
    uint64_t id = 0;
    while (!stop_) {
      for (uint64_t slot = 0; slot < 40; ++slot) writer.Alloc(slot, ++id, 7);
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      const auto note = [&](uint64_t operation, auto change) {
        const uint64_t sequence = word(lane);
        __atomic_store_n(&word(lane), sequence + 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        const uint64_t undo = lane + kUndoAt;
        word(undo + 8) = uint64_t{2} << 32;
        word(undo + 16) = 0xffffffff;
        for (uint64_t i = 0; i < 8; ++i) word(undo + 32 + 8 * i) = word(builder_.SumsOf(0, 0) + 8 * i);
        for (uint64_t i = 0; i < 2; ++i) {
          word(undo + 96 + 16 * i) = device + 48 + 8 * i;
          word(undo + 104 + 16 * i) = word(device + 48 + 8 * i);
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        __atomic_store_n(&word(undo), sequence + 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        word(lane + kRingAt + 48 * (sequence / 2 % 64) + 16) = operation << 60;
        change();
        __atomic_store_n(&word(lane), sequence + 2, __ATOMIC_RELEASE);
      };
      note(kClose, [&] {
        word(device + 48) = 1 + id;
        word(device + 56) += 1;
      });
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      for (uint64_t slot = 0; slot < 40; ++slot) word(builder_.SlotAt(0, slot) + 16) = 0;
      note(kBookkeeping, [&] {
        for (uint64_t i = 0; i < 3; ++i) word(builder_.SumsOf(0, 0) + 24 + 8 * i) = word(builder_.SumsOf(0, 0) + 8 * i);
      });
      note(kOpen, [&] { word(device + 48) = 0; });
    }
  });
  LedgerView view;
  LedgerError error;
  for (const auto end = Clock::now() + std::chrono::seconds(1); Clock::now() < end && !HasFailure();) {
    ASSERT_TRUE(reader_->Read(ReadLevel::kAll, &view, &error));
    if (!view.buffers_exact) continue;
    uint64_t live = 0;
    for (const LedgerBuffer& b : view.buffers) live += b.released ? 0 : b.bytes_requested;
    EXPECT_EQ(live, view.accounts[0].live.bytes_requested);
  }
}

}  // namespace
}  // namespace memtally::test
