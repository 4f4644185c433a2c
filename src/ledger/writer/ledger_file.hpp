// SPDX-License-Identifier: Apache-2.0
//
// LedgerFile: the bytes of a ledger that is being written.  It can make the file, add an extent to it, and reserve
// pages of it; nothing above this class knows that the bytes are a shared-memory file.
//
// A page is reserved before it is first touched: touching a hole of a full file system would kill the host with SIGBUS.
// The descriptor is checked before each use, since programs close descriptors that are not theirs and the number may by
// then name a file of the application.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "ledger/writer/futex_lock.hpp"

namespace memtally::writer {

// Why a ledger could not be made.  Text in MEMTALLY_LOG and in `memtally doctor`.
enum class MakeResult { kMade, kNoDirectory, kNoPermission, kNoSpace, kLimit, kNoDescriptor, kNoMemory, kOther };
const char* Describe(MakeResult result);

class LedgerFile {
 public:
  static constexpr size_t kPathBytes = 512;

  // Makes `<path>` and `<path with .control>`, takes the lock that says "alive", gives the file `fixed_bytes` (sparse)
  // and maps them. Leaves nothing behind when it fails.
  MakeResult Make(const char* directory, uint32_t uid, uint32_t pid, const uint8_t (&run_id)[16], bool is_private,
                  size_t fixed_bytes);

  // The mapped fixed part.
  uint8_t* fixed() const { return fixed_; }

  // Adds `bytes` (rounded up to pages) of file, maps them, and reserves the first page.  Returns null if refused: the
  // file and the address space are then as before, however often that happens.  Thread-safe.
  uint8_t* AddExtent(size_t bytes, uint64_t* offset);

  // Reserves the pages that cover [offset, offset + bytes).  False if the file system refuses; nothing was touched
  // then. Thread-safe.
  bool Reserve(uint64_t offset, size_t bytes);

  // Copies the first `bytes` of the control file; false if it is not readable.  Thread-safe.
  bool ReadControl(void* buffer, size_t bytes, uint64_t offset) const;

  // Whether the control file's lock is held by another process.
  bool RecorderHoldsLock() const;

  // Removes both files; mappings stay usable.
  void Unlink();

  // Takes Make back: files, descriptors and the mapping.
  void Discard();

  // After fork, in the child: forgets the parent's file.  Mappings stay.  Async-signal-safe.
  void AbandonInChild();

  const char* path() const { return path_; }
  uint64_t end() const { return end_; }

 private:
  MakeResult Prepare(int fd, mode_t mode, size_t fixed_bytes);
  void MakeControl(mode_t mode);
  bool DescriptorIsOurs(int fd, dev_t dev, ino_t ino) const;
  int CheckedDescriptor();  // of the ledger, opened again if somebody closed it; -1 if that fails

  FutexLock lock_;  // growth, one at a time
  int fd_ = -1;
  int control_fd_ = -1;
  dev_t dev_ = 0;
  ino_t ino_ = 0;
  dev_t control_dev_ = 0;
  ino_t control_ino_ = 0;
  uint8_t* fixed_ = nullptr;
  uint64_t end_ = 0;
  char path_[kPathBytes] = {};
  char control_path_[kPathBytes] = {};
};

}  // namespace memtally::writer
