// SPDX-License-Identifier: Apache-2.0
//
// ThreadBlock: what the tracker knows of one thread.
//
// Blocks lie in pages that a fork wipes (MADV_WIPEONFORK): in the child each is all zero, which is state kFresh, and
// the first event there finds out.  A thread that ends leaves its block; the next new thread that finds its kernel
// thread gone takes it over, lane and all.
#pragma once

#include <atomic>
#include <cstdint>

#include <memtally/track.h>

#include "ledger/writer/lane.hpp"

namespace memtally::track {

struct Session;

enum class Call : uint32_t {
  kAlloc,
  kFree,
  kAllocFailed,
  kMark,
  kNone,
};

// A call of a signal handler that interrupted the tracker, kept until the interrupted call is done.
struct QueuedCall {
  Call call;
  uint32_t device;
  uint32_t kind;
  writer::BufferFacts facts;
};

struct ThreadBlock {
  enum State : uint32_t {
    kFresh = 0,  // not known to the present session
    kIdle = 1,
    kBusy = 2,   // inside a call: whoever comes now is a signal handler of this thread
    kPaused = 3  // idle, and not to be recorded
  };
  static constexpr uint32_t kQueue = 16;
  static constexpr uint32_t kTagDepth = 256;

  std::atomic<uint32_t> state;
  std::atomic<uint32_t> queued;  // calls in `queue`; written by handlers of this thread and by the thread itself
  Session* session;
  writer::Lane* lane;           // where events of no buffer go, and new regions; null until needed
  writer::Lane* owned;          // the same, if this thread is its owner
  uint32_t owned_number;        // of that lane; RegionDirectory::kNone + 1 if there is none
  memtally_device last_device;  // what `last_account` is the account of; 0: of nothing
  uint32_t last_kind;
  const writer::AccountFacts* last_account;
  uint32_t thread;  // index in the ledger
  uint32_t tag;
  uint32_t depth;                   // tags pushed
  uint32_t pauses;                  // nested
  uint32_t handler_depth;           // tags that handlers pushed during a call
  std::atomic<uint32_t> thread_id;  // kernel's; 0: block never used
  ThreadBlock* next;
  QueuedCall queue[kQueue];
  uint32_t tags_before[kTagDepth];

  // For this thread: what it did with the block until now comes before what the thread does that takes the block over.
  // Needed by calls that look at the block without entering it, which end with no change of its state.
  void ReleaseToSuccessor() { thread_id.store(thread_id.load(std::memory_order_relaxed), std::memory_order_release); }
};
static_assert(sizeof(ThreadBlock) <= 4096);

}  // namespace memtally::track
