// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a file of tt-metal's counters: taken apart or refused, never more.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "collect/tt_metal_counters.hpp"

// The fuzzer calls it by this name.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  memtally::collect::TtMetalCounters counters;
  memtally::LedgerError error;
  const bool good = memtally::collect::ParseCounters({data, size}, "file", &counters, &error);
  if (good == static_cast<bool>(error)) abort();
  if (good && (counters.rows.size() > 64 || size < memtally::collect::kCountersBytes)) abort();
  for (const memtally::collect::CounterRow& row : counters.rows) {
    if (row.pid == 0 || row.name.size() > 64) abort();
  }
  return 0;
}
