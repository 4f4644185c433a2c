// SPDX-License-Identifier: Apache-2.0
//
// The paths of the tracker one by one.  Each benchmark's items are events, so that the rate is events a second.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <memtally/ledger_reader.hpp>
#include <memtally/track.h>

#include "ticks.hpp"

namespace {

memtally_device Device() {
  static const memtally_device device = [] {
    memtally_device_info info{};
    info.size = sizeof(info);
    info.vendor = "bench";
    const memtally_device made = memtally_register_device(&info);
    memtally_register_kind(made, MEMTALLY_KIND_DRAM, uint64_t{1} << 34, 12, uint64_t{1} << 30);
    return made;
  }();
  return device;
}

uint64_t g_next_id = 1;

// range(0) live buffers, the oldest replaced by a fresh one.
void BM_AllocFreeFifo(benchmark::State& state) {
  const memtally_device device = Device();
  std::vector<uint64_t> ids(static_cast<size_t>(state.range(0)));
  for (uint64_t& id : ids) {
    id = g_next_id++;
    memtally_alloc(device, MEMTALLY_KIND_DRAM, id, id * 64, 4096, 400);
  }
  size_t oldest = 0;
  for (auto _ : state) {
    memtally_free(device, MEMTALLY_KIND_DRAM, ids[oldest]);
    ids[oldest] = g_next_id++;
    memtally_alloc(device, MEMTALLY_KIND_DRAM, ids[oldest], 64, 4096, 400);
    if (++oldest == ids.size()) oldest = 0;
  }
  for (const uint64_t id : ids) memtally_free(device, MEMTALLY_KIND_DRAM, id);
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(BM_AllocFreeFifo)->Arg(1)->Arg(1000)->Arg(100'000)->Arg(1'000'000);

// A buffer with a group takes a second slot.
void BM_AllocFreeWithGroup(benchmark::State& state) {
  memtally_buffer buffer{};
  buffer.size = sizeof(buffer);
  buffer.device = Device();
  buffer.kind = MEMTALLY_KIND_DRAM;
  buffer.bytes_requested = 4096;
  buffer.bytes_per_bank = 400;
  buffer.group = 7;
  for (auto _ : state) {
    buffer.id = g_next_id++;
    memtally_alloc_buffer(&buffer);
    memtally_free(buffer.device, MEMTALLY_KIND_DRAM, buffer.id);
  }
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(BM_AllocFreeWithGroup);

void BM_UnknownFree(benchmark::State& state) {
  const memtally_device device = Device();
  for (auto _ : state) memtally_free(device, MEMTALLY_KIND_DRAM, ~uint64_t{0});
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_UnknownFree);

void BM_TagScope(benchmark::State& state) {
  for (auto _ : state) {
    memtally_push_tag("layer 17");
    memtally_pop_tag();
  }
}
BENCHMARK(BM_TagScope);

void BM_ReadTotals(benchmark::State& state) {
  Device();
  memtally::LedgerError error;
  const auto reader = memtally::LedgerReader::Open(memtally_ledger_path(), &error);
  if (reader == nullptr) return state.SkipWithError(error.what.c_str());
  memtally::LedgerView view;
  for (auto _ : state) reader->Read(memtally::ReadLevel::kTotals, &view, &error);
}
BENCHMARK(BM_ReadTotals);

void BM_TimeStamp(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(memtally::base::ReadTicks());
}
BENCHMARK(BM_TimeStamp);

void BM_Mutex(benchmark::State& state) {
  std::mutex mutex;
  for (auto _ : state) {
    mutex.lock();
    benchmark::ClobberMemory();
    mutex.unlock();
  }
}
BENCHMARK(BM_Mutex);

}  // namespace

int main(int argc, char** argv) {
  // Ledgers of the benchmark are nobody else's business.
  std::string directory = "/dev/shm/memtally-bench-XXXXXX";
  if (mkdtemp(directory.data()) != nullptr) setenv("MEMTALLY_DIR", directory.c_str(), 1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return 0;
}
