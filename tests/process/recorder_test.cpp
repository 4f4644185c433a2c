// SPDX-License-Identifier: Apache-2.0
//
// A recorder beside the tracker: one that keeps up, one that does not, one that is dead, one that is stopped.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <map>
#include <new>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host_process.hpp"

namespace memtally::testing {
namespace {

constexpr uint32_t kDram = MEMTALLY_KIND_DRAM;
constexpr uint64_t kRing = MEMTALLY_RING_EVENTS_FIRST;

// A recorder in a process of its own, made of nothing but the format's page.
class Recorder {
 public:
  enum class Reads { kEverything, kNothing };

  Recorder(const std::string& ledger, uint32_t flags, Reads reads) {
    shared_ = new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Shared;
    pid_ = fork();
    if (pid_ == 0) Run(ledger, flags, reads);
    while (!shared_->ready) usleep(200);
  }
  ~Recorder() {
    Kill();
    munmap(shared_, sizeof(Shared));
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void Kill() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }
  void Stop() {
    kill(pid_, SIGSTOP);
    waitpid(pid_, nullptr, WUNTRACED);
  }
  // Lets it read once more after this moment, to its end.
  void Finish() {
    const uint64_t now = shared_->rounds;
    while (shared_->rounds < now + 2) usleep(200);
  }
  uint64_t events() const { return shared_->events; }
  uint64_t gaps() const { return shared_->gaps; }

 private:
  struct Shared {
    std::atomic<bool> ready{false};
    std::atomic<uint64_t> rounds{0};
    std::atomic<uint64_t> events{0};
    std::atomic<uint64_t> gaps{0};
  };

  [[noreturn]] void Run(const std::string& ledger, uint32_t flags, Reads reads) {
    const int fd = open(ControlOf(ledger).c_str(), O_RDWR | O_CLOEXEC);
    void* mapped = mmap(nullptr, MEMTALLY_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(mapped != MAP_FAILED);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    REQUIRE(fcntl(fd, F_SETLK, &lock) == 0);
    auto* control = static_cast<memtally_control*>(mapped);
    control->version = MEMTALLY_CONTROL_VERSION;
    control->flags = flags | MEMTALLY_CONTROL_RECORDING;
    __atomic_store_n(&control->magic, MEMTALLY_CONTROL_MAGIC, __ATOMIC_RELEASE);
    LedgerError error;
    const auto reader = LedgerReader::Open(ledger, &error);
    REQUIRE(reader != nullptr);
    std::map<uint32_t, uint64_t> next;  // event number, for each lane
    for (;;) {
      __atomic_fetch_add(&control->heartbeat, 1, __ATOMIC_RELEASE);
      shared_->ready = true;
      if (reads == Reads::kEverything) {
        LedgerView view;
        REQUIRE(reader->Read(ReadLevel::kAll, &view, &error));
        for (const LedgerEvent& event : view.events) {
          uint64_t& expected = next[event.lane];
          if (event.number < expected) continue;
          if (event.number > expected) shared_->gaps += event.number - expected;
          expected = event.number + 1;
          ++shared_->events;
        }
        for (const auto& [lane, read] : next) {
          __atomic_store_n(&control->read_events[lane], read, __ATOMIC_RELEASE);
        }
      } else {
        usleep(5000);
      }
      ++shared_->rounds;
    }
  }

  pid_t pid_ = -1;
  Shared* shared_;
};

// A host that makes `pairs` allocations, each freed but every hundredth, in each of some threads, between two rests.
int ReportPairs(int thread_count, uint64_t pairs) {
  const memtally_device device = OpenDram();
  Rest();
  const auto run = [=](uint64_t t) {
    for (uint64_t i = 0; i < pairs; ++i) {
      memtally_alloc(device, kDram, (t << 40) + i, 0, 8, 8);
      if (i % 100 != 0) memtally_free(device, kDram, (t << 40) + i);
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) threads.emplace_back(run, static_cast<uint64_t>(t));
  for (std::thread& thread : threads) thread.join();
  Rest();
  return 0;
}

constexpr uint64_t kPairs = 10'000;
constexpr uint64_t kEvents = 2 * kPairs - kPairs / 100;

LedgerView RunWith(uint32_t flags, Recorder::Reads reads, void (*before)(Recorder&), int threads = 1,
                   void (*after)(Recorder&, const LedgerView&) = nullptr) {
  const Place place;
  Host host(place, [=] { return ReportPairs(threads, kPairs); });
  if (!host.AwaitRest()) return {};
  Recorder recorder(place.Ledgers().at(0), flags, reads);
  if (before != nullptr) before(recorder);
  host.Continue();
  if (!host.AwaitRest()) return {};
  LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(LiveOf(view).count, static_cast<uint64_t>(threads) * kPairs / 100);
  EXPECT_EQ(AllocatedOf(view).count, static_cast<uint64_t>(threads) * kPairs);
  if (after != nullptr) after(recorder, view);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
  return view;
}

constexpr uint64_t kSecond = 1'000'000'000;

// What the recorder did not see is counted by the tracker, to the event; once nobody waits for it any more, so is what
// it had seen and not yet said.
void ExpectNothingUnseen(Recorder& recorder, const LedgerView& seen) {
  recorder.Finish();
  EXPECT_EQ(recorder.events() + recorder.gaps(), seen.counters.events);
  EXPECT_LE(recorder.gaps(), seen.counters.unread_events);
  if (seen.counters.recorder_wait_ns < kSecond * 9 / 10) {
    EXPECT_EQ(recorder.gaps(), seen.counters.unread_events);
  }
}

TEST(Recorder, ThatKeepsUpReadsEveryEvent) {
  const LedgerView view =
      RunWith(MEMTALLY_CONTROL_WAIT, Recorder::Reads::kEverything, nullptr, 1,
              [](Recorder& recorder, const LedgerView& seen) { ExpectNothingUnseen(recorder, seen); });
  EXPECT_EQ(view.counters.events, kEvents);
  EXPECT_LT(view.counters.recorder_wait_ns, kSecond * 12 / 10);
  if (view.counters.recorder_wait_ns < kSecond * 9 / 10) {
    EXPECT_EQ(view.counters.unread_events, 0u);
  }
}

TEST(Recorder, ThatKeepsUpWithManyThreads) {
  const LedgerView view =
      RunWith(MEMTALLY_CONTROL_WAIT, Recorder::Reads::kEverything, nullptr, 4,
              [](Recorder& recorder, const LedgerView& seen) { ExpectNothingUnseen(recorder, seen); });
  EXPECT_LT(view.counters.recorder_wait_ns, kSecond * 12 / 10);
}

// It asked nobody to wait: what it did not read in time is overwritten, and counted to the event.
TEST(Recorder, ThatReadsNothingIsNotWaitedFor) {
  const LedgerView view = RunWith(0, Recorder::Reads::kNothing, nullptr);
  EXPECT_EQ(view.counters.events, kEvents);
  EXPECT_EQ(view.counters.unread_events, kEvents - kRing);
  EXPECT_EQ(view.counters.recorder_wait_ns, 0u);
}

TEST(Recorder, ThatAsksToWaitIsWaitedForOneSecondInAll) {
  const LedgerView view = RunWith(MEMTALLY_CONTROL_WAIT, Recorder::Reads::kNothing, nullptr);
  EXPECT_EQ(view.counters.unread_events, kEvents - kRing);
  EXPECT_GT(view.counters.recorder_wait_ns, kSecond * 9 / 10);
  EXPECT_LT(view.counters.recorder_wait_ns, kSecond * 13 / 10);
}

TEST(Recorder, ThatIsDeadIsNotWaitedForNorCounted) {
  const LedgerView view =
      RunWith(MEMTALLY_CONTROL_WAIT, Recorder::Reads::kNothing, [](Recorder& recorder) { recorder.Kill(); });
  EXPECT_EQ(view.counters.unread_events, 0u);
  EXPECT_EQ(view.counters.recorder_wait_ns, 0u);
}

// That it is stopped shows by its heartbeat, once: then nobody waits for it until it moves.
TEST(Recorder, ThatIsStoppedIsFoundOut) {
  const LedgerView view =
      RunWith(MEMTALLY_CONTROL_WAIT, Recorder::Reads::kNothing, [](Recorder& recorder) { recorder.Stop(); });
  EXPECT_EQ(view.counters.unread_events, kEvents - kRing);
  EXPECT_LT(view.counters.recorder_wait_ns, kSecond * 4 / 10);
}

// Anything may be in the control file: it belongs to whoever runs as the same user.
TEST(Recorder, NonsenseInTheControlFileIsHarmless) {
  const Place place;
  Host host(place, [] { return ReportPairs(2, kPairs); });
  ASSERT_TRUE(host.AwaitRest());
  const std::vector<std::string> files = place.Files(".control");
  ASSERT_EQ(files.size(), 1u);
  const int fd = open(files[0].c_str(), O_RDWR | O_CLOEXEC);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  ASSERT_EQ(fcntl(fd, F_SETLK, &lock), 0);
  host.Continue();
  uint64_t random = 88172645463325252u;
  for (int round = 0; round < 3000; ++round) {
    uint64_t words[512];
    for (uint64_t& word : words) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      word = round % 2 == 0 ? random : ~uint64_t{0};
    }
    words[0] = MEMTALLY_CONTROL_MAGIC;
    words[1] = MEMTALLY_CONTROL_VERSION | (random << 32);
    ASSERT_EQ(pwrite(fd, words, sizeof(words), 0), static_cast<ssize_t>(sizeof(words)));
    if (round % 500 == 0) {
      ASSERT_EQ(ftruncate(fd, round % 1000 == 0 ? 100 : 4096), 0);
    }
  }
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(AllocatedOf(view).count, 2 * kPairs);
  EXPECT_LT(view.counters.recorder_wait_ns, kSecond * 13 / 10);
  close(fd);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

}  // namespace
}  // namespace memtally::testing
