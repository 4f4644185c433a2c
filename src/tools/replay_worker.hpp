// SPDX-License-Identifier: Apache-2.0
//
// The process that replays: it drives the public C API with a trace, and stops where its parent wants to look at the
// ledger.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "tools/trace.hpp"

namespace memtally::tools {

// How a worker replays.
struct WorkerPlan {
  double speed = 0;                     // times the recorded speed; 0: as fast as it can
  bool threads = false;                 // a thread for each thread of the trace
  bool check = false;                   // stop at claims and at the end
  bool hold = false;                    // stay after the end until told to go
  bool loop = false;                    // begin again at the end, without end
  std::optional<uint64_t> kill_after;   // SIGKILL to itself after so many events
  std::optional<uint64_t> device_id;    // of chip 0; chip n has this + n.  Without: what the trace says
  std::optional<int32_t> device_index;  // the program's number of chip 0; chip n has this + n.  Without: n
  std::string transport;                // of the original interface: "blocking", ...; "": the ledger, by track.h
  std::string comm;                     // the process's name; "": the trace's
};

// In memory shared with the parent: how far the worker is, also after its death.
struct alignas(64) WorkerProgress {
  std::atomic<uint64_t> started{0};  // records whose call has begun
  std::atomic<uint64_t> done{0};     // records whose call has returned
  std::atomic<uint64_t> events{0};   // of those done
};

// From the worker to its parent, over a SOCK_SEQPACKET socket.
struct WorkerMessage {
  enum Type : uint32_t {
    kReady,       // devices are known.  Goes on without an answer
    kClaims,      // `done` records are done, the last of them claims.  Waits for an answer
    kFinished,    // all are done.  Waits for an answer
    kNotTracked,  // the library is absent or turned off.  Exits
  };
  Type type = kReady;
  uint64_t done = 0;
  uint64_t wall_ns = 0;  // kFinished: what the replay took
  char path[1024] = {};  // of the ledger, "" if there is none (yet)
};

// Replays `trace`, in this process, and ends it as a program that ends normally.  An answer is one byte; the end of the
// socket ends the worker.  REQUIRES: called in a process made for it, which has not called track.h.
[[noreturn]] void RunWorker(const Trace& trace, const WorkerPlan& plan, int socket, WorkerProgress* progress);

}  // namespace memtally::tools
