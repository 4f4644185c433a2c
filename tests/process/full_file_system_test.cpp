// SPDX-License-Identifier: Apache-2.0
//
// A file system that refuses to grow, at every moment at which the tracker asks; and other resources that run out.
// Whatever is refused is counted, whatever is recorded is exact, and the host does not notice.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host_process.hpp"

namespace memtally::testing {
namespace {

constexpr uint32_t kDram = MEMTALLY_KIND_DRAM;

// A tmpfs of a few pages, mounted below a place.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(const Place& place) : path_(place.path() + "/small") {
    mkdir(path_.c_str(), 0755);
    mounted_ = mount("memtally-test", path_.c_str(), "tmpfs", 0, "size=4096,mode=1777") == 0;
    error_ = errno;
  }
  ~SmallFileSystem() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
    rmdir(path_.c_str());
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;

  bool mounted() const { return mounted_; }
  std::string why_not() const { return std::string("cannot mount a tmpfs: ") + strerror(error_); }
  const std::string& path() const { return path_; }
  bool Resize(size_t pages) {
    const std::string options = "size=" + std::to_string(pages * 4096);
    return mount("memtally-test", path_.c_str(), "tmpfs", MS_REMOUNT, options.c_str()) == 0;
  }

 private:
  std::string path_;
  bool mounted_ = false;
  int error_ = 0;
};

uint64_t FilePages(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 ? static_cast<uint64_t>(status.st_blocks) / 8 : 0;
}

struct Reported {
  unsigned long long allocations, bytes, frees;
};

// A program that uses everything: devices, kinds, tags, groups, threads, many buffers, odd ones, a close.
int UseEverything(int rest_count) {
  constexpr uint64_t kThreads = 3;
  constexpr uint64_t kBuffers = 1200;
  const memtally_device device = OpenDram(0);
  const memtally_device second = OpenDram(1);
  for (int32_t i = 2; i < 60; ++i) OpenDram(i);
  memtally_define_kind("own", MEMTALLY_KIND_ANY, MEMTALLY_KIND_ANY, 0);
  for (uint64_t group = 1; group < 60; ++group) memtally_name_group(group, "a group");
  std::atomic<uint64_t> sum_allocated{0};
  std::atomic<uint64_t> sum_bytes{0};
  std::atomic<uint64_t> sum_freed{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([=, &sum_allocated, &sum_bytes, &sum_freed] {
      for (int i = 0; i < 40; ++i) {
        memtally_push_tag(("tag " + std::to_string(i) + " of " + std::to_string(t)).c_str());
        memtally_pop_tag();
      }
      for (uint64_t i = 0; i < kBuffers; ++i) {
        memtally_alloc(i % 5 == 0 ? second : device, kDram, (t << 32) + i, 0, 100 + i, 100 + i);
        sum_bytes += 100 + i;
      }
      sum_allocated += kBuffers;
      for (uint64_t i = 0; i < kBuffers; i += 3) memtally_free(i % 5 == 0 ? second : device, kDram, (t << 32) + i);
      sum_freed += kBuffers / 3;
      memtally_mark("half");
      memtally_alloc_failed(device, kDram, 12345, 12345);
      memtally_alloc(device, MEMTALLY_KIND_L1, (t << 32) + 1, 0, 10, 10);
      memtally_alloc(device, MEMTALLY_KIND_L1, (t << 32) + 1, 0, 20, 20);  // replaced
      memtally_buffer odd{};
      odd.size = sizeof(odd);
      odd.device = device;
      odd.kind = kDram;
      odd.id = (t << 32) + 1'000'000;
      odd.bytes_requested = uint64_t{1} << 50;
      odd.bytes_per_bank = uint64_t{1} << 50;
      odd.group = 7;
      memtally_alloc_buffer(&odd);
      odd.id += 1;
      odd.imported = 1;
      memtally_alloc_buffer(&odd);
      memtally_free(device, MEMTALLY_KIND_ANY, odd.id);
      memtally_free(device, kDram, (t << 32) + 999'999);  // unknown
      sum_allocated += 3;
      sum_bytes += 30 + (uint64_t{1} << 50);
      sum_freed += 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  memtally_close_device(second);
  printf("%llu %llu %llu\n", static_cast<unsigned long long>(sum_allocated), static_cast<unsigned long long>(sum_bytes),
         static_cast<unsigned long long>(sum_freed));
  fflush(stdout);
  for (int i = 0; i < rest_count; ++i) Rest();
  return 42;
}

class FullFileSystem : public ::testing::Test {
 protected:
  void RunWithPages(const Place& place, SmallFileSystem& small, size_t pages, bool* anything_refused) {
    SCOPED_TRACE(std::to_string(pages) + " pages");
    ASSERT_TRUE(small.Resize(pages));
    HostOptions options;
    options.directory = small.path();
    Host host(
        place, [] { return UseEverything(1); }, options);
    if (!host.AwaitRest()) return;  // says why itself
    const std::vector<std::string> ledgers = LedgersIn(small.path());
    ASSERT_LE(ledgers.size(), 1u);
    if (!ledgers.empty()) {
      EXPECT_LE(FilePages(ledgers[0]), pages);
      Check(ReadLedger(ledgers[0]), host, anything_refused);
    } else {
      *anything_refused = true;
      EXPECT_LE(pages, 3u) << "there was room for a ledger";
    }
    host.Continue();
    const Outcome outcome = host.Wait();
    EXPECT_TRUE(outcome.Exited(42)) << outcome.Describe();
    EXPECT_TRUE(outcome.err.empty()) << outcome.err;
    RemoveLedgersIn(small.path());
  }

  static void RemoveLedgersIn(const std::string& directory) {
    for (const std::string& path : LedgersIn(directory)) RemoveLedger(path);
  }

  static std::vector<std::string> LedgersIn(const std::string& directory) {
    setenv("MEMTALLY_DIR", directory.c_str(), 1);
    std::vector<std::string> paths;
    for (const LedgerPlace& found : FindLedgers()) {
      if (found.path.starts_with(directory + "/")) paths.push_back(found.path);
    }
    unsetenv("MEMTALLY_DIR");
    return paths;
  }

  // Three threads of 1203 allocations each; what is not in the sums is in a counter.
  static void Check(const LedgerView& view, const Host&, bool* anything_refused) {
    ExpectExact(view);
    const uint64_t no_room = AnomalyCount(view, MEMTALLY_ANOMALY_NO_ROOM);
    const uint64_t lost = view.counters.lost_events;
    constexpr uint64_t kAllocations = 3 * 1203;
    const uint64_t allocated = AllocatedOf(view).count;
    EXPECT_LE(allocated, kAllocations);
    // An allocation is recorded, or refused for want of room, or lost with its call.  (Of three imported ones, too.)
    EXPECT_LE(kAllocations, allocated + no_room + lost);
    if (no_room + lost + view.counters.lost_registrations == 0) {
      EXPECT_EQ(allocated, kAllocations);
      EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE), 3u);
      EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_REPLACED), 3u);
      EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_FAILED_ALLOC), 3u);
    }
    // Where no flight recorder went round, each event is there or was dropped.
    const bool went_round = std::any_of(view.events.begin(), view.events.end(), [](const LedgerEvent& event) {
      return event.number >= MEMTALLY_RING_EVENTS_FIRST / 4;
    });
    if (!went_round) {
      EXPECT_EQ(view.counters.events, view.events.size() + view.counters.dropped_events);
    }
    if (allocated < kAllocations) {
      *anything_refused = true;
      EXPECT_GT(view.counters.refused_pages, 0u);
    }
  }
};

TEST_F(FullFileSystem, EverySizeFromOnePageOn) {
  const Place place;
  SmallFileSystem small(place);
  if (!small.mounted()) GTEST_SKIP() << small.why_not();
  bool refused_small = false;
  for (size_t pages = 1; pages <= 160 && !HasFailure(); pages += pages < 48 ? 1 : 5)
    RunWithPages(place, small, pages, &refused_small);
  EXPECT_TRUE(refused_small);
  bool refused_large = false;
  for (size_t pages = 400; pages <= 600 && !HasFailure(); pages += 67) {
    RunWithPages(place, small, pages, &refused_large);
  }
  EXPECT_FALSE(refused_large);
}

// Room that comes back is used: by calls that were refused before, and by a ledger that could not be made.
TEST_F(FullFileSystem, RoomThatComesBackIsUsed) {
  const Place place;
  SmallFileSystem small(place);
  if (!small.mounted()) GTEST_SKIP() << small.why_not();
  ASSERT_TRUE(small.Resize(1));
  HostOptions options;
  options.directory = small.path();
  Host host(
      place,
      [] {
        // Registration is refused with the ledger: the handle is 0, and calls do nothing until the program asks again.
        memtally_device device = OpenDram();
        REQUIRE(device == 0);
        Rest();
        usleep(1'100'000);  // it tries once a second
        device = OpenDram();
        REQUIRE(device != 0);
        for (uint64_t id = 0; id < 5000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
        Rest();
        for (uint64_t id = 5000; id < 10000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
        for (uint64_t id = 0; id < 200; ++id) memtally_mark(("mark " + std::to_string(id)).c_str());
        Rest();
        return 0;
      },
      options);
  ASSERT_TRUE(host.AwaitRest());
  EXPECT_TRUE(LedgersIn(small.path()).empty());
  ASSERT_TRUE(small.Resize(40));
  host.Continue();
  ASSERT_TRUE(host.AwaitRest());
  ASSERT_EQ(LedgersIn(small.path()).size(), 1u);
  LedgerView view = ReadLedger(LedgersIn(small.path())[0]);
  ExpectExact(view);
  const uint64_t before = LiveOf(view).count;
  EXPECT_GT(before, 0u);
  EXPECT_LT(before, 5000u);
  EXPECT_EQ(before + AnomalyCount(view, MEMTALLY_ANOMALY_NO_ROOM), 5000u);
  EXPECT_GT(view.counters.lost_events + view.counters.lost_registrations, 0u) << "the refused registration";
  ASSERT_TRUE(small.Resize(4000));
  host.Continue();
  ASSERT_TRUE(host.AwaitRest());
  view = ReadLedger(LedgersIn(small.path())[0]);
  ExpectExact(view);
  EXPECT_EQ(LiveOf(view).count, before + 5000);
  EXPECT_EQ(view.counters.lost_tags, 0u);
  const uint64_t events = view.counters.events;
  EXPECT_EQ(events, 5000u + 5000u + 200u);
  EXPECT_EQ(view.events.empty() ? 0 : view.events.back().number + 1, events);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

// Refusals cost the host nothing that adds up: no mappings, no descriptors, no address space.
TEST_F(FullFileSystem, RefusalsDoNotAddUp) {
  const Place place;
  SmallFileSystem small(place);
  if (!small.mounted()) GTEST_SKIP() << small.why_not();
  for (const size_t pages : {2, 5}) {
    SCOPED_TRACE(std::to_string(pages) + " pages");
    ASSERT_TRUE(small.Resize(pages));
    HostOptions options;
    options.directory = small.path();
    const Outcome outcome = RunHost(
        place,
        [] {
          const auto count_lines = [] {
            FILE* maps = fopen("/proc/self/maps", "r");
            int lines = 0;
            for (int c; (c = fgetc(maps)) != EOF;) lines += c == '\n';
            fclose(maps);
            return lines;
          };
          const auto count_descriptors = [] {
            int count = 0;
            for (int fd = 0; fd < 2048; ++fd) count += fcntl(fd, F_GETFD) >= 0;
            return count;
          };
          memtally_device device = OpenDram();
          for (uint64_t id = 0; id < 1000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
          const int lines = count_lines();
          const int descriptors = count_descriptors();
          for (uint64_t id = 0; id < 5000; ++id) memtally_alloc(device, kDram, id << 14, 0, 8, 8);
          usleep(1'050'000);
          for (uint64_t id = 0; id < 5000; ++id) {
            device = OpenDram();
            memtally_alloc(device, kDram, id << 14, 0, 8, 8);
          }
          REQUIRE(count_lines() <= lines + 8);
          REQUIRE(count_descriptors() <= descriptors + 2);
          return 0;
        },
        options);
    EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
    RemoveLedgersIn(small.path());
  }
}

int ReportSome() {
  const memtally_device device = OpenDram();
  for (uint64_t id = 0; id < 3000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
  for (uint64_t id = 0; id < 3000; ++id) memtally_free(device, kDram, id);
  memtally_mark("end");
  memtally_push_tag("tag");
  memtally_pop_tag();
  memtally_close_device(device);
  return 21;
}

void ExpectUnharmed(const Outcome& outcome) {
  EXPECT_TRUE(outcome.Exited(21)) << outcome.Describe();
  EXPECT_TRUE(outcome.out.empty() && outcome.err.empty()) << outcome.Describe();
}

TEST(BadDirectory, MissingOrNotADirectory) {
  const Place place;
  const std::string file = place.path() + "/file";
  close(open(file.c_str(), O_CREAT | O_WRONLY, 0644));
  for (const std::string& directory :
       {place.path() + "/missing", file, std::string("/dev/null"), std::string("/proc"), std::string(400, 'x')}) {
    HostOptions options;
    options.directory = directory[0] == 'x' ? "/" + directory : directory;
    ExpectUnharmed(RunHost(place, ReportSome, options));
  }
  EXPECT_TRUE(place.Ledgers().empty());
}

TEST(BadDirectory, NotWritable) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  const Place place;
  Host host(place, [] {
    REQUIRE(setgroups(0, nullptr) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    return ReportSome();
  });
  ExpectUnharmed(host.Wait());
  EXPECT_TRUE(place.Files().empty());
}

TEST(BadDirectory, ReadOnlyFileSystem) {
  const Place place;
  SmallFileSystem small(place);
  if (!small.mounted()) GTEST_SKIP() << small.why_not();
  ASSERT_EQ(mount("memtally-test", small.path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);
  HostOptions options;
  options.directory = small.path();
  ExpectUnharmed(RunHost(place, ReportSome, options));
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)  // they need memory and descriptors themselves

TEST(Limits, FileSize) {
  for (const rlim_t bytes : {rlim_t{0}, rlim_t{4096}, rlim_t{1} << 20, rlim_t{10} << 20, rlim_t{10'100'000}}) {
    SCOPED_TRACE(bytes);
    const Place place;
    Host host(place, [&] {
      const rlimit limit{bytes, bytes};
      REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
      return ReportSome();
    });
    ExpectUnharmed(host.Wait());
    for (const std::string& path : place.Ledgers()) {
      const LedgerView view = ReadLedger(path);
      ExpectExact(view);
      EXPECT_GT(view.counters.refused_pages + view.counters.lost_events, 0u);
    }
  }
}

TEST(Limits, FileSizeThatSufficesForTheBeginning) {
  bool seen_partial = false;
  for (rlim_t bytes = rlim_t{9} << 20; bytes < rlim_t{12} << 20; bytes += 100'000) {
    const Place place;
    Host host(place, [&] {
      const rlimit limit{bytes, bytes};
      REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
      const memtally_device device = OpenDram();
      for (uint64_t id = 0; id < 3000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
      return 21;
    });
    ExpectUnharmed(host.Wait());
    for (const std::string& path : place.Ledgers()) {
      const LedgerView view = ReadLedger(path);
      ExpectExact(view);
      EXPECT_EQ(AllocatedOf(view).count + AnomalyCount(view, MEMTALLY_ANOMALY_NO_ROOM) + view.counters.lost_events,
                3000u);
      seen_partial = seen_partial || (LiveOf(view).count > 0 && LiveOf(view).count < 3000);
    }
  }
  EXPECT_TRUE(seen_partial);
}

TEST(Limits, NoFreeDescriptor) {
  for (const int free_ones : {0, 1, 2}) {
    SCOPED_TRACE(free_ones);
    const Place place;
    Host host(place, [&] {
      const rlimit limit{64, 64};
      REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
      std::vector<int> taken;
      for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;) taken.push_back(fd);
      for (int i = 0; i < free_ones; ++i) close(taken[taken.size() - 1 - static_cast<size_t>(i)]);
      return ReportSome();
    });
    ExpectUnharmed(host.Wait());
    EXPECT_TRUE(place.Ledgers().empty() || free_ones > 0);
  }
}

TEST(Limits, AddressSpace) {
  for (rlim_t extra = 0; extra < rlim_t{16} << 20; extra += 300'000) {
    SCOPED_TRACE(extra);
    const Place place;
    Host host(place, [&] {
      FILE* statm = fopen("/proc/self/statm", "r");
      unsigned long pages = 0;
      REQUIRE(statm != nullptr && fscanf(statm, "%lu", &pages) == 1);
      fclose(statm);
      const rlimit limit{pages * 4096 + extra, pages * 4096 + extra};
      REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
      return ReportSome();
    });
    ExpectUnharmed(host.Wait());
    for (const std::string& path : place.Ledgers()) ExpectExact(ReadLedger(path));
  }
}

#endif

uint32_t ModeOf(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777u : 0;
}

TEST(FileMode, WhateverTheUmask) {
  for (const mode_t mask : {0000u, 0022u, 0077u, 0777u}) {
    for (const bool is_private : {false, true}) {
      const Place place;
      HostOptions options;
      if (is_private) options.environment = {{"MEMTALLY_PRIVATE", "1"}};
      Host host(
          place,
          [&] {
            umask(mask);
            memtally_alloc(OpenDram(), kDram, 1, 0, 8, 8);
            REQUIRE(umask(mask) == mask);
            return 0;
          },
          options);
      EXPECT_TRUE(host.Wait().Exited(0));
      ASSERT_EQ(place.Files().size(), 2u);
      for (const std::string& path : place.Files()) EXPECT_EQ(ModeOf(path), is_private ? 0600u : 0644u) << path;
    }
  }
}

// Which of this process's descriptors belong to its ledger.
std::vector<int> LedgerDescriptors(pid_t pid) {
  std::vector<int> found;
  for (int fd = 0; fd < 2048; ++fd) {
    char target[512];
    const std::string link = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
    const ssize_t length = readlink(link.c_str(), target, sizeof(target));
    if (length > 0 &&
        std::string(target, static_cast<size_t>(length)).find("/memtally-" + std::to_string(geteuid()) + "-") !=
            std::string::npos) {
      found.push_back(fd);
    }
  }
  return found;
}

TEST(Descriptors, AreHighAndCloseOnExec) {
  const Place place;
  Host host(place, [] {
    memtally_alloc(OpenDram(), kDram, 1, 0, 8, 8);
    REQUIRE(open("/dev/null", O_RDONLY) < 900);
    for (const int fd : LedgerDescriptors(getpid())) REQUIRE((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  const std::vector<int> descriptors = LedgerDescriptors(host.pid());
  EXPECT_EQ(descriptors.size(), 2u);
  for (const int fd : descriptors) EXPECT_GE(fd, 900);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

// A program that closes all descriptors goes on, and the numbers are its own from then on.
TEST(Descriptors, ClosedByTheHost) {
  const Place place;
  const std::string file = place.path() + "/precious";
  {
    const int fd = open(file.c_str(), O_CREAT | O_RDWR, 0600);
    ASSERT_EQ(write(fd, "precious", 8), 8);
    close(fd);
  }
  Host host(place, [&] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 100; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
    close_range(3, ~0u, 0);
    // The application takes every number that there is up to the tracker's and beyond.
    for (int fd; (fd = open(file.c_str(), O_RDWR)) >= 0 && fd < 1010;) {
    }
    Rest();
    for (uint64_t id = 100; id < 20000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
    for (uint64_t id = 0; id < 300; ++id) memtally_mark(("mark " + std::to_string(id)).c_str());
    for (uint64_t t = 0; t < 3; ++t) {
      std::thread([=] { memtally_alloc(device, kDram, (t + 1) << 40, 0, 8, 8); }).join();
    }
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  EXPECT_NE(ReadOnlyLedger(place).liveness, Liveness::kDead);
  host.Continue();
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_NE(view.liveness, Liveness::kDead);
  EXPECT_EQ(LiveOf(view).count, 20003u);
  EXPECT_EQ(view.counters.refused_pages + view.counters.lost_events, 0u);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
  char text[64] = {};
  const int fd = open(file.c_str(), O_RDONLY);
  EXPECT_EQ(read(fd, text, sizeof(text)), 8);
  EXPECT_STREQ(text, "precious");
  close(fd);
}

// Names are not predictable to the last digit; where a link lies in the way of all of them, it is not followed.
TEST(Descriptors, LinksAreNotFollowed) {
  const Place place;
  const std::string target = place.path() + "/target";
  close(open(target.c_str(), O_CREAT | O_WRONLY, 0644));
  Host host(place, [&] {
    const memtally_device device = OpenDram();
    memtally_alloc(device, kDram, 1, 0, 8, 8);
    // The ledger is moved away, a link is put in its place, and the descriptors are closed: the tracker will look for
    // its file by name.
    const std::string path = memtally_ledger_path();
    REQUIRE(rename(path.c_str(), (path + ".away").c_str()) == 0);
    REQUIRE(symlink(target.c_str(), path.c_str()) == 0);
    close_range(3, ~0u, 0);
    for (uint64_t id = 2; id < 20000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
    return 0;
  });
  EXPECT_TRUE(host.Wait().Exited(0));
  struct stat status {};
  ASSERT_EQ(stat(target.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 0);
  const std::vector<std::string> away = place.Files(".away");
  ASSERT_EQ(away.size(), 1u);
  const LedgerView view = ReadLedger(away[0]);
  ExpectExact(view);
  EXPECT_EQ(LiveOf(view).count + AnomalyCount(view, MEMTALLY_ANOMALY_NO_ROOM), 19999u);
}

// A ledger that somebody removed, by mistake: the host goes on.
TEST(Descriptors, LedgerRemovedUnderTheHost) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    memtally_alloc(device, kDram, 1, 0, 8, 8);
    REQUIRE(unlink(memtally_ledger_path()) == 0);
    for (uint64_t id = 2; id < 5000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
    close_range(3, ~0u, 0);
    for (uint64_t id = 5000; id < 20000; ++id) memtally_alloc(device, kDram, id, 0, 8, 8);
    return 13;
  });
  EXPECT_TRUE(host.Wait().Exited(13));
}

}  // namespace
}  // namespace memtally::testing
