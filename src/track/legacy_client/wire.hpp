// SPDX-License-Identifier: Apache-2.0
//
// Wire: the connection to a server of the original protocol.
//
// What is delivered is first noted in a table of what is live.  So while there is no server nothing is lost: when one
// comes, or comes back, it is told to forget this process and then all that is live.
#pragma once

#include <cstddef>
#include <cstdint>

#include <memtally/abi/legacy_protocol.h>

#include "track/legacy_client/client_settings.hpp"
#include "track/legacy_client/legacy_event.hpp"
#include "track/legacy_client/live_table.hpp"

namespace memtally::legacy_client {

// Not thread-safe.
class Wire {
 public:
  // As many as are sent at once.
  static constexpr size_t kMostEvents = 256;

  void Configure(const ClientSettings& settings) { settings_ = &settings; }
  // Whether each group is first tried without waiting.
  void TryWithoutWaiting() { tries_first_ = true; }

  // Delivers `count` events, at most kMostEvents, in order; waits for the server as long as it takes.
  void Deliver(const LegacyEvent* events, size_t count);
  // Notices a server that went, and tells one that has come what is live, if it was not told.
  void LookAfter();
  // In a child of fork: the connection and what was reported are the parent's.
  void Abandon();

  bool connected() const { return fd_ >= 0; }

 private:
  // False if there is no server, or it was tried a short time ago.
  bool Connect();
  bool TellAll();
  bool Send(const void* bytes, size_t size);
  bool SendEvents(const LegacyEvent* events, size_t count);
  void Disconnect();

  const ClientSettings* settings_ = nullptr;
  LiveTable live_;
  int fd_ = -1;
  bool tries_first_ = false;
  bool was_connected_ = false;
  bool has_complained_ = false;
  uint64_t next_try_ns_ = 0;
  // Not on the stack: the program's threads may have small ones.
  LegacyEvent group_[kMostEvents];
  memtally_legacy_message_144 messages_[kMostEvents];
};

uint64_t NowNs();

}  // namespace memtally::legacy_client
