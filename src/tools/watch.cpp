// SPDX-License-Identifier: Apache-2.0
#include "tools/watch.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <iterator>

#include "base/proc.hpp"

namespace memtally::tools {
namespace {

volatile sig_atomic_t stop_asked = 0;
volatile sig_atomic_t resized = 0;

void TakeNote(int signal) {
  if (signal == SIGWINCH) {
    resized = 1;
  } else {
    stop_asked = 1;
  }
}

}  // namespace

Watch::Watch() {
  static_assert(std::size(kSignals) == std::size(decltype(old_){}));
  stop_asked = 0;
  resized = 0;
  sigset_t blocked;
  sigemptyset(&blocked);
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    struct sigaction action {};
    action.sa_handler = kSignals[i] == SIGPIPE ? SIG_IGN : TakeNote;
    sigemptyset(&action.sa_mask);
    sigaction(kSignals[i], &action, &old_[i]);
    if (kSignals[i] != SIGPIPE) sigaddset(&blocked, kSignals[i]);
  }
  // They come while WaitUntil waits, and at no other time.
  sigprocmask(SIG_BLOCK, &blocked, &old_mask_);
}

Watch::~Watch() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_[i], nullptr);
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
}

Watch::Outcome Watch::WaitUntil(uint64_t deadline_ns) const {
  sigset_t open = old_mask_;
  for (const int signal : kSignals) sigdelset(&open, signal);
  for (;;) {
    const uint64_t now_ns = base::MonotonicNs();
    const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    timespec left{};
    left.tv_sec = static_cast<time_t>(left_ns / 1'000'000'000);
    left.tv_nsec = static_cast<long>(left_ns % 1'000'000'000);
    pollfd output{};
    output.fd = STDOUT_FILENO;
    const int ready = ppoll(&output, 1, &left, &open);
    if (stop_asked != 0 || (ready > 0 && (output.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)) return Outcome::kStop;
    if (resized != 0) {
      resized = 0;
      return Outcome::kResized;
    }
    if (ready == 0) return Outcome::kTimeOut;
    if (ready < 0 && errno != EINTR) return Outcome::kStop;
  }
}

}  // namespace memtally::tools
