// SPDX-License-Identifier: Apache-2.0
//
// Report device memory to memtally: C++ over track.h.  Header-only; the same rules hold (any thread, nothing throws).
#pragma once

#include <cstdint>

#include <memtally/track.h>

namespace memtally {

// What this thread allocates while one of these lives is tagged with `name`, below the tags around it.
class TagScope {
 public:
  explicit TagScope(const char* name) noexcept { memtally_push_tag(name); }
  ~TagScope() { memtally_pop_tag(); }
  TagScope(const TagScope&) = delete;
  TagScope& operator=(const TagScope&) = delete;
};

// Hands one thread's tag to another: take it with memtally_current_tag() there, adopt it here.
class AdoptedTag {
 public:
  explicit AdoptedTag(uint32_t tag) noexcept : before_(memtally_exchange_tag(tag)) {}
  ~AdoptedTag() { memtally_exchange_tag(before_); }
  AdoptedTag(const AdoptedTag&) = delete;
  AdoptedTag& operator=(const AdoptedTag&) = delete;

 private:
  uint32_t before_;
};

// This thread's events are not recorded (but counted) while one of these lives.
class PauseScope {
 public:
  PauseScope() noexcept { memtally_pause(); }
  ~PauseScope() { memtally_resume(); }
  PauseScope(const PauseScope&) = delete;
  PauseScope& operator=(const PauseScope&) = delete;
};

// A device, without ownership: closing is a call, since devices outlive scopes.
class Device {
 public:
  Device() = default;
  explicit Device(memtally_device_info info) noexcept {
    info.size = sizeof(info);
    handle_ = memtally_register_device(&info);
  }

  memtally_device handle() const noexcept { return handle_; }

  void kind(uint32_t kind, uint64_t capacity_bytes, uint32_t banks, uint64_t capacity_bytes_per_bank) const noexcept {
    memtally_register_kind(handle_, kind, capacity_bytes, banks, capacity_bytes_per_bank);
  }
  void alloc(uint32_t kind, uint64_t id, uint64_t address, uint64_t bytes_requested,
             uint64_t bytes_per_bank) const noexcept {
    memtally_alloc(handle_, kind, id, address, bytes_requested, bytes_per_bank);
  }
  void free(uint32_t kind, uint64_t id) const noexcept { memtally_free(handle_, kind, id); }
  void alloc_failed(uint32_t kind, uint64_t bytes_requested, uint64_t bytes_per_bank) const noexcept {
    memtally_alloc_failed(handle_, kind, bytes_requested, bytes_per_bank);
  }
  void close() const noexcept { memtally_close_device(handle_); }

 private:
  memtally_device handle_ = 0;
};

}  // namespace memtally
