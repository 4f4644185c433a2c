// SPDX-License-Identifier: Apache-2.0
//
// Stage: where the demonstration plays: its folder, its programs, and what can be seen of them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "collect/collector.hpp"
#include "tools/demo/private_folder.hpp"
#include "tools/demo/program.hpp"

namespace memtally::tools::demo {

// What one look at the programs shows.  Null where there is no such process (yet).
struct Facts {
  std::shared_ptr<const collect::Snapshot> snapshot;  // at Level::kProcess for the chat server, where it is there
  const collect::Process* llama = nullptr;
  const collect::Process* resnet = nullptr;
  const collect::Process* chat = nullptr;
  bool was_killed = false;  // by Stage::KillChatServer
};
bool IsChatServerDead(const Facts& facts);

// Of one kind of memory of a process, over all its devices.
struct Holding {
  Amount live;
  uint64_t capacity_bytes = 0;  // 0 unknown
  uint64_t failed_allocations = 0;
  uint64_t failed_requested = 0;
};
Holding HoldingOf(const collect::Process* process, const std::string& kind);

// Live buffers whose tags contain `tag`.  REQUIRES: the process's buffers were read.
Amount HoldingWithTag(const collect::Process& process, const std::string& tag);

// How many of the process's live buffers are older than the oldest of those.  The same is required.
size_t OlderThanTag(const collect::Process& process, const std::string& tag);

// The tag of the buffers that the chat server forgets.
inline constexpr const char* kLeakTag = "debug copy";

class Stage {
 public:
  // Throws std::runtime_error if there is no place for it.
  Stage();
  // All programs end, the folder goes.
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  // Lets the programs of the demonstration begin.  `hurry`: how many times faster than usual.  Throws
  // std::runtime_error.
  void StartPrograms(double hurry);
  // The chat server dies by SIGKILL, if it lives.
  void KillChatServer();
  // Everything stands still, or goes on.
  void SetStopped(bool stopped);

  // Throws std::runtime_error if a program has ended without having been seen.
  Facts Look();

  const std::string& folder() const { return folder_->path(); }

 private:
  std::unique_ptr<PrivateFolder> folder_;
  std::vector<std::unique_ptr<Program>> programs_;
  // What others publish of the machine is nobody's business here.
  collect::Collector collector_{{.passive_directory = ""}};
  bool was_killed_ = false;
  bool stopped_ = false;
};

}  // namespace memtally::tools::demo
