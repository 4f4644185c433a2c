// SPDX-License-Identifier: Apache-2.0
#include "track/hooks/ttmetal/locks.hpp"

#include <pthread.h>

namespace memtally::track::ttmetal {

namespace {

pthread_mutex_t mutexes[kLocks] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                   PTHREAD_MUTEX_INITIALIZER};

void TakeAll() {
  for (pthread_mutex_t& mutex : mutexes) pthread_mutex_lock(&mutex);
}

void GiveAll() {
  for (pthread_mutex_t& mutex : mutexes) pthread_mutex_unlock(&mutex);
}

}  // namespace

Lock::Lock(LockName name) : name_(name) { pthread_mutex_lock(&mutexes[static_cast<unsigned>(name)]); }

Lock::~Lock() { pthread_mutex_unlock(&mutexes[static_cast<unsigned>(name_)]); }

void WatchForks() { pthread_atfork(TakeAll, GiveAll, GiveAll); }

}  // namespace memtally::track::ttmetal
