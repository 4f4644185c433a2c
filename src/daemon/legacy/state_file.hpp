// SPDX-License-Identifier: Apache-2.0
//
// StateFile: what the server knows, as a sealed memory file for a reader (memtally/abi/legacy_state.h).
#pragma once

#include <cstdint>

#include <memtally/abi/legacy_state.h>

#include "base/fd.hpp"
#include "daemon/legacy/client_registry.hpp"
#include "daemon/legacy/server_settings.hpp"

namespace memtally::daemon {

struct StateFacts {
  const ServerSettings* settings = nullptr;
  uint64_t start_ns = 0;
  uint64_t now_ns = 0;
  uint32_t connections = 0;
};

// Returns an invalid descriptor, and sets errno, if it cannot be made.  *bytes: its size.
base::Fd MakeStateFile(const ClientRegistry& registry, const StateFacts& facts,
                       const memtally_legacy_state_request& request, uint64_t* bytes);

}  // namespace memtally::daemon
