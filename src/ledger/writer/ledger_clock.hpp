// SPDX-License-Identifier: Apache-2.0
//
// LedgerClock: time in units since the ledger began, from the processor's counter where the kernel itself trusts that,
// and else from CLOCK_MONOTONIC.
#pragma once

#include <cstdint>

#include <memtally/abi/ledger_format.h>

#include "ledger/writer/futex_lock.hpp"
#include "ticks.hpp"

namespace memtally::writer {

class LedgerClock {
 public:
  // Chooses the source and writes the header's clock fields.
  void Start(memtally_ledger_header* header);

  // Units now; their low 56 bits count.  Any thread.
  [[gnu::always_inline]] uint64_t Units() const {
    if (by_counter_) [[likely]]
      return (base::ReadTicks() - start_ticks_) >> base::kTickShift;
    return MonotonicNs() - start_ticks_;
  }

  // Writes a later reading of both clocks into the header, if the last is old enough to be worth it.  One thread at a
  // time.
  void RefreshPair(memtally_ledger_header* header) const;

 private:
  uint64_t start_ticks_ = 0;
  bool by_counter_ = false;
};

}  // namespace memtally::writer
