// SPDX-License-Identifier: Apache-2.0
//
// SyscallScope: keeps the host from noticing our system calls.
//
// While one lives, pthread_cancel does not take this thread: open, fallocate, pread and others are cancellation points,
// and a thread that is cancelled inside the tracker would never come back and would leave locks held.  At its end errno
// is what it was.  Every function that makes a system call holds one.
#pragma once

#include <errno.h>
#include <pthread.h>

namespace memtally::writer {

class SyscallScope {
 public:
  SyscallScope() : errno_(errno) { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_); }
  ~SyscallScope() {
    pthread_setcancelstate(cancel_state_, nullptr);
    errno = errno_;
  }
  SyscallScope(const SyscallScope&) = delete;
  SyscallScope& operator=(const SyscallScope&) = delete;

 private:
  int errno_;
  int cancel_state_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace memtally::writer
