// SPDX-License-Identifier: Apache-2.0
//
// LegacySpeaker: a process that speaks one generation of the original protocol, as a program of that time does: whole
// messages, one after the other, over a blocking socket.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace memtally::tools::demo {

class LegacySpeaker {
 public:
  // Reports what a small model holds on `device`, in messages of `bytes` bytes, to the server at `socket`; returns once
  // the server has answered a query, that is, once it knows all of it.  The process then stays as it is.  Throws
  // std::runtime_error.
  LegacySpeaker(uint32_t bytes, int32_t device, const std::string& socket);
  // Kills it.
  ~LegacySpeaker();
  LegacySpeaker(const LegacySpeaker&) = delete;
  LegacySpeaker& operator=(const LegacySpeaker&) = delete;

  pid_t pid() const { return pid_; }
  // As views show it: "legacy-72".
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  pid_t pid_ = -1;
};

}  // namespace memtally::tools::demo
