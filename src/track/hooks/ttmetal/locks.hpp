// SPDX-License-Identifier: Apache-2.0
//
// The hook's locks.  All are free in a child of fork, whatever the other threads of its parent were doing.
#pragma once

#include <cstdint>

namespace memtally::track::ttmetal {

// In the order in which they may be taken one inside the other.  memtally's calls may be made under all but the last.
enum class LockName : uint8_t { kPrograms, kPartBuffers, kDevices, kFunctions };

inline constexpr unsigned kLocks = 4;

class Lock {
 public:
  explicit Lock(LockName name);
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  const LockName name_;
};

// To be called once, before there is anything to protect.
void WatchForks();

}  // namespace memtally::track::ttmetal
