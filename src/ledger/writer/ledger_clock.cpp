// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/ledger_clock.hpp"

#include <cstring>

#include "ledger/writer/process_facts.hpp"

namespace memtally::writer {

namespace {

static_assert(base::kTickClockKind == MEMTALLY_CLOCK_X86_TSC || base::kTickClockKind == MEMTALLY_CLOCK_AARCH64_CNTVCT);

constexpr char kClockSourceFile[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
constexpr uint64_t kPairAgeNs = 100'000'000;

bool KernelTrustsCounter() {
  char source[64];
  if (ReadSmallFile(kClockSourceFile, source, sizeof(source)) <= 0) return false;
  const size_t length = strlen(base::kTickClockSource);
  return strncmp(source, base::kTickClockSource, length) == 0 && (source[length] == '\n' || source[length] == 0);
}

// Both clocks, read close to each other.
void ReadBoth(uint64_t* ticks, uint64_t* ns) {
  uint64_t best = ~uint64_t{0};
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = base::ReadTicks();
    const uint64_t now = MonotonicNs();
    const uint64_t after = base::ReadTicks();
    if (after - before < best) {
      best = after - before;
      *ticks = before + (after - before) / 2;
      *ns = now;
    }
  }
}

}  // namespace

void LedgerClock::Start(memtally_ledger_header* header) {
  by_counter_ = KernelTrustsCounter();
  uint64_t ticks = 0;
  uint64_t ns = 0;
  if (by_counter_) {
    ReadBoth(&ticks, &ns);
    header->clock_shift = base::kTickShift;
    header->clock_kind = base::kTickClockKind;
    header->clock_hz = base::StatedTickHz();
  } else {
    ticks = ns = MonotonicNs();
    header->clock_shift = 0;
    header->clock_kind = MEMTALLY_CLOCK_MONOTONIC;
    header->clock_hz = 1'000'000'000;
  }
  start_ticks_ = ticks;
  header->clock_start_ticks = ticks;
  header->clock_start_ns = ns;
}

void LedgerClock::RefreshPair(memtally_ledger_header* header) const {
  if (!by_counter_) return;
  const uint64_t now = MonotonicNs();
  const uint64_t last = header->clock_pair_ns != 0 ? header->clock_pair_ns : header->clock_start_ns;
  if (now - last < (header->clock_pair_ns != 0 ? kPairAgeNs : kPairAgeNs / 100)) return;
  uint64_t ticks = 0;
  uint64_t ns = 0;
  ReadBoth(&ticks, &ns);
  const uint64_t sequence = header->clock_pair_sequence;
  __atomic_store_n(&header->clock_pair_sequence, sequence + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  header->clock_pair_ticks = ticks;
  header->clock_pair_ns = ns;
  __atomic_store_n(&header->clock_pair_sequence, sequence + 2, __ATOMIC_RELEASE);
}

}  // namespace memtally::writer
