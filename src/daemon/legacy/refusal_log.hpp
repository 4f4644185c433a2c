// SPDX-License-Identifier: Apache-2.0
//
// RefusalLog: says in the log that clients were refused, each reason at most once in ten seconds.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include <memtally/abi/legacy_state.h>

namespace memtally::daemon {

// "it is not in the group that may connect".
const char* RefusalText(uint32_t reason);

class RefusalLog {
 public:
  void Note(uint32_t reason, uint32_t pid, uint32_t uid, uint64_t now_ns);

 private:
  struct Silence {
    uint64_t until_ns = 0;
    uint64_t unsaid = 0;
  };
  std::array<Silence, MEMTALLY_LEGACY_REFUSALS> silence_{};
};

}  // namespace memtally::daemon
