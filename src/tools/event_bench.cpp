// SPDX-License-Identifier: Apache-2.0
#include "tools/event_bench.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include <memtally/ledger_reader.hpp>
#include <memtally/track.h>

#include "ticks.hpp"
#include "tools/bench_clock.hpp"

namespace memtally::tools {

namespace {

constexpr uint64_t kBytesRequested = 4096;
constexpr uint64_t kBytesPerBank = 400;
constexpr uint32_t kBanks = 12;
constexpr size_t kBatch = 256;

memtally_device RegisterBenchDevice() {
  memtally_device_info info{};
  info.size = sizeof(info);
  info.vendor = "memtally";
  info.architecture = "bench";
  const memtally_device device = memtally_register_device(&info);
  memtally_register_kind(device, MEMTALLY_KIND_DRAM, uint64_t{1} << 34, kBanks, uint64_t{1} << 30);
  return device;
}

// How new ids come: one after the other, as unique numbers do, or spread over all numbers, as hashes and addresses are.
uint64_t SequentialId(uint64_t n) { return n; }
uint64_t ScatteredId(uint64_t n) { return n * 0x9e3779b97f4a7c15u; }

// A set of live buffers of constant size.  An event is an allocation or a free.
class LiveSet {
 public:
  LiveSet(memtally_device device, size_t count, uint64_t first, uint64_t (*id)(uint64_t))
      : device_(device), next_(first), id_(id), ids_(count) {
    for (uint64_t& slot : ids_) slot = Fresh();
  }
  ~LiveSet() {
    for (const uint64_t id : ids_) memtally_free(device_, MEMTALLY_KIND_DRAM, id);
  }
  LiveSet(const LiveSet&) = delete;
  LiveSet& operator=(const LiveSet&) = delete;

  // `events` events: each pair frees the oldest and allocates.
  void Fifo(uint64_t events) {
    for (uint64_t i = 0; i < events / 2; ++i) {
      Replace(oldest_);
      if (++oldest_ == ids_.size()) oldest_ = 0;
    }
  }

  // The same with random victims.  They are drawn and fetched a batch ahead: the harness's own cache misses are not an
  // event's.
  void RandomVictims(uint64_t events, Random& random) {
    std::array<size_t, kBatch> victims;
    for (uint64_t done = 0; done < events / 2;) {
      const uint64_t batch = std::min<uint64_t>(kBatch, events / 2 - done);
      for (uint64_t i = 0; i < batch; ++i) {
        victims[i] = random.Below(ids_.size());
        __builtin_prefetch(&ids_[victims[i]], 1);
      }
      for (uint64_t i = 0; i < batch; ++i) Replace(victims[i]);
      done += batch;
    }
  }

 private:
  uint64_t Fresh() {
    const uint64_t id = id_(next_++);
    memtally_alloc(device_, MEMTALLY_KIND_DRAM, id, id * 64, kBytesRequested, kBytesPerBank);
    return id;
  }
  void Replace(size_t index) {
    memtally_free(device_, MEMTALLY_KIND_DRAM, ids_[index]);
    ids_[index] = Fresh();
  }

  memtally_device device_;
  uint64_t next_;
  uint64_t (*id_)(uint64_t);
  std::vector<uint64_t> ids_;
  size_t oldest_ = 0;
};

// A 112-byte blocking send on a Unix stream socket whose other end a thread drains.
double SocketSendNs(bool quick) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  std::thread reader([fd = ends[1]] {
    std::array<char, 65536> buffer;
    while (read(fd, buffer.data(), buffer.size()) > 0) {
    }
  });
  const std::array<char, 112> message{};
  const double ns = MedianNs(quick ? 3 : 9, quick ? 20'000 : 100'000, [&](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      if (send(ends[0], message.data(), message.size(), 0) != static_cast<ssize_t>(message.size())) return;
    }
  });
  close(ends[0]);
  reader.join();
  close(ends[1]);
  return ns;
}

// The cheapest ioctl that a program can make: the size of a pipe's contents.
double IoctlNs(bool quick) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return 0;
  const double ns = MedianNs(9, quick ? 20'000 : 200'000, [&](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      int bytes = 0;
      KeepValue(ioctl(ends[0], FIONREAD, &bytes));
    }
  });
  close(ends[0]);
  close(ends[1]);
  return ns;
}

double MutexNs() {
  std::mutex mutex;
  return MedianNs(9, 1'000'000, [&](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      mutex.lock();
      KeepValue(i);
      mutex.unlock();
    }
  });
}

double TimeStampNs() {
  return MedianNs(9, 1'000'000, [&](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) KeepValue(base::ReadTicks());
  });
}

Figures MeasureFew(bool quick) {
  const memtally_device device = RegisterBenchDevice();
  const uint64_t events = quick ? 100'000 : 1'000'000;
  const int repetitions = quick ? 5 : 15;
  Figures figures;
  Random random(1);
  {
    LiveSet live(device, 1000, 1, SequentialId);
    live.RandomVictims(events, random);
    figures["event_ns_1k"] = MedianNs(repetitions, events, [&](uint64_t n) { live.RandomVictims(n, random); });
  }
  {
    LiveSet live(device, 1000, uint64_t{1} << 32, ScatteredId);
    live.RandomVictims(events, random);
    figures["event_ns_1k_scattered"] =
        MedianNs(repetitions, events, [&](uint64_t n) { live.RandomVictims(n, random); });
  }
  figures["time_stamp_ns"] = TimeStampNs();
  figures["mutex_ns"] = MutexNs();
  figures["ioctl_ns"] = IoctlNs(quick);
  figures["socket_send_ns"] = SocketSendNs(quick);
  return figures;
}

// One random, dependent read over `bytes` of shared memory: what a table of that size costs a cache that does not hold
// it.
double RandomReadNs(size_t bytes, bool quick) {
  const size_t words = bytes / sizeof(uint64_t);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  auto* word = static_cast<uint64_t*>(memory);
  memset(word, 0, bytes);
  Random random(3);
  uint64_t last = 0;
  const double ns = MedianNs(quick ? 3 : 9, quick ? 200'000 : 1'000'000, [&](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t at = random.Next() + last;  // last is 0, which only the memory knows
      last = word[static_cast<uint64_t>((static_cast<unsigned __int128>(at) * words) >> 64)];
    }
  });
  KeepValue(last);
  munmap(memory, bytes);
  return ns;
}

uint64_t PrivateBytes() {
  FILE* status = fopen("/proc/self/status", "re");
  if (status == nullptr) return 0;
  char line[256];
  unsigned long long kilobytes = 0;
  while (fgets(line, sizeof(line), status) != nullptr) {
    if (sscanf(line, "RssAnon: %llu", &kilobytes) == 1) break;
  }
  fclose(status);
  return kilobytes * 1024;
}

uint64_t LedgerBytes() {
  struct stat status {};
  return stat(memtally_ledger_path(), &status) == 0 ? static_cast<uint64_t>(status.st_blocks) * 512 : 0;
}

// Ledger and private memory that `count` more live buffers cost, a buffer.
double BytesPerBuffer(memtally_device device, uint64_t count, uint64_t first) {
  memtally_alloc(device, MEMTALLY_KIND_DRAM, first, 0, kBytesRequested, kBytesPerBank);
  const uint64_t before = PrivateBytes() + LedgerBytes();
  for (uint64_t i = 1; i < count; ++i) {
    memtally_alloc(device, MEMTALLY_KIND_DRAM, first + i, i * 64, kBytesRequested, kBytesPerBank);
  }
  return static_cast<double>(PrivateBytes() + LedgerBytes() - before) / static_cast<double>(count);
}

Figures MeasureBytes100k(bool) {
  const memtally_device device = RegisterBenchDevice();
  // Fill the flight recorder first: it belongs to the fixed part.
  { LiveSet(device, 10, uint64_t{1} << 40, SequentialId).Fifo(20'000); }
  Figures figures;
  figures["ledger_fixed_bytes"] = static_cast<double>(LedgerBytes());
  figures["ledger_bytes_per_buffer_100k"] = BytesPerBuffer(device, 100'000, 1);
  return figures;
}

Figures MeasureBytes1m(bool) {
  const memtally_device device = RegisterBenchDevice();
  { LiveSet(device, 10, uint64_t{1} << 40, SequentialId).Fifo(20'000); }
  Figures figures;
  figures["ledger_bytes_per_buffer"] = BytesPerBuffer(device, 1'000'000, 1);
  return figures;
}

Figures MeasureIdle(bool) {
  RegisterBenchDevice();
  Figures figures;
  figures["ledger_idle_bytes"] = static_cast<double>(LedgerBytes());
  return figures;
}

Figures MeasureMany(bool quick) {
  const memtally_device device = RegisterBenchDevice();
  const size_t count = quick ? 200'000 : 1'000'000;
  const uint64_t events = quick ? 200'000 : 1'000'000;
  const int repetitions = quick ? 3 : 7;
  Figures figures;
  Random random(2);
  struct {
    uint64_t (*id)(uint64_t);
    const char* suffix;
  } const ways[] = {{SequentialId, ""}, {ScatteredId, "_scattered"}};
  for (const auto& way : ways) {
    LiveSet live(device, count, 1, way.id);
    live.Fifo(2 * count);
    figures[std::string("event_ns_1m_fifo") + way.suffix] =
        MedianNs(repetitions, events, [&](uint64_t n) { live.Fifo(n); });
    live.RandomVictims(2 * events, random);
    figures[std::string("event_ns_1m_random") + way.suffix] =
        MedianNs(repetitions, events, [&](uint64_t n) { live.RandomVictims(n, random); });
  }
  figures["random_read_ns_1m"] = RandomReadNs(48 * count, quick);
  return figures;
}

// Runs `read` in a child process over and over, `pause_ms` apart, while `work` runs here.
template <typename Read, typename Work>
void WithReader(int pause_ms, Read&& read, Work&& work) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) {
      read();
      usleep(static_cast<useconds_t>(pause_ms) * 1000);
    }
  }
  work();
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
}

// In a child, so that the reader is another process, as in life.  Returns the median over `repetitions` of one read in
// ns.
double ReadNs(ReadLevel level, int repetitions) {
  const std::string path = memtally_ledger_path();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return 0;
  const pid_t child = fork();
  if (child == 0) {
    LedgerError error;
    const auto reader = LedgerReader::Open(path, &error);
    double ns = 0;
    if (reader != nullptr) {
      LedgerView view;
      reader->Read(level, &view, &error);
      ns = MedianNs(repetitions, 1, [&](uint64_t) { reader->Read(level, &view, &error); });
    }
    const bool written = write(ends[1], &ns, sizeof(ns)) == sizeof(ns);
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  double ns = 0;
  if (read(ends[0], &ns, sizeof(ns)) != sizeof(ns)) ns = 0;
  close(ends[0]);
  if (child > 0) waitpid(child, nullptr, 0);
  return ns;
}

Figures MeasureReading(bool quick) {
  const memtally_device device = RegisterBenchDevice();
  const std::string path = memtally_ledger_path();
  const size_t count = quick ? 200'000 : 1'000'000;
  Figures figures;
  {
    LiveSet live(device, 1000, uint64_t{1} << 40, SequentialId);
    figures["read_totals_us"] = ReadNs(ReadLevel::kTotals, quick ? 50 : 501) / 1000;
  }
  LiveSet live(device, count, 1, SequentialId);
  figures["read_buffers_ms"] = ReadNs(ReadLevel::kAll, quick ? 3 : 9) / 1e6;
  // A full read every 100 ms, and none, in turn: the ratio of neighbours is what drifts least.
  Random random(4);
  const uint64_t events = quick ? 200'000 : 2'000'000;
  const auto run = [&] {
    const double begin = NowNs();
    live.RandomVictims(events, random);
    return NowNs() - begin;
  };
  run();
  std::vector<double> ratios;
  for (int i = 0; i < (quick ? 3 : 11); ++i) {
    const double alone = run();
    double watched = 0;
    const auto read_all = [&] {
      static std::unique_ptr<LedgerReader> reader;
      static LedgerView view;
      LedgerError error;
      if (reader == nullptr) reader = LedgerReader::Open(path, &error);
      if (reader != nullptr) reader->Read(ReadLevel::kAll, &view, &error);
    };
    WithReader(100, read_all, [&] { watched = run(); });
    ratios.push_back(watched / alone);
  }
  figures["writer_slowdown"] = Median(ratios);
  return figures;
}

// Events a nanosecond of `threads` threads at once, each with ids of its own.
double Rate(memtally_device device, int threads, uint64_t events) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<double> rates(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  running.reserve(rates.size());
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      Random random(static_cast<uint64_t>(t) + 10);
      LiveSet live(device, 1000, static_cast<uint64_t>(t + 1) << 40, SequentialId);
      live.RandomVictims(20'000, random);
      ready.fetch_add(1);
      while (!go.load(std::memory_order_acquire)) {
      }
      const double begin = NowNs();
      live.RandomVictims(events, random);
      rates[static_cast<size_t>(t)] = static_cast<double>(events) / (NowNs() - begin);
    });
  }
  while (ready.load() != threads) std::this_thread::yield();
  go.store(true, std::memory_order_release);
  for (std::thread& thread : running) thread.join();
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

// What one thread's allocation and another's free cost together: a producer and a consumer, a thousand buffers apart.
double CrossThreadPairNs(memtally_device device, uint64_t pairs) {
  constexpr uint64_t kApart = 1024;
  constexpr uint64_t kFirst = uint64_t{77} << 40;
  alignas(64) std::atomic<uint64_t> allocated{0};
  alignas(64) std::atomic<uint64_t> freed{0};
  std::thread consumer([&] {
    for (uint64_t i = 0; i < pairs; ++i) {
      while (allocated.load(std::memory_order_acquire) <= i) std::this_thread::yield();
      memtally_free(device, MEMTALLY_KIND_DRAM, kFirst + i);
      freed.store(i + 1, std::memory_order_release);
    }
  });
  const double begin = NowNs();
  for (uint64_t i = 0; i < pairs; ++i) {
    while (i >= freed.load(std::memory_order_acquire) + kApart) std::this_thread::yield();
    memtally_alloc(device, MEMTALLY_KIND_DRAM, kFirst + i, i, kBytesRequested, kBytesPerBank);
    allocated.store(i + 1, std::memory_order_release);
  }
  consumer.join();
  return (NowNs() - begin) / static_cast<double>(pairs);
}

Figures MeasureThreads(bool quick) {
  const memtally_device device = RegisterBenchDevice();
  const uint64_t events = quick ? 500'000 : 4'000'000;
  Figures figures;
  std::vector<double> ratios;
  Rate(device, 2, 100'000);
  for (int i = 0; i < (quick ? 3 : 9); ++i) {
    const double one = Rate(device, 1, events);
    ratios.push_back(Rate(device, 2, events) / one);
  }
  figures["two_thread_ratio"] = Median(ratios);
  std::vector<double> pairs;
  pairs.reserve(7);
  for (int i = 0; i < (quick ? 3 : 7); ++i) pairs.push_back(CrossThreadPairNs(device, quick ? 100'000 : 500'000));
  figures["cross_thread_free_ns"] = Median(pairs);
  return figures;
}

// A call while tracking is off, less the loop around it.
Figures MeasureDisabled(bool quick) {
  const uint64_t count = quick ? 10'000'000 : 100'000'000;
  const auto loop = [](uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) KeepValue(i);
  };
  const auto calls = [](uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) {
      KeepValue(i);
      memtally_free(1, MEMTALLY_KIND_DRAM, i);
    }
  };
  calls(1000);
  std::vector<double> differences;
  for (int i = 0; i < 7; ++i) {
    const double with = MedianNs(1, count, calls);
    differences.push_back(with - MedianNs(1, count, loop));
  }
  Figures figures;
  figures["disabled_ns"] = std::max(0.0, Median(differences));
  return figures;
}

}  // namespace

const std::vector<BenchPart>& EventBenchParts() {
  static const std::vector<BenchPart> parts = {
      {"few", "1,000 live buffers, and the peers", true, MeasureFew},
      {"many", "1,000,000 live buffers", true, MeasureMany},
      {"threads", "two threads", true, MeasureThreads},
      {"disabled", "tracking turned off", false, MeasureDisabled},
      {"idle", "bytes of an idle process", true, MeasureIdle},
      {"bytes-100k", "bytes of 100,000 buffers", true, MeasureBytes100k},
      {"bytes-1m", "bytes of 1,000,000 buffers", true, MeasureBytes1m},
      {"reading", "reading, and what it costs the writer", true, MeasureReading},
  };
  return parts;
}

}  // namespace memtally::tools
