// SPDX-License-Identifier: Apache-2.0
//
// ClientSettings: what the environment says about how to report.  Read once, at the first report.
#pragma once

#include <cstdint>

namespace memtally::legacy_client {

enum class Transport : uint8_t { kNone, kLedger, kBlocking, kHybrid, kAsync, kBatch };

struct ClientSettings {
  Transport transport = Transport::kLedger;  // TT_ALLOC_TRANSPORT; none with TT_ALLOC_TRACKING_ENABLED=0
  char socket[108] = {};                     // TT_ALLOC_SOCKET
  uint32_t send_buffer = 1 << 20;            // TT_ALLOC_SNDBUF, bytes
  uint32_t queue_events = 1 << 18;           // TT_ALLOC_QUEUE: of async and batch
  bool drop_when_full = false;               // TT_ALLOC_QUEUE_FULL=drop
  uint32_t wait_ms = 10'000;                 // TT_ALLOC_WAIT_MS: how long a full queue makes a report wait, at most
  uint32_t batch_events = 256;               // TT_ALLOC_BATCH
  uint32_t batch_ms = 10;                    // TT_ALLOC_BATCH_MS
  uint32_t exit_ms = 2'000;                  // TT_ALLOC_EXIT_MS: how long the end of the process waits, at most
};

ClientSettings ReadClientSettings();

}  // namespace memtally::legacy_client
