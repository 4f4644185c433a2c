// SPDX-License-Identifier: Apache-2.0
//
// SignalSource: signals as something to poll for, instead of handlers that interrupt.
#pragma once

#include <csignal>
#include <optional>
#include <span>

#include "base/fd.hpp"

namespace memtally::tools::top {

class SignalSource {
 public:
  // Blocks these signals for the calling thread (and those that it starts) until destroyed.  Those that were ignored
  // stay so.
  explicit SignalSource(std::span<const int> signals);
  ~SignalSource();
  SignalSource(const SignalSource&) = delete;
  SignalSource& operator=(const SignalSource&) = delete;

  // Readable when a signal came; -1 if there can be none.
  int fd() const { return fd_.get(); }
  // The next that came, if any.
  std::optional<int> Next();

  // Lets the signal do to this process what it does by itself: stop it, or end it.  Returns when it goes on.
  static void Obey(int signal);

 private:
  sigset_t before_{};
  base::Fd fd_;
};

}  // namespace memtally::tools::top
