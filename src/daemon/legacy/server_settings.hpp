// SPDX-License-Identifier: Apache-2.0
//
// ServerSettings: what memtallyd is told, in a TOML file or on its command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace memtally::daemon {

// What a device is, for DEVICE_INFO_QUERY: nobody else tells the server.
struct DeviceFacts {
  int32_t device = 0;
  uint64_t dram_bytes = 0;
  uint64_t l1_bytes = 0;
  uint32_t architecture = 0;  // 1 Grayskull, 2 Wormhole, 3 Blackhole, 4 Quasar
  uint32_t dram_channels = 0;
  uint32_t l1_bytes_per_core = 0;
};

struct ServerSettings {
  std::string socket;        // of the original protocol
  std::string state_socket;  // for readers
  std::string group;         // "": everybody may connect
  uint32_t most_connections = 4096;
  uint32_t most_connections_of_user = 0;  // 0: any number.  root's are not counted
  uint32_t most_messages_a_second = 0;    // of a process; it waits.  0: any number
  uint64_t most_buffers = 0;              // of a process; more are refused.  0: any number
  uint32_t idle_seconds = 0;              // silent connections are closed.  0: never
  uint32_t statistics_seconds = 0;        // in the log so often; 0: only at the end
  uint32_t keep_dead = 256;               // dead processes that are remembered
  std::string log_level = "info";
  std::vector<DeviceFacts> devices;
};

// The settings without any file.
ServerSettings DefaultSettings();

// Reads `path` over *settings.  False: *error says what was wrong, where, and what to do.
bool ReadSettings(const std::string& path, ServerSettings* settings, std::string* error);

}  // namespace memtally::daemon
