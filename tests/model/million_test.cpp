// SPDX-License-Identifier: Apache-2.0
//
// A million live buffers and ten million events in one process: exact, and cheap in memory.
#include <time.h>

#include <cstdio>
#include <cstring>

#include <gtest/gtest.h>

#include "child_process.hpp"

namespace memtally::model {
namespace {

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// Private memory of this process.
uint64_t PrivateBytes() {
  FILE* file = fopen("/proc/self/status", "re");
  if (file == nullptr) return 0;
  unsigned long kib = 0;
  char line[256];
  while (fgets(line, sizeof(line), file) != nullptr) {
    if (sscanf(line, "RssAnon: %lu", &kib) == 1) break;
  }
  fclose(file);
  return uint64_t{kib} * 1024;
}

// Buffer i of a generation, without a model: ids spread like addresses, each used once.
uint64_t IdOf(uint64_t i) { return 0x7f0000000000 + (i * 0x9e3779b1 % (uint64_t{1} << 32)) * 256; }
uint64_t BytesOf(uint64_t i) { return 1 + i * 37 % 100'000; }

std::string FillAndTurnOver() {
  const uint64_t live = Scaled(1'000'000);
  const uint64_t turnover = Scaled(4'500'000);  // frees, each with an allocation
  memtally_device_info info{};
  info.size = sizeof(info);
  const memtally_device device = memtally_register_device(&info);
  memtally_register_kind(device, MEMTALLY_KIND_DRAM, uint64_t{1} << 40, 12, 0);
  memtally_alloc(device, MEMTALLY_KIND_DRAM, 1, 1, 1, 1);
  memtally_free(device, MEMTALLY_KIND_DRAM, 1);

  const uint64_t before = PrivateBytes();
  uint64_t slowest_ns = 0;
  uint64_t requested = 0;
  uint64_t per_bank = 0;
  uint64_t peak = 1;
  uint64_t allocated = 1;
  const auto timed = [&](auto&& call) {
    const uint64_t begin = NowNs();
    call();
    slowest_ns = std::max(slowest_ns, NowNs() - begin);
  };
  const auto alloc = [&](uint64_t i) {
    timed([&] { memtally_alloc(device, MEMTALLY_KIND_DRAM, IdOf(i), IdOf(i), BytesOf(i), BytesOf(i) / 12); });
    requested += BytesOf(i);
    per_bank += BytesOf(i) / 12;
    allocated += BytesOf(i);
    peak = std::max(peak, requested);
  };
  for (uint64_t i = 0; i < live; ++i) alloc(i);
  const uint64_t after = PrivateBytes();
  LedgerView view;
  std::string error = ReadLedger(memtally_ledger_path(), &view);
  if (!error.empty()) return error;
  const uint64_t file_bytes = view.file_bytes;
  view = {};
  for (uint64_t i = 0; i < turnover; ++i) {  // the oldest goes, a new one comes
    timed([&] { memtally_free(device, MEMTALLY_KIND_DRAM, IdOf(i)); });
    requested -= BytesOf(i);
    per_bank -= BytesOf(i) / 12;
    alloc(live + i);
  }
  error = ReadLedger(memtally_ledger_path(), &view);
  if (!error.empty()) return error;

  const double of_file = static_cast<double>(file_bytes) / static_cast<double>(live);
  const double of_memory = static_cast<double>(after - before) / static_cast<double>(live);
  printf("%lu live, %lu events: %.1f bytes of file and %.1f private bytes a live buffer; slowest call %.3f ms\n", live,
         view.counters.events, of_file, of_memory, static_cast<double>(slowest_ns) / 1e6);
  fflush(stdout);

  std::string text = Join(BrokenInvariants(view));
  if (view.accounts.size() != 1 || !view.totals_exact || !view.buffers_exact) return text + "not one exact account\n";
  const LedgerAccount& account = view.accounts[0];
  if (account.live != Amount{live, requested, per_bank * 12}) text += "wrong live sum\n";
  if (account.allocated.count != live + turnover + 1 || account.allocated.bytes_requested != allocated) {
    text += "wrong sum of allocations\n";
  }
  if (account.peak_requested != peak || account.peak_requested_slack != 0) text += "wrong peak\n";
  if (view.counters.events != live + 2 * turnover + 2) text += "wrong number of events\n";
  if (view.buffers.size() != live) return text + "wrong number of buffers\n";
  std::map<uint64_t, uint64_t> sizes;
  for (uint64_t i = turnover; i < turnover + live; ++i) sizes[IdOf(i)] = BytesOf(i);
  for (const LedgerBuffer& buffer : view.buffers) {
    const auto at = sizes.find(buffer.id);
    if (at == sizes.end() || at->second != buffer.bytes_requested || buffer.address != buffer.id) {
      return text + "a buffer that should not be there\n";
    }
    sizes.erase(at);
  }
  // A smaller run says little about a single buffer.
  if (live >= 1'000'000 && of_file + of_memory > 48) text += "more than 48 bytes a live buffer\n";
  return text;
}

TEST(Million, LiveBuffersAndTenMillionEvents) { EXPECT_EQ(RunInChild(FillAndTurnOver), ""); }

}  // namespace
}  // namespace memtally::model
