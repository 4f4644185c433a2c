// SPDX-License-Identifier: Apache-2.0
//
// CancelGuard: while one lives, pthread_cancel does not take this thread.
//
// open, fallocate, pread and others are cancellation points: a thread that is cancelled inside the tracker would never
// come back and would leave locks held.  Every function of ours that calls one holds a CancelGuard.
#pragma once

#include <pthread.h>

namespace memtally::writer {

class CancelGuard {
 public:
  CancelGuard() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~CancelGuard() { pthread_setcancelstate(before_, &before_); }
  CancelGuard(const CancelGuard&) = delete;
  CancelGuard& operator=(const CancelGuard&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace memtally::writer
