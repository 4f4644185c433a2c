// SPDX-License-Identifier: Apache-2.0
//
// History: how full each memory was at the last snapshots.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <map>
#include <string>

#include "collect/snapshot.hpp"

namespace memtally::tools::top {

class History {
 public:
  static constexpr size_t kSamples = 512;

  // Adds a sample for each memory, and forgets the memories that the snapshot does not have.
  void Record(const collect::Snapshot& snapshot);

  // One character a sample, the latest at the end, at most `columns`; `levels` is what to draw: nothing to full.
  // Returns "" where there is nothing yet.
  std::string Line(const collect::Snapshot& snapshot, const collect::Device& device, const collect::Memory& memory,
                   int columns, const std::array<const char*, 9>& levels) const;

 private:
  // Of 1, as the capacity (where it is not known: the highest peak so far) was at that time.
  std::map<std::string, std::deque<double>> samples_;
};

}  // namespace memtally::tools::top
