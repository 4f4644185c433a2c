// SPDX-License-Identifier: Apache-2.0
//
// LegacyEvent: one report of the original interface, before it is a message.
#pragma once

#include <cstdint>

namespace memtally::legacy_client {

struct LegacyEvent {
  uint64_t size = 0;
  uint64_t id = 0;
  int32_t device = 0;
  uint8_t type = 0;         // enum memtally_legacy_type
  uint8_t buffer_type = 0;  // of a kernel: its type
};
static_assert(sizeof(LegacyEvent) == 24);

}  // namespace memtally::legacy_client
