// SPDX-License-Identifier: Apache-2.0
//
// Program: one that the demonstration looks at: `memtally replay` with a recording, and the process that it replays in.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace memtally::tools::demo {

struct ProgramPlan {
  std::string name;       // of the process, as views show it
  std::string recording;  // as `memtally replay` takes it
  double speed = 1;       // times the recorded one
  uint32_t device = 0;    // its number among the cards of the demonstration
  bool loop = false;      // begins again at its end; otherwise it stays there with what it holds
};

// A process group of its own, which ends when the thread that started it ends.
class Program {
 public:
  // What it says goes to a file in `folder`.  Throws std::runtime_error if no process can be started.
  Program(ProgramPlan plan, const std::string& folder);
  // Kills it; afterwards none of its processes exists.
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const ProgramPlan& plan() const { return plan_; }
  // False if it has ended by itself.
  bool IsRunning();
  // The first line that it said, for an error message; safe for a terminal.
  std::string Said() const;
  // Everything in it stands still, or goes on.
  void SetStopped(bool stopped) const;

 private:
  ProgramPlan plan_;
  std::string log_;
  pid_t pid_ = -1;  // and the number of its group
  bool ended_ = false;
};

// Runs this very command with `arguments`, standard output and error being this process's.  Returns its exit code, or
// 128 + the signal that ended it.  Throws std::runtime_error if it cannot be started.
int RunOwnCommand(const std::vector<std::string>& arguments);

}  // namespace memtally::tools::demo
