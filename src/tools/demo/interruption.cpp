// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/interruption.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>

namespace memtally::tools::demo {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void OnSignal(int signal) { interrupted = signal; }

}  // namespace

Interruption::Interruption() {
  interrupted = 0;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    struct sigaction action {};
    action.sa_handler = OnSignal;  // without SA_RESTART: waits end
    sigaction(kSignals[i], &action, &before_[i]);
    // Who started this with SIGINT ignored (nohup, a background job) goes on ignoring it.
    if (before_[i].sa_handler == SIG_IGN) sigaction(kSignals[i], &before_[i], nullptr);
  }
}

Interruption::~Interruption() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
}

int Interruption::signal() { return interrupted; }

bool Interruption::Sleep(double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (signal() == 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return true;
    // A signal that comes just before the wait is seen after it.
    constexpr int64_t kLongestMs = 100;
    poll(nullptr, 0, static_cast<int>(std::min<int64_t>(left, kLongestMs)));
  }
  return false;
}

void EndBySignal(int signal) {
  std::signal(signal, SIG_DFL);
  (void)raise(signal);
}

}  // namespace memtally::tools::demo
