// SPDX-License-Identifier: Apache-2.0
//
// Child: the command under `memtally run`, and what this process does while it runs.
//
// The child is in this process's group and session and has its terminal, descriptors and signal dispositions, as under
// time(1): what the terminal sends, it gets by itself.  This process waits, hands on the signals that were meant for
// the command, stops when the child stops, and goes on with it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace memtally::tools {

struct ChildCommand {
  std::string path;                      // executed as it is
  std::vector<std::string> arguments;    // the first is the program's own name
  std::vector<std::string> environment;  // NAME=value
};

class Child {
 public:
  // REQUIRES: one thread.  Blocks the signals that Wait takes, in this thread and those that it will start; the child
  // does not inherit that.  Returns 0, or the errno of the exec that failed.  A file without a first line that names an
  // interpreter is given to /bin/sh, as execvp does.
  int Start(const ChildCommand& command);

  // Until the child has ended; its status as of waitpid.  Called once, by the thread that called Start.
  int Wait();

  pid_t pid() const { return pid_; }
  uint64_t started_ns() const { return started_ns_; }  // CLOCK_MONOTONIC
  // The last signal that was handed on to the child, 0 none.
  int forwarded() const { return forwarded_; }

 private:
  bool Reap();
  void StopWithChild(int signal);
  void HandOn(int signal, int code, pid_t sender);

  pid_t pid_ = -1;
  uint64_t started_ns_ = 0;
  int status_ = 0;
  bool stopped_ = false;
  int forwarded_ = 0;
};

// What a shell would say of a status of waitpid: the exit code, or 128 + the signal.
int ExitCodeOf(int status);

}  // namespace memtally::tools
