// SPDX-License-Identifier: Apache-2.0
//
// Tracker: what each call of the C API does.  All functions may be called from any thread and from signal handlers, and
// leave errno as it was.
#pragma once

#include <cstdint>

#include <memtally/track.h>

#include "track/thread_block.hpp"

namespace memtally::track {

class Tracker {
 public:
  static memtally_device RegisterDevice(const memtally_device_info* info);
  static void RegisterKind(memtally_device device, uint32_t kind, uint64_t capacity_bytes, uint32_t banks,
                           uint64_t capacity_bytes_per_bank);
  static uint32_t DefineKind(const char* name, uint32_t memory, uint32_t inside, uint32_t flags);
  static void Alloc(memtally_device device, uint32_t kind, uint64_t id, uint64_t address, uint64_t bytes_requested,
                    uint64_t bytes_per_bank);
  static void AllocBuffer(const memtally_buffer* buffer);
  static void Free(memtally_device device, uint32_t kind, uint64_t id);
  static void AllocFailed(memtally_device device, uint32_t kind, uint64_t bytes_requested, uint64_t bytes_per_bank);
  static void CloseDevice(memtally_device device);
  static void Mark(const char* name);
  static void PushTag(const char* name);
  static void PopTag();
  static void NameGroup(uint64_t group, const char* name);
  static void ForgetGroup(uint64_t group);
  static void Pause();
  static void Resume();
  static uint32_t CurrentTag();
  static uint32_t ExchangeTag(uint32_t tag);
  static const char* LedgerPath();
};

}  // namespace memtally::track
