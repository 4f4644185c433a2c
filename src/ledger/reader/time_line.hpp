// SPDX-License-Identifier: Apache-2.0
//
// TimeLine: turns the time units of a ledger into CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <cstdint>

#include <memtally/abi/ledger_format.h>

namespace memtally::reader {

class TimeLine {
 public:
  // `pair_ticks`, `pair_ns`: the header's pair, read in one piece; 0 and 0 if there is none.  `same_boot`: the ledger's
  // machine is this one and has not been started anew since.
  TimeLine(const memtally_ledger_header& header, uint64_t pair_ticks, uint64_t pair_ns, bool same_boot);

  uint64_t Ns(uint64_t units) const {
    const uint64_t ticks = units > most_units_ ? UINT64_MAX : units << shift_;
    if (multiplier_ == 0) return start_ns_ + ticks;
    __extension__ using Wide = unsigned __int128;
    const Wide ns = (static_cast<Wide>(ticks) * multiplier_) >> multiplier_shift_;
    return ns > UINT64_MAX - start_ns_ ? UINT64_MAX : start_ns_ + static_cast<uint64_t>(ns);
  }

  // False if nothing says how long a tick is: a tick is then taken as a nanosecond.
  bool believable() const { return believable_; }

 private:
  void SetSlope(uint64_t ns, uint64_t ticks);

  uint64_t start_ns_;
  uint32_t shift_;
  uint64_t most_units_;
  uint64_t multiplier_ = 0;  // ns = ticks * multiplier >> multiplier_shift; 0: a tick is a nanosecond
  uint32_t multiplier_shift_ = 0;
  bool believable_ = true;
};

}  // namespace memtally::reader
