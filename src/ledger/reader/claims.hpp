// SPDX-License-Identifier: Apache-2.0
//
// Claims: which bytes of a file have been given a meaning.  Parts of a ledger never overlap; a file whose parts do
// could make a reader copy the same gigabyte two thousand times.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace memtally::reader {

class Claims {
 public:
  void Clear() { taken_.clear(); }

  // Takes [begin, end).  False, and nothing is taken, if a byte of it is taken already.  An empty range is always
  // granted.
  bool Take(uint64_t begin, uint64_t end) {
    if (begin >= end) return true;
    const auto next = std::lower_bound(taken_.begin(), taken_.end(), begin,
                                       [](const Range& range, uint64_t at) { return range.begin < at; });
    if (next != taken_.end() && next->begin < end) return false;
    if (next != taken_.begin() && (next - 1)->end > begin) return false;
    taken_.insert(next, {begin, end});
    return true;
  }

 private:
  struct Range {
    uint64_t begin;
    uint64_t end;
  };
  std::vector<Range> taken_;  // sorted, disjoint
};

}  // namespace memtally::reader
