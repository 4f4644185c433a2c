// SPDX-License-Identifier: Apache-2.0
//
// Children of the test, each with a tracker and a ledger of its own.  The test itself never reports an event, so that a
// child begins without a tracker's past.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "operation_stream.hpp"

namespace memtally::model {

// Makes a directory of this run for ledgers and starts the program anew in it (the library reads MEMTALLY_DIR when it
// is loaded); returns in the program so started.  Where that is impossible, ledgers go to the usual place.
void EnterOwnDirectory(char** arguments);
// Removes that directory, at the end.
void LeaveOwnDirectory();

// Where children put their ledgers.
std::string LedgerDirectory();

// Runs `run` in a child and returns its text; and a line about its end, if that was not a normal one.  Then removes the
// child's ledger.
std::string RunInChild(const std::function<std::string()>& run);

// Path of the ledger of a child, "" if there is none.
std::string LedgerOf(pid_t child);
// Removes all files of a child.
void RemoveFilesOf(pid_t child);

// Reads all of a ledger.  Returns a text in words if that fails, else "".
std::string ReadLedger(const std::string& path, LedgerView* view);

// How often to repeat what is repeated: `usual`, made smaller for slow builds (sanitizers, emulation) by MEMTALLY_SCALE
// in percent.
uint64_t Scaled(uint64_t usual);
// An environment variable's number, or `usual`.
uint64_t FromEnvironment(const char* name, uint64_t usual);

// A page that parent and children share: how far each thread is.
struct Progress {
  static constexpr uint32_t kThreads = 8;
  struct alignas(64) Thread {
    std::atomic<uint64_t> begun;      // operations
    std::atomic<uint64_t> completed;  // operations
    std::atomic<uint32_t> id;         // kernel's
  };
  Thread thread[kThreads];
  std::atomic<uint32_t> ready;  // the devices are registered
  std::atomic<uint64_t> turn;
  static Progress* Make();
  void Reset();

  // Performs an operation of a thread, and says so before and after.
  void Perform(const World& world, uint32_t number, const Operation& operation) {
    Thread& t = thread[number];
    const uint64_t count = t.completed.load(std::memory_order_relaxed) + 1;
    t.begun.store(count, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    world.Perform(operation);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    t.completed.store(count, std::memory_order_release);
  }
};

}  // namespace memtally::model
