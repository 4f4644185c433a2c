// SPDX-License-Identifier: Apache-2.0
//
// LegacyServer: serves programs that speak the original allocation-server protocol, and readers of what they said.
//
// One thread, one epoll loop.  Nothing here waits for a client.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.hpp"
#include "daemon/legacy/answer.hpp"
#include "daemon/legacy/client_registry.hpp"
#include "daemon/legacy/connection.hpp"
#include "daemon/legacy/listening_socket.hpp"
#include "daemon/legacy/refusal_log.hpp"
#include "daemon/legacy/server_settings.hpp"
#include "daemon/legacy/state_readers.hpp"

namespace memtally::daemon {

class LegacyServer {
 public:
  explicit LegacyServer(ServerSettings settings);
  ~LegacyServer();
  LegacyServer(const LegacyServer&) = delete;
  LegacyServer& operator=(const LegacyServer&) = delete;

  // False: *error says why.
  bool Start(std::string* error);
  // Until `stop_fd` is readable.  Ends with the statistics in the log and the sockets removed.
  void Run(int stop_fd);

 private:
  enum class Watch : uint32_t { kStop, kListener, kConnection, kProcess, kStateListener, kStateReader };

  void Arm(int operation, int fd, Watch watch, uint32_t events);
  void Dispatch(uint64_t tag, uint32_t events);

  void Accept();
  bool Admit(const Peer& peer, int fd);
  void Refuse(enum memtally_legacy_refusal reason, const Peer& peer);
  void Receive(Connection* connection);
  // False: the end, or an error; the connection is to be closed.
  bool ReceiveOnce(Connection* connection, bool* again);
  void Handle(Connection* connection, const FramedMessage& message);
  void AnswerQuery(Connection* connection, const FramedMessage& message);
  void AnswerDeviceInfo(Connection* connection, const FramedMessage& message);
  void Dump(Connection* connection, const FramedMessage& message);
  void Settle(Connection* connection, bool at_end);
  void Flush(Connection* connection);
  void Watching(Connection* connection);
  void Close(Connection* connection);
  ClientProcess* SenderOf(Connection* connection, const Peer& sender);
  void CountDamage(Connection* connection, ClientProcess* process);
  void Throttle(Connection* connection, ClientProcess* process, uint64_t messages);
  void ProcessDied(int pid_fd);

  void AcceptReader();
  void ServeReader(int fd);

  void Wake();
  void HouseKeeping();
  int TimeoutMs() const;
  void LogStatistics(const char* when) const;

  const ServerSettings settings_;
  ClientRegistry registry_;
  RefusalLog refusal_log_;
  ListeningSocket listener_;
  StateReaders state_readers_;
  base::Fd epoll_;
  base::Fd spare_fd_;  // given up for a moment to refuse a connection when descriptors run out
  uint32_t group_ = 0;
  bool stopping_ = false;
  uint64_t start_ns_ = 0;
  uint64_t now_ns_ = 0;
  uint64_t next_connection_ = 1;
  uint64_t next_keeping_ns_ = 0;
  uint64_t next_statistics_ns_ = 0;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;  // by descriptor
  std::unordered_map<uint32_t, uint32_t> connections_of_user_;
  std::unordered_map<int, ClientProcess*> watched_processes_;  // by pidfd
  std::vector<int> waking_;                                    // connections with a settle_ns or resume_ns
  std::vector<uint8_t> receive_buffer_;
};

}  // namespace memtally::daemon
