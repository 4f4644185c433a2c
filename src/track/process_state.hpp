// SPDX-License-Identifier: Apache-2.0
//
// ProcessState: which session is this process's own, and which thread is which.
//
// A page that a fork wipes tells a child from its parent, whatever made it (fork, raw clone; vfork shares the memory
// and is the parent in this respect): there `session_is_ours` and the locks are zero.  A fork handler does the same,
// since some kernels cannot wipe, and some say that they did and do not (qemu-user).
#pragma once

#include "track/session.hpp"

namespace memtally::track {

// This thread's block.  Initial-exec, so that a signal handler can look at it.
extern __thread ThreadBlock* t_block __attribute__((tls_model("initial-exec")));

class ProcessState {
 public:
  // The session of this process; made if there is none yet, or the present one is a parent's.  Null if that is refused:
  // the caller then counts a loss with CountLoss, and the next try is made after a while.
  static Session* CurrentSession();

  // The session if there is one, without making it.
  static Session* SessionIfAny();

  // This thread's block, known to the present session and idle or paused.  Null if there is no session or memory.
  static ThreadBlock* PrepareThread();

  // This thread's block as it is; never null, kFresh if there is none yet.
  static ThreadBlock* Block() { return t_block; }

  // Gives the thread its number in the ledger, before its first event.  A thread that only registers has none: an idle
  // process then costs a page less.
  static void NumberThread(ThreadBlock* block);

  // The lane that is this thread's to write events to that belong to no buffer, and new regions.  Null if refused.
  static writer::Lane* OwnLane(ThreadBlock* block);

  // A call could not be recorded at all.
  static void CountLoss(uint64_t bytes);

  // Sets the fork handler.  Once, when the library is loaded: later it might be in a signal handler.
  static void WatchForks();

  // At the normal end of the process: says so in the ledger, or removes it if it has nothing to show and nobody who
  // launched the process waits for it.
  static void End();

 private:
  static ThreadBlock* PrepareThreadOnce();
};

}  // namespace memtally::track
