// SPDX-License-Identifier: Apache-2.0
//
// ClientProcess: what one process reported by the original protocol, and what was odd about it.
//
// Semantics of the original server, kept: a repeated ALLOC counts a reference and changes no total, a FREE gives one
// back and ignores the size.  Different: the key has the kind, and an unknown CB_FREE or KERNEL_UNLOAD subtracts
// nothing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <memtally/abi/legacy_protocol.h>

#include "daemon/legacy/buffer_table.hpp"

namespace memtally::daemon {

// One device and kind.
struct LegacyAccount {
  int32_t device = 0;
  uint16_t device_place = 0;  // of BufferEntry::device
  uint8_t kind = 0;           // enum memtally_kind
  uint64_t live_count = 0, live_bytes = 0;
  uint64_t allocated_count = 0, allocated_bytes = 0;
  uint64_t freed_count = 0, freed_bytes = 0;
  uint64_t peak_bytes = 0;
};

// What a message changed; the server's totals of devices follow it.
struct AccountChange {
  int32_t device = 0;
  uint8_t kind = 0;
  uint64_t bytes = 0;  // to be added to what is live, modulo 2^64: a size may be any number
  uint64_t count = 0;
};

class ClientProcess {
 public:
  enum class State : uint8_t { kConnected, kDisconnected, kDead };

  // As the kernel and /proc name it.
  struct Identity {
    std::array<uint8_t, 16> run_id{};
    uint32_t pid = 0;  // 0: in another pid namespace
    uint32_t parent_pid = 0, uid = 0, gid = 0;
    uint64_t start_ticks = 0;
    std::vector<uint32_t> own_pids;  // its numbers, in its own namespace and those above
    std::string comm, executable;
  };

  struct Counters {
    uint64_t messages = 0;
    uint64_t repeated_allocations = 0;
    uint64_t unknown_frees = 0, unknown_free_bytes = 0;
    uint64_t ambiguous_frees = 0;
    uint64_t foreign_pids = 0;
    uint64_t refused_buffers = 0, refused_bytes = 0;
    uint64_t damaged_messages = 0, skipped_bytes = 0;
    uint64_t unknown_types = 0;
    uint64_t throttled = 0;
    uint64_t resynchronisations = 0;
  };

  ClientProcess(Identity identity, uint64_t start_ns) : identity_(std::move(identity)), start_ns_(start_ns) {}

  // An ALLOC, FREE, CB_* or KERNEL_*; `most_buffers`: 0 any number.  Returns what it changed.
  AccountChange Apply(const memtally_legacy_head& head, uint64_t now_ns, uint64_t most_buffers);
  // Everything that it holds is as if it had never been reported.
  void Forget();
  // A message came from it: counts a pid that is none of its own, and the generation.
  void NoteMessage(const memtally_legacy_head& head, uint32_t generation);

  const Identity& identity() const { return identity_; }
  const Counters& counters() const { return counters_; }
  Counters& counters() { return counters_; }
  const std::vector<LegacyAccount>& accounts() const { return accounts_; }
  const BufferTable& buffers() const { return buffers_; }
  // Of BufferEntry::device.
  int32_t DeviceAt(uint16_t place) const { return devices_[place]; }
  int32_t claimed_pid() const { return claimed_pid_; }
  uint32_t generations() const { return generations_; }  // enum memtally_legacy_generation_bit
  uint64_t start_ns() const { return start_ns_; }
  // Whether anybody should see it once it is dead.
  bool IsEvidence() const;

  // Kept by the server.
  State state = State::kConnected;
  uint32_t connections = 0;
  uint64_t end_ns = 0;
  double tokens = 0;  // messages that it may send at once
  uint64_t tokens_ns = 0;
  int pid_fd = -1;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  // Of one process; what it reports of others is refused.
  static constexpr size_t kMostDevices = 1024;

  AccountChange Allocate(const memtally_legacy_head& head, Sort sort, uint8_t kind, uint64_t now_ns,
                         uint64_t most_buffers);
  AccountChange Free(const memtally_legacy_head& head, Sort sort);
  // Makes it if need be; null if it has too many devices.
  LegacyAccount* AccountOf(int32_t device, uint8_t kind);
  uint32_t PlaceOf(int32_t device);

  Identity identity_;
  uint64_t start_ns_;
  uint64_t last_ns_ = 0;
  Counters counters_;
  std::vector<int32_t> devices_;
  std::vector<LegacyAccount> accounts_;
  BufferTable buffers_;
  size_t last_account_ = 0;
  uint32_t last_place_ = 0;
  int32_t claimed_pid_ = 0;
  uint32_t generations_ = 0;
};

}  // namespace memtally::daemon
