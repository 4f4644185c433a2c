// SPDX-License-Identifier: Apache-2.0
//
// The original interface, and the ways in which reports leave the process.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <memtally/abi/legacy_protocol.h>
#include <memtally/allocation_client.hpp>

#include "track/legacy_client/client_settings.hpp"
#include "track/legacy_client/event_queue.hpp"
#include "track/legacy_client/ledger_sender.hpp"
#include "track/legacy_client/wire.hpp"

namespace memtally::legacy_client {
namespace {

// How long a sender that has little to do lets reports gather before it sleeps.
constexpr long kGatherNs = 50'000;
constexpr size_t kFewEvents = 32;
// How often an idle sender looks after the server.
constexpr uint32_t kIdleMs = 500;
constexpr size_t kSenderStack = size_t{256} << 10;

bool enabled = true;
pthread_once_t once = PTHREAD_ONCE_INIT;
bool is_ready = false;
ClientSettings settings;
pthread_mutex_t wire_lock = PTHREAD_MUTEX_INITIALIZER;
Wire wire;
EventQueue queue;
bool sender_runs = false;
bool has_said_loss = false;

bool IsQueued() { return settings.transport == Transport::kAsync || settings.transport == Transport::kBatch; }

// Where reports are sent by who makes them: looks after the server only.
void* RunCaretaker(void*) {
  for (;;) {
    const timespec idle{0, long{kIdleMs} * 1'000'000};
    nanosleep(&idle, nullptr);
    if (pthread_mutex_trylock(&wire_lock) != 0) continue;
    wire.LookAfter();
    pthread_mutex_unlock(&wire_lock);
  }
  return nullptr;
}

void* RunSender(void*) {
  static LegacyEvent events[Wire::kMostEvents];  // one sender at a time
  const uint32_t patience_ms = settings.transport == Transport::kBatch ? settings.batch_ms : kIdleMs;
  uint64_t looked_ns = NowNs();
  for (;;) {
    const size_t count = queue.Take(events, Wire::kMostEvents, patience_ms);
    if (count != 0) {
      wire.Deliver(events, count);
      queue.Delivered();
    }
    const uint64_t now_ns = NowNs();
    if (!wire.connected() || now_ns - looked_ns > uint64_t{kIdleMs} * 1'000'000) {
      wire.LookAfter();
      looked_ns = now_ns;
    }
    if (count < kFewEvents && settings.transport == Transport::kAsync) {
      const timespec gather{0, kGatherNs};
      nanosleep(&gather, nullptr);
    }
  }
  return nullptr;
}

// With wire_lock held.  False: there is no thread to be had.
bool StartSender() {
  if (sender_runs) return true;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kSenderStack);
  // The program's signals are the program's threads' business.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, &attributes, IsQueued() ? RunSender : RunCaretaker, nullptr) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  __atomic_store_n(&sender_runs, started, __ATOMIC_RELEASE);
  return started;
}

void SayLoss(const char* why, uint64_t count) {
  if (__atomic_exchange_n(&has_said_loss, true, __ATOMIC_RELAXED)) return;
  fprintf(stderr, "memtally: %llu report%s to the allocation server lost: %s\n", static_cast<unsigned long long>(count),
          count == 1 ? " was" : "s were", why);
}

// In a child: what was queued, and the connection, are the parent's; no other thread is here, and no lock is held.
void AfterForkInChild() {
  wire_lock = PTHREAD_MUTEX_INITIALIZER;
  sender_runs = false;
  has_said_loss = false;
  wire.Abandon();
  queue.Abandon();
  ForgetLedgerDevices();
}

void Begin() {
  settings = ReadClientSettings();
  wire.Configure(settings);
  if (settings.transport == Transport::kHybrid) wire.TryWithoutWaiting();
  if (IsQueued() && !queue.Make(settings)) {
    fprintf(stderr, "memtally: no memory for a queue of %u reports; each is sent at once\n", settings.queue_events);
    settings.transport = Transport::kBlocking;
  }
  pthread_atfork(nullptr, nullptr, AfterForkInChild);
  __atomic_store_n(&is_ready, true, __ATOMIC_RELEASE);
}

void SendNow(const LegacyEvent& event) {
  pthread_mutex_lock(&wire_lock);
  if (!sender_runs && !IsQueued()) StartSender();  // without it, a server that comes back waits for the next report
  wire.Deliver(&event, 1);
  pthread_mutex_unlock(&wire_lock);
}

void Enqueue(const LegacyEvent& event) {
  if (!__atomic_load_n(&sender_runs, __ATOMIC_ACQUIRE)) {
    pthread_mutex_lock(&wire_lock);
    const bool started = StartSender();
    pthread_mutex_unlock(&wire_lock);
    if (!started) return SendNow(event);
  }
  if (!queue.Put(event))
    SayLoss("the queue was full (TT_ALLOC_QUEUE, TT_ALLOC_QUEUE_FULL); more are counted at the end", 1);
}

void Report(const LegacyEvent& event) {
  if (!__atomic_load_n(&enabled, __ATOMIC_RELAXED)) return;
  if (!__atomic_load_n(&is_ready, __ATOMIC_ACQUIRE)) pthread_once(&once, Begin);
  const int error = errno;
  switch (settings.transport) {
    case Transport::kLedger:
      ReportToLedger(event);
      break;
    case Transport::kBlocking:
    case Transport::kHybrid:
      SendNow(event);
      break;
    case Transport::kAsync:
    case Transport::kBatch:
      Enqueue(event);
      break;
    case Transport::kNone:
      break;
  }
  errno = error;
}

// The normal end of the process: what is queued is delivered, for as long as the settings say.
__attribute__((destructor)) void AtEnd() {
  if (!__atomic_load_n(&is_ready, __ATOMIC_ACQUIRE) || !IsQueued()) return;
  if (__atomic_load_n(&sender_runs, __ATOMIC_ACQUIRE) && !queue.Drain(settings.exit_ms)) {
    has_said_loss = false;
    return SayLoss("the server did not take them before the end of the process", queue.waiting() + queue.dropped());
  }
  if (queue.dropped() != 0) {
    has_said_loss = false;
    SayLoss("the queue was full (TT_ALLOC_QUEUE, TT_ALLOC_QUEUE_FULL)", queue.dropped());
  }
}

}  // namespace
}  // namespace memtally::legacy_client

namespace tt::tt_metal {

using memtally::legacy_client::LegacyEvent;
using memtally::legacy_client::Report;

void AllocationClient::report_allocation(int device_id, uint64_t size, uint8_t buffer_type, uint64_t buffer_id) {
  Report({size, buffer_id, device_id, MEMTALLY_LEGACY_ALLOC, buffer_type});
}

void AllocationClient::report_deallocation(int device_id, uint64_t buffer_id) {
  Report({0, buffer_id, device_id, MEMTALLY_LEGACY_FREE, 0});
}

void AllocationClient::report_cb_allocation(int device_id, uint64_t size, uint64_t cb_id) {
  Report({size, cb_id, device_id, MEMTALLY_LEGACY_CB_ALLOC, 0});
}

void AllocationClient::report_cb_deallocation(int device_id, uint64_t size, uint64_t cb_id) {
  Report({size, cb_id, device_id, MEMTALLY_LEGACY_CB_FREE, 0});
}

void AllocationClient::report_kernel_load(int device_id, uint64_t size, uint64_t kernel_id, uint8_t kernel_type) {
  Report({size, kernel_id, device_id, MEMTALLY_LEGACY_KERNEL_LOAD, kernel_type});
}

void AllocationClient::report_kernel_unload(int device_id, uint64_t size, uint64_t kernel_id) {
  Report({size, kernel_id, device_id, MEMTALLY_LEGACY_KERNEL_UNLOAD, 0});
}

bool AllocationClient::is_enabled() {
  using namespace memtally::legacy_client;  // NOLINT(google-build-using-namespace): its state
  if (!__atomic_load_n(&is_ready, __ATOMIC_ACQUIRE)) pthread_once(&once, Begin);
  return __atomic_load_n(&enabled, __ATOMIC_RELAXED) && settings.transport != Transport::kNone;
}

void AllocationClient::set_enabled(bool enabled) {
  __atomic_store_n(&memtally::legacy_client::enabled, enabled, __ATOMIC_RELAXED);
}

}  // namespace tt::tt_metal
