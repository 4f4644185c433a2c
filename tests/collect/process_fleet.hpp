// SPDX-License-Identifier: Apache-2.0
//
// ProcessFleet: tracked processes that do what a test wants, and hold it until they are told to end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace memtally::collect {

class ProcessFleet {
 public:
  // Forks `count` processes; each runs begin(number), and waits.  Returns when all wait.
  // REQUIRES: the calling process has reported no event yet.
  ProcessFleet(uint32_t count, const std::function<void(uint32_t)>& begin);
  // Kills those that are left, and removes all files of the fleet.
  ~ProcessFleet();
  ProcessFleet(const ProcessFleet&) = delete;
  ProcessFleet& operator=(const ProcessFleet&) = delete;

  pid_t pid(uint32_t number) const { return members_[number].pid; }

  void Kill(uint32_t number);  // SIGKILL
  void End(uint32_t number);   // lets it exit normally
  // Lets it run `go(number)` of the fleet's `on_signal`, and waits until it has.
  void Poke(uint32_t number);

  // What a poke runs; set before the fleet is made.
  static std::function<void(uint32_t)> on_poke;

 private:
  struct Member {
    pid_t pid = -1;
    int commands = -1;  // to it: 'e' end, 'p' poke
    int answers = -1;   // from it: a byte for each thing done
  };
  void Wait(Member* member);

  std::vector<Member> members_;
};

}  // namespace memtally::collect
