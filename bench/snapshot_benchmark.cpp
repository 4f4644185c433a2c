// SPDX-License-Identifier: Apache-2.0
//
// What a snapshot costs: 64 processes with 16,384 buffers each, at each level, beside the bare reading of the same
// files.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include <memtally/track.h>

#include "base/fd.hpp"
#include "child_process.hpp"
#include "collect/collector.hpp"
#include "process_fleet.hpp"

namespace memtally::collect {
namespace {

constexpr uint32_t kProcesses = 64;
constexpr uint32_t kBuffers = 16384;

void Begin(uint32_t number) {
  memtally_device_info info{};
  info.size = sizeof(info);
  info.id_scheme = MEMTALLY_ID_CHIP;
  info.id[0] = static_cast<uint8_t>(1 + number % 4);
  const memtally_device device = memtally_register_device(&info);
  memtally_register_kind(device, MEMTALLY_KIND_DRAM, uint64_t{12} << 30, 12, uint64_t{1} << 30);
  memtally_register_kind(device, MEMTALLY_KIND_L1, uint64_t{96} << 20, 64, 1499136);
  memtally_push_tag("model");
  for (uint32_t layer = 0; layer < 32; ++layer) {
    memtally_push_tag(("layer " + std::to_string(layer)).c_str());
    for (uint32_t i = 0; i < kBuffers / 32; ++i) {
      const uint64_t id = uint64_t{layer} * kBuffers + i + 1;
      memtally_alloc(device, i % 8 == 0 ? MEMTALLY_KIND_L1 : MEMTALLY_KIND_DRAM, id, id << 10, 12000, 1024);
    }
    memtally_pop_tag();
  }
}

void Totals(benchmark::State& state) {
  Collector collector;
  collector.Take();
  for (auto _ : state) benchmark::DoNotOptimize(collector.Take());
}
BENCHMARK(Totals)->Unit(benchmark::kMicrosecond);

void Discover(benchmark::State& state) {
  Collector collector;
  for (auto _ : state) collector.Discover();
}
BENCHMARK(Discover)->Unit(benchmark::kMicrosecond);

void OneProcess(benchmark::State& state) {
  Collector collector;
  const ProcessKey key = collector.Take()->processes[0].key();
  for (auto _ : state) benchmark::DoNotOptimize(collector.Take({.level = Level::kProcess, .process = key}));
}
BENCHMARK(OneProcess)->Unit(benchmark::kMicrosecond);

void Everything(benchmark::State& state) {
  Collector collector;
  collector.Take({.level = Level::kEverything});
  for (auto _ : state) benchmark::DoNotOptimize(collector.Take({.level = Level::kEverything}));
}
BENCHMARK(Everything)->Unit(benchmark::kMillisecond);

// Files open, but nothing of their buffers was ever read, nor the memory for them had.
void EverythingForTheFirstTime(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    {
      Collector collector;
      collector.Take();
      state.ResumeTiming();
      benchmark::DoNotOptimize(collector.Take({.level = Level::kEverything}));
      state.PauseTiming();
    }
    state.ResumeTiming();
  }
}
BENCHMARK(EverythingForTheFirstTime)->Unit(benchmark::kMillisecond);

// The limit: all bytes of the same files, copied and not looked at.
void BareReading(benchmark::State& state) {
  std::vector<std::pair<base::Fd, off_t>> files;
  for (const LedgerPlace& place : FindLedgers()) {
    base::Fd fd(open(place.path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (fstat(fd.get(), &status) == 0) files.emplace_back(std::move(fd), status.st_size);
  }
  std::vector<char> memory;
  for (auto _ : state) {
    for (const auto& [fd, bytes] : files) {
      // Ledgers have holes: what lies between them is what a reader reads.
      off_t at = 0;
      while ((at = lseek(fd.get(), at, SEEK_DATA)) >= 0 && at < bytes) {
        const off_t end = lseek(fd.get(), at, SEEK_HOLE);
        memory.resize(std::max(memory.size(), static_cast<size_t>(end - at)));
        if (pread(fd.get(), memory.data(), static_cast<size_t>(end - at), at) < 0) state.SkipWithError("pread");
        at = end;
      }
    }
  }
}
BENCHMARK(BareReading)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace memtally::collect

int main(int argc, char** argv) {
  memtally::model::EnterOwnDirectory(argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  {
    const memtally::collect::ProcessFleet fleet(memtally::collect::kProcesses, memtally::collect::Begin);
    benchmark::RunSpecifiedBenchmarks();
  }
  memtally::model::LeaveOwnDirectory();
  return 0;
}
