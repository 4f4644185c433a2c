// SPDX-License-Identifier: Apache-2.0
//
// A replay from outside: starts the workers, looks at their ledgers as any reader would, kills them where that is
// wanted.
#pragma once

#include <cstdint>
#include <optional>

#include "tools/replay_worker.hpp"
#include "tools/trace.hpp"

namespace memtally::tools {

struct ReplayOptions {
  WorkerPlan worker;
  uint32_t processes = 1;
  std::optional<uint64_t>
      random_kill;  // seed: kill a worker at a random instant, `repeat` times, and check what is left
  uint32_t repeat = 1;
};

// Returns an ExitCode, after the summary went to standard output and every difference to standard error.
int RunReplay(const Trace& trace, const ReplayOptions& options);

}  // namespace memtally::tools
