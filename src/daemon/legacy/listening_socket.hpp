// SPDX-License-Identifier: Apache-2.0
//
// ListeningSocket: a Unix socket at a path, which one process at a time has.
//
// A socket that a dead server left is taken over; one behind which somebody listens, or anything else of that name, is
// left alone.  Two servers that start at once are kept apart by a lock on PATH.lock.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.hpp"

namespace memtally::daemon {

class ListeningSocket {
 public:
  ListeningSocket() = default;
  ~ListeningSocket() { Close(); }
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;

  // `type`: SOCK_STREAM or SOCK_SEQPACKET.  Everybody may connect; the server asks who it is.  False: *error says why,
  // and what to do.
  bool Listen(const std::string& path, int type, std::string* error);
  // Removes the socket, if it is still this one.
  void Close();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  base::Fd lock_;
  base::Fd fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace memtally::daemon
