// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/time_line.hpp"

#include <ticks.hpp>  // of the processor, chosen by the build

#include "base/proc.hpp"

namespace memtally::reader {

namespace {

// Whether `ns` nanoseconds are about as long as `ticks` at `hz`; true if the rate is not known.
bool Plausible(uint64_t ns, uint64_t ticks, uint64_t hz) {
  if (ns == 0 || ticks == 0) return false;
  if (hz == 0) return true;
  const double expected = static_cast<double>(ticks) / static_cast<double>(hz) * 1e9;
  const double actual = static_cast<double>(ns);
  return actual > expected * 0.9 && actual < expected * 1.1;
}

// Both clocks at one instant: of three readings the one between whose ends the least time passed.
void ReadBoth(uint64_t* ticks, uint64_t* ns) {
  uint64_t shortest = UINT64_MAX;
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = base::ReadTicks();
    const uint64_t now_ns = base::MonotonicNs();
    const uint64_t after = base::ReadTicks();
    if (after - before >= shortest) continue;
    shortest = after - before;
    *ticks = before + shortest / 2;
    *ns = now_ns;
  }
}

}  // namespace

TimeLine::TimeLine(const memtally_ledger_header& header, uint64_t pair_ticks, uint64_t pair_ns, bool same_boot)
    : start_ns_(header.clock_start_ns),
      shift_(header.clock_shift < 64 ? header.clock_shift : 63),
      most_units_(UINT64_MAX >> shift_) {
  if (header.clock_kind == MEMTALLY_CLOCK_MONOTONIC) return;
  // In another time namespace CLOCK_MONOTONIC differs, which the rate shows.
  if (same_boot && header.clock_kind == base::kTickClockKind) {
    uint64_t ticks = 0;
    uint64_t ns = 0;
    ReadBoth(&ticks, &ns);
    ticks -= header.clock_start_ticks;
    ns -= header.clock_start_ns;
    if (ticks <= UINT64_MAX / 2 && ns <= UINT64_MAX / 2 && Plausible(ns, ticks, header.clock_hz)) {
      SetSlope(ns, ticks);
      return;
    }
  }
  if (pair_ns > header.clock_start_ns && pair_ticks > header.clock_start_ticks &&
      Plausible(pair_ns - header.clock_start_ns, pair_ticks - header.clock_start_ticks, header.clock_hz)) {
    SetSlope(pair_ns - header.clock_start_ns, pair_ticks - header.clock_start_ticks);
  } else if (header.clock_hz != 0) {
    SetSlope(1'000'000'000, header.clock_hz);
  } else {
    believable_ = false;
  }
}

// The multiplier gets as many bits as 64 hold, so that even years of ticks are off by less than a nanosecond's share.
void TimeLine::SetSlope(uint64_t ns, uint64_t ticks) {
  __extension__ using Wide = unsigned __int128;
  uint32_t shift = 64;
  Wide quotient = (static_cast<Wide>(ns) << shift) / ticks;
  while (shift > 0 && quotient > UINT64_MAX) {
    --shift;
    quotient = (static_cast<Wide>(ns) << shift) / ticks;
  }
  if (quotient == 0 || quotient > UINT64_MAX) {
    believable_ = false;
    return;
  }
  multiplier_ = static_cast<uint64_t>(quotient);
  multiplier_shift_ = shift;
}

}  // namespace memtally::reader
