// SPDX-License-Identifier: Apache-2.0
//
// ClientRegistry: the processes that speak the original protocol, and what they hold on each device.
//
// Knows no sockets.  A process is what the kernel says that it is: pid and start time, never what a message claims.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <memtally/abi/ledger_format.h>
#include <memtally/abi/legacy_state.h>

#include "daemon/legacy/client_process.hpp"
#include "daemon/legacy/message_framer.hpp"
#include "daemon/legacy/server_settings.hpp"

namespace memtally::daemon {

// Bytes and buffers that connected processes hold on a device, by kind.
struct DeviceTotals {
  std::array<uint64_t, MEMTALLY_BUILTIN_KINDS> bytes{};
  std::array<uint64_t, MEMTALLY_BUILTIN_KINDS> buffers{};
};

class ClientRegistry {
 public:
  struct Counters {
    uint64_t connections_ever = 0;
    uint64_t messages = 0;
    uint64_t queries = 0;
    uint64_t forgotten_processes = 0;
    std::array<uint64_t, MEMTALLY_LEGACY_REFUSALS> refused{};
  };

  explicit ClientRegistry(const ServerSettings& settings) : settings_(settings) {}

  // The process with this pid (0: one that the kernel does not show us; `connection` tells them apart), made if need
  // be. *is_new: it was made; its death is to be watched, by identity().pid.
  ClientProcess* Find(uint32_t pid, uint32_t uid, uint32_t gid, uint64_t connection, uint64_t now_ns, bool* is_new);

  // Connections come and go; with its last one a process is disconnected, and what it holds has leaked.
  void Attach(ClientProcess* process);
  void Detach(ClientProcess* process, uint64_t now_ns);
  // It has died.  What holds nothing of interest is forgotten: the pointer may be dangling afterwards.
  void Died(ClientProcess* process, uint64_t now_ns);

  // A message that needs no answer of its own.
  void Apply(ClientProcess* process, const FramedMessage& message, uint64_t now_ns);

  // Devices of which somebody spoke.
  const std::map<int32_t, DeviceTotals>& devices() const { return devices_; }
  const DeviceTotals& TotalsOf(int32_t device) const;
  const std::deque<std::unique_ptr<ClientProcess>>& processes() const { return processes_; }
  const Counters& counters() const { return counters_; }
  Counters& counters() { return counters_; }

 private:
  void Count(const ClientProcess& process, bool add);
  void ForgetOldest();

  const ServerSettings& settings_;
  Counters counters_;
  std::deque<std::unique_ptr<ClientProcess>> processes_;  // in the order in which they came
  std::unordered_map<uint64_t, ClientProcess*> by_pid_;   // of the living; connections of unseen ones have bit 63
  std::map<int32_t, DeviceTotals> devices_;
  std::map<int32_t, DeviceTotals>::iterator last_device_ = devices_.end();
  size_t dead_ = 0;
};

}  // namespace memtally::daemon
