// SPDX-License-Identifier: Apache-2.0
//
// LegacyReplay: a trace, reported by the original allocation client.
//
// That interface knows less than a trace: kinds that it has no call for are left out (what is on the host or of another
// vendor), a close becomes frees of what is live, a second allocation of a live key a free and an allocation, and a
// free of what is not live is not reported.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "tools/trace.hpp"

namespace memtally::tools {

// Not thread-safe: one record at a time, in their order.
class LegacyReplay {
 public:
  // Chip n of the trace is reported as its number plus `first_device`.
  LegacyReplay(const Trace& trace, int32_t first_device);

  void Report(const TraceRecord& record);

 private:
  enum class Call : uint8_t { kNone, kBuffer, kCircularBuffer, kKernel };
  struct Kind {
    Call call = Call::kNone;
    uint8_t buffer_type = 0;
  };
  using Key = std::tuple<uint16_t, uint16_t, uint64_t>;  // chip, kind, id

  void Free(const Key& key, uint64_t size) const;

  const Trace& trace_;
  const int32_t first_device_;
  std::vector<Kind> kinds_;       // by kind of the trace
  std::map<Key, uint64_t> live_;  // its size
};

}  // namespace memtally::tools
