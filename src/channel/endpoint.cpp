// SPDX-License-Identifier: Apache-2.0
#include <memtally/channel/endpoint.hpp>
#include <memtally/channel/options.hpp>

#include "base/proc.hpp"

namespace memtally {

namespace channel {

uint64_t DeadlineAfter(std::chrono::nanoseconds timeout) {
  const uint64_t now = base::MonotonicNs();
  if (timeout.count() <= 0) return now;
  const uint64_t deadline = now + static_cast<uint64_t>(timeout.count());
  return deadline < now ? kForever : deadline;
}

}  // namespace channel

const char* ToString(Status status) {
  switch (status) {
    case Status::Ok:
      return "ok";
    case Status::Empty:
      return "no message";
    case Status::Full:
      return "no room";
    case Status::Timeout:
      return "timed out";
    case Status::Dropped:
      return "dropped, since there was no room";
    case Status::Stopped:
      return "the channel was stopped";
    case Status::PeerGone:
      return "the other side died";
    case Status::Busy:
      return "the channel's mode has no place for another one";
    case Status::TooLarge:
      return "larger than the channel's largest message";
    case Status::LoanOpen:
      return "the producer's last claim is neither committed nor dropped";
    case Status::WrongSize:
      return "the message is not of the type that was asked for";
    case Status::Corrupt:
      return "the shared memory holds what no participant writes";
    case Status::Forked:
      return "inherited by fork: this process has to open the channel itself";
    case Status::Failed:
      return "the system refused something";
  }
  return "unknown status";
}

}  // namespace memtally
