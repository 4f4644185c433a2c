// SPDX-License-Identifier: Apache-2.0
//
// Connection: one client's socket, the bytes that came and those that are to go.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "daemon/legacy/client_process.hpp"
#include "daemon/legacy/message_framer.hpp"

namespace memtally::daemon {

struct Peer {
  uint32_t pid = 0;  // 0: in a pid namespace that is not below ours
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct Connection {
  Connection(base::Fd the_fd, uint64_t the_id, Peer the_peer) : fd(std::move(the_fd)), id(the_id), peer(the_peer) {}

  // Null if it has not sent here.
  ClientProcess* Sender(uint32_t pid) const {
    const auto found =
        std::find_if(senders.begin(), senders.end(), [&](const auto& sender) { return sender.first == pid; });
    return found == senders.end() ? nullptr : found->second;
  }
  size_t unsent() const { return output.size() - output_at; }

  base::Fd fd;
  uint64_t id;
  Peer peer;
  MessageFramer framer;
  std::vector<std::pair<uint32_t, ClientProcess*>> senders;  // who sent, or may: by pid
  uint64_t last_message_ns = 0;
  uint64_t settle_ns = 0;  // when the framer is to settle; 0: it has
  uint64_t resume_ns = 0;  // when reading goes on; 0: it does
  std::vector<uint8_t> output;
  size_t output_at = 0;
  uint64_t unread_since_ns = 0;  // since when the client reads no answer; 0: it does
  uint32_t watched = 0;          // events that epoll is asked for
  uint64_t damage_messages = 0;  // of framer.damage(): already counted
  uint64_t damage_bytes = 0;
};

}  // namespace memtally::daemon
