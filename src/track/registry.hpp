// SPDX-License-Identifier: Apache-2.0
//
// Registry: devices, reporters, kinds, accounts, tags: what changes seldom.  Each function takes the registry lock
// itself.
#pragma once

#include <memtally/track.h>

#include "track/session.hpp"

namespace memtally::track {

class Registry {
 public:
  static constexpr uint32_t kMostBanks = 65536;  // of an account; more are taken as this, and counted

  // See the functions of the same names in track.h.
  static memtally_device AddDevice(ThreadBlock* block, const memtally_device_info& info);
  static void SetKind(Session* session, memtally_device device, uint32_t kind, uint64_t capacity_bytes, uint32_t banks,
                      uint64_t capacity_bytes_per_bank);
  static uint32_t DefineKind(Session* session, const char* name, uint32_t memory, uint32_t inside, uint32_t flags);

  // Account number, or a special value of DeviceRow.
  static uint32_t AccountOf(Session* session, memtally_device device, uint32_t kind);

  static void Close(ThreadBlock* block, writer::Lane* own, memtally_device device);
  static void Reopen(ThreadBlock* block, uint32_t device_index);
};

}  // namespace memtally::track
