// SPDX-License-Identifier: Apache-2.0
//
// Watch: waits between frames, and sees at once when the user has had enough.
#pragma once

#include <csignal>
#include <cstdint>

namespace memtally::tools {

// While it lives, SIGINT, SIGTERM and SIGHUP end waits instead of the process, and a closed pipe is an error of
// write(). One at a time in a process.
class Watch {
 public:
  Watch();
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  enum class Outcome {
    kTimeOut,
    kResized,  // the terminal
    kStop,     // interrupted, terminated, or the reader of standard output is gone
  };
  // Until CLOCK_MONOTONIC nanoseconds `deadline_ns`.
  Outcome WaitUntil(uint64_t deadline_ns) const;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGPIPE};
  struct sigaction old_[5]{};
  sigset_t old_mask_{};
};

}  // namespace memtally::tools
