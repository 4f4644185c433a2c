// SPDX-License-Identifier: Apache-2.0
//
// StateReaders: the connections on which readers ask for the server's state (memtally/abi/legacy_state.h).  Each
// request is answered with a StateFile.
//
// For the server's one thread; never waits.  The server watches the descriptors.
#pragma once

#include <string>
#include <unordered_map>

#include "base/fd.hpp"
#include "daemon/legacy/listening_socket.hpp"
#include "daemon/legacy/state_file.hpp"

namespace memtally::daemon {

class StateReaders {
 public:
  // False: *error says why, and what to do.
  bool Listen(const std::string& path, std::string* error);
  // Removes the socket.
  void Close() { listener_.Close(); }
  // Readable when somebody connects.
  int listener_fd() const { return listener_.fd(); }

  // Takes one who connects, unless there are too many.  Returns a descriptor, readable when there is a request, or -1.
  int Accept();
  // Answers a request; ends the connection of a reader that breaks the rules or does not take the answer.
  void Serve(int fd, const ClientRegistry& registry, const StateFacts& facts);

 private:
  ListeningSocket listener_;
  std::unordered_map<int, base::Fd> readers_;
};

}  // namespace memtally::daemon
