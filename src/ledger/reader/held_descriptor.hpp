// SPDX-License-Identifier: Apache-2.0
//
// HeldDescriptor: a descriptor of a ledger that is closed only if that hurts nobody.
//
// A process that closes any descriptor of a file loses all its POSIX record locks on that file; the lock on a ledger is
// what says "alive".  So a process that reads its own ledger (a test, a program with a view of itself) must never close
// the descriptor that it read it with.  Such descriptors stay open until the process ends, one for each file, and are
// used again by the next reader.
#pragma once

#include <sys/types.h>

#include <string>

namespace memtally::reader {

class HeldDescriptor {
 public:
  HeldDescriptor() = default;
  HeldDescriptor(HeldDescriptor&& other) noexcept;
  HeldDescriptor& operator=(HeldDescriptor&& other) noexcept;
  HeldDescriptor(const HeldDescriptor&) = delete;
  HeldDescriptor& operator=(const HeldDescriptor&) = delete;
  ~HeldDescriptor() { Reset(); }

  // Opens a regular file for reading; follows no symbolic link, waits for nothing, opens no device.  Returns 0 or an
  // errno (ELOOP a symbolic link, EINVAL another type of file).  Thread-safe.
  int Open(const std::string& path);

  // Uses a descriptor that stays the caller's, who closes it after this object's end.
  static HeldDescriptor Borrow(int fd);

  // This process writes that file: the descriptor is never closed.
  void KeepForGood() { keep_ = true; }

  int get() const { return fd_; }

 private:
  void Reset();

  int fd_ = -1;
  bool cached_ = false;  // in the list of those that are never closed
  bool borrowed_ = false;
  bool keep_ = false;
};

// Whoever holds a write lock on byte 0.  `pid`: in the caller's pid namespace, 0 if it is not visible there.
// Locks of open file descriptions (as a clean-up takes them) do not count: trackers hold POSIX locks.
struct LockHolder {
  bool held = false;
  bool held_by_description = false;  // not by a tracker, but byte 0 is locked
  uint32_t pid = 0;
};
LockHolder AskLock(int fd);

}  // namespace memtally::reader
