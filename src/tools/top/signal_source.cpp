// SPDX-License-Identifier: Apache-2.0
#include "tools/top/signal_source.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace memtally::tools::top {

SignalSource::SignalSource(std::span<const int> signals) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : signals) sigaddset(&wanted, signal);
  pthread_sigmask(SIG_BLOCK, &wanted, &before_);
  fd_ = base::Fd(signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC));
}

SignalSource::~SignalSource() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

std::optional<int> SignalSource::Next() {
  signalfd_siginfo info{};
  if (!fd_.valid() || read(fd_.get(), &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

void SignalSource::Obey(int signal) {
  struct sigaction by_itself {};
  struct sigaction before {};
  by_itself.sa_handler = SIG_DFL;
  sigaction(signal, &by_itself, &before);
  sigset_t only;
  sigset_t mask;
  sigemptyset(&only);
  sigaddset(&only, signal);
  raise(signal);
  pthread_sigmask(SIG_UNBLOCK, &only, &mask);  // here it happens
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  sigaction(signal, &before, nullptr);
}

}  // namespace memtally::tools::top
