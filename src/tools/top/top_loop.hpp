// SPDX-License-Identifier: Apache-2.0
//
// The loops of memtally top: on a terminal, and of plain frames.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "tools/top/cell_grid.hpp"

namespace memtally::tools::top {

struct TopOptions {
  uint64_t refresh_ms = 500;
  std::set<int32_t> devices;  // by the programs' own numbers; empty: all
  bool read_only = false;
  bool once = false;  // one plain frame, also on a terminal
  bool ascii = false;
  std::optional<uint64_t> frames;  // leave after so many
};

// Returns an ExitCode.  Ends by the signal itself where one asked for an end (but SIGINT, which is a way to leave).
int RunTop(const TopOptions& options);

}  // namespace memtally::tools::top
