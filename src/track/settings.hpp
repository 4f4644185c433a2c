// SPDX-License-Identifier: Apache-2.0
//
// Settings: what the environment says to the tracker.  Read once, at the first call.
#pragma once

#include <cstdint>

namespace memtally::track {

struct Settings {
  bool enabled = true;                 // MEMTALLY=0 or TT_ALLOC_TRACKING_ENABLED=0 turn it off
  bool is_private = false;             // MEMTALLY_PRIVATE=1: files of mode 0600
  const char* directory = "/dev/shm";  // MEMTALLY_DIR
  uint8_t launch_id[16] = {};          // MEMTALLY_LAUNCH, 32 digits 0-9a-f; zero if it is not there or not that

  // Whoever launched this process reads its ledger after its end, whatever is in it.
  bool is_launched() const;
};

const Settings& GetSettings();

// Writes one line if MEMTALLY_LOG is set: to stderr if it is "1" or "stderr", else appended to the file that it names.
// `detail` may be null.  Async-signal-safe.
void Log(const char* message, const char* detail = nullptr);

}  // namespace memtally::track
