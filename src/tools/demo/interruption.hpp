// SPDX-License-Identifier: Apache-2.0
//
// Interruption: takes SIGINT, SIGTERM, SIGHUP and SIGQUIT as a wish to end, so that what was begun can be tidied up.
#pragma once

#include <csignal>

namespace memtally::tools::demo {

// One at a time, from construction to destruction; then signals do again what they did before.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // The signal that came, 0 none yet.
  static int signal();

  // Sleeps; shorter if a signal comes.  Returns false once one has come.
  static bool Sleep(double seconds);

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  struct sigaction before_[4]{};
};

// Ends this process as `signal` would have done at once.
void EndBySignal(int signal);

}  // namespace memtally::tools::demo
