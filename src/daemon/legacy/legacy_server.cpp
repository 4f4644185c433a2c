// SPDX-License-Identifier: Apache-2.0
//
// The loop: sockets, connections, processes.  What messages mean is in legacy_answers.cpp.
#include "daemon/legacy/legacy_server.hpp"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/proc.hpp"

namespace memtally::daemon {
namespace {

// How much of one connection is read before the others have their turn.
constexpr size_t kReceiveBytes = size_t{64} << 10;
// A first message that may be longer waits so long for the rest.
constexpr uint64_t kSettleNs = 20'000'000;
// Above this, no more requests of a client are read before it reads answers.
constexpr size_t kUnsentHigh = size_t{256} << 10;
constexpr uint64_t kUnreadNs = 30'000'000'000;
constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr int kMostInSocket = 4096;

Peer PeerOf(int fd) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {static_cast<uint32_t>(credentials.pid), credentials.uid, credentials.gid};
}

bool IsInGroup(int fd, const Peer& peer, uint32_t group) {
  if (peer.uid == 0 || peer.gid == group) return true;
  std::vector<gid_t> groups(64);
  socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) {
    if (errno != ERANGE) return false;
    groups.resize(size / sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) return false;
  }
  groups.resize(size / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

LegacyServer::LegacyServer(ServerSettings settings)
    : settings_(std::move(settings)), registry_(settings_), receive_buffer_(kReceiveBytes) {}
LegacyServer::~LegacyServer() {
  for (const auto& [fd, process] : watched_processes_) close(fd);
}

bool LegacyServer::Start(std::string* error) {
  if (!settings_.group.empty()) {
    const group* found = getgrnam(settings_.group.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
    if (found == nullptr) {
      *error = fmt::format("group {}: there is no such group", settings_.group);
      return false;
    }
    group_ = found->gr_gid;
  }
  RaiseDescriptorLimit();
  epoll_ = base::Fd(epoll_create1(EPOLL_CLOEXEC));
  spare_fd_ = base::Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!epoll_.valid() || !spare_fd_.valid()) {
    *error = fmt::format("no file descriptor: {}", strerror(errno));
    return false;
  }
  if (!listener_.Listen(settings_.socket, SOCK_STREAM, error)) return false;
  if (!state_readers_.Listen(settings_.state_socket, error)) return false;
  Arm(EPOLL_CTL_ADD, listener_.fd(), Watch::kListener, EPOLLIN);
  Arm(EPOLL_CTL_ADD, state_readers_.listener_fd(), Watch::kStateListener, EPOLLIN);
  start_ns_ = now_ns_ = base::MonotonicNs();
  spdlog::info("listening on {}; readers ask {}", settings_.socket, settings_.state_socket);
  return true;
}

void LegacyServer::Arm(int operation, int fd, Watch watch, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = uint64_t{static_cast<uint32_t>(watch)} << 32 | static_cast<uint32_t>(fd);
  if (epoll_ctl(epoll_.get(), operation, fd, &event) != 0) spdlog::error("epoll_ctl: {}", strerror(errno));
}

void LegacyServer::Run(int stop_fd) {
  Arm(EPOLL_CTL_ADD, stop_fd, Watch::kStop, EPOLLIN);
  next_keeping_ns_ = now_ns_ + kSecondNs;
  next_statistics_ns_ = now_ns_ + settings_.statistics_seconds * kSecondNs;
  std::vector<epoll_event> events(256);
  while (!stopping_) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), TimeoutMs());
    if (count < 0 && errno != EINTR) {
      spdlog::critical("epoll_wait: {}", strerror(errno));
      break;
    }
    now_ns_ = base::MonotonicNs();
    for (int i = 0; i < count; ++i)
      Dispatch(events[static_cast<size_t>(i)].data.u64, events[static_cast<size_t>(i)].events);
    Wake();
    if (now_ns_ >= next_keeping_ns_) HouseKeeping();
  }
  LogStatistics("final");
  listener_.Close();
  state_readers_.Close();
}

void LegacyServer::Dispatch(uint64_t tag, uint32_t events) {
  const int fd = static_cast<int>(tag & UINT32_MAX);
  switch (static_cast<Watch>(tag >> 32)) {
    case Watch::kStop:
      stopping_ = true;
      break;
    case Watch::kListener:
      Accept();
      break;
    case Watch::kConnection: {
      const auto found = connections_.find(fd);
      if (found == connections_.end()) break;
      if ((events & EPOLLOUT) != 0) Flush(found->second.get());
      if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && found->second->resume_ns == 0) {
        Receive(found->second.get());
      } else {
        Watching(found->second.get());
      }
      break;
    }
    case Watch::kProcess:
      ProcessDied(fd);
      break;
    case Watch::kStateListener:
      AcceptReader();
      break;
    case Watch::kStateReader:
      ServeReader(fd);
      break;
  }
}

// ---- connections

void LegacyServer::Refuse(enum memtally_legacy_refusal reason, const Peer& peer) {
  ++registry_.counters().refused.at(reason);
  refusal_log_.Note(reason, peer.pid, peer.uid, now_ns_);
}

bool LegacyServer::Admit(const Peer& peer, int fd) {
  if (!settings_.group.empty() && !IsInGroup(fd, peer, group_)) {
    Refuse(MEMTALLY_LEGACY_REFUSED_GROUP, peer);
    return false;
  }
  if (settings_.most_connections != 0 && connections_.size() >= settings_.most_connections) {
    Refuse(MEMTALLY_LEGACY_REFUSED_CONNECTIONS, peer);
    return false;
  }
  const uint32_t most = settings_.most_connections_of_user;
  if (most != 0 && peer.uid != 0 && connections_of_user_[peer.uid] >= most) {
    Refuse(MEMTALLY_LEGACY_REFUSED_OF_USER, peer);
    return false;
  }
  return true;
}

void LegacyServer::Accept() {
  // Some at a time: connections that are there have their turn, too.
  for (int i = 0; i < 64; ++i) {
    base::Fd fd(accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno != EMFILE && errno != ENFILE) return;
      spare_fd_.reset();
      const base::Fd refused(accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (refused.valid()) Refuse(MEMTALLY_LEGACY_REFUSED_DESCRIPTORS, PeerOf(refused.get()));
      spare_fd_ = base::Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
      return;
    }
    const Peer peer = PeerOf(fd.get());
    if (!Admit(peer, fd.get())) continue;
    const int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
    ++registry_.counters().connections_ever;
    ++connections_of_user_[peer.uid];
    const int number = fd.get();
    auto& connection = connections_[number];
    connection = std::make_unique<Connection>(std::move(fd), next_connection_++, peer);
    connection->last_message_ns = now_ns_;
    connection->watched = EPOLLIN;
    Arm(EPOLL_CTL_ADD, number, Watch::kConnection, EPOLLIN);
    SenderOf(connection.get(), peer);
  }
}

ClientProcess* LegacyServer::SenderOf(Connection* connection, const Peer& sender) {
  if (ClientProcess* known = connection->Sender(sender.pid)) return known;
  bool is_new = false;
  ClientProcess* process = registry_.Find(sender.pid, sender.uid, sender.gid, connection->id, now_ns_, &is_new);
  if (is_new && sender.pid != 0) {
    process->pid_fd = static_cast<int>(syscall(SYS_pidfd_open, sender.pid, 0));
    if (process->pid_fd >= 0) {
      fcntl(process->pid_fd, F_SETFD, FD_CLOEXEC);
      watched_processes_[process->pid_fd] = process;
      Arm(EPOLL_CTL_ADD, process->pid_fd, Watch::kProcess, EPOLLIN);
    }
  }
  connection->senders.emplace_back(sender.pid, process);
  registry_.Attach(process);
  return process;
}

void LegacyServer::Receive(Connection* connection) {
  bool again = false;
  const bool open = ReceiveOnce(connection, &again);
  if (open) {
    Watching(connection);
  } else {
    Close(connection);
  }
}

bool LegacyServer::ReceiveOnce(Connection* connection, bool* again) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(16 * sizeof(int))];
  iovec part{receive_buffer_.data(), receive_buffer_.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t size = recvmsg(connection->fd.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  *again = size > 0;
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) {
    Settle(connection, true);
    return false;
  }
  Peer sender = connection->peer;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials{};
      memcpy(&credentials, CMSG_DATA(header), sizeof(credentials));
      sender = {static_cast<uint32_t>(credentials.pid), credentials.uid, credentials.gid};
    } else if (header->cmsg_type == SCM_RIGHTS) {  // nobody asked for descriptors
      for (size_t at = CMSG_LEN(0); at + sizeof(int) <= header->cmsg_len; at += sizeof(int)) {
        int unwanted = -1;
        memcpy(&unwanted, reinterpret_cast<const char*>(header) + at, sizeof(unwanted));
        close(unwanted);
      }
    }
  }
  ClientProcess* process = SenderOf(connection, sender);
  connection->last_message_ns = now_ns_;
  const uint64_t before = registry_.counters().messages;
  const bool usable =
      connection->framer.Feed(std::span<const uint8_t>(receive_buffer_).first(static_cast<size_t>(size)), sender.pid,
                              [&](const FramedMessage& framed) { Handle(connection, framed); });
  CountDamage(connection, process);
  if (!usable) {
    ++process->counters().damaged_messages;
    Refuse(MEMTALLY_LEGACY_REFUSED_BYTES, sender);
    return false;
  }
  Throttle(connection, process, registry_.counters().messages - before);
  if (connection->settle_ns == 0 && connection->framer.IsUnsettled()) {
    connection->settle_ns = now_ns_ + kSettleNs;
    waking_.push_back(connection->fd.get());
  }
  Flush(connection);
  return true;
}

void LegacyServer::Settle(Connection* connection, bool at_end) {
  connection->framer.Settle(at_end, [&](const FramedMessage& framed) { Handle(connection, framed); });
  Flush(connection);
}

void LegacyServer::CountDamage(Connection* connection, ClientProcess* process) {
  const MessageFramer::Damage& damage = connection->framer.damage();
  if (damage.messages == connection->damage_messages && damage.bytes == connection->damage_bytes) return;
  ClientProcess::Counters& counters = process->counters();
  if (counters.damaged_messages == 0) {
    spdlog::warn(
        "pid {} ({}): a message does not begin where the last one ended: its sender leaves out parts of "
        "messages (a send that was not repeated for the rest?)",
        process->identity().pid, process->identity().comm);
  }
  counters.damaged_messages += damage.messages - connection->damage_messages;
  counters.skipped_bytes += damage.bytes - connection->damage_bytes;
  connection->damage_messages = damage.messages;
  connection->damage_bytes = damage.bytes;
}

// Who sends too fast is not read for a while: he waits, and nothing is lost.
void LegacyServer::Throttle(Connection* connection, ClientProcess* process, uint64_t messages) {
  const double rate = settings_.most_messages_a_second;
  if (rate == 0) return;
  if (process->tokens_ns == 0) {
    process->tokens = rate;
  } else {
    process->tokens += rate * static_cast<double>(now_ns_ - process->tokens_ns) / 1e9;
  }
  process->tokens = std::min(process->tokens, rate) - static_cast<double>(messages);
  process->tokens_ns = now_ns_;
  if (process->tokens >= 0 || connection->resume_ns != 0) return;
  ++process->counters().throttled;
  connection->resume_ns = now_ns_ + static_cast<uint64_t>(-process->tokens / rate * 1e9) + 1;
  waking_.push_back(connection->fd.get());
}

void LegacyServer::Flush(Connection* connection) {
  while (connection->unsent() > 0) {
    const ssize_t sent = send(connection->fd.get(), connection->output.data() + connection->output_at,
                              connection->unsent(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      if (errno == EAGAIN && connection->unread_since_ns == 0) connection->unread_since_ns = now_ns_;
      if (errno == EAGAIN) return;
      break;  // nobody will read it any more
    }
    connection->output_at += static_cast<size_t>(sent);
    connection->unread_since_ns = 0;
  }
  connection->output.clear();
  connection->output_at = 0;
  connection->unread_since_ns = 0;
}

// What epoll is to say of the connection, as things are now.
void LegacyServer::Watching(Connection* connection) {
  uint32_t wanted = 0;
  if (connection->resume_ns == 0 && connection->unsent() < kUnsentHigh) wanted |= EPOLLIN;
  if (connection->unsent() > 0) wanted |= EPOLLOUT;
  if (wanted == connection->watched) return;
  connection->watched = wanted;
  Arm(EPOLL_CTL_MOD, connection->fd.get(), Watch::kConnection, wanted);
}

void LegacyServer::Close(Connection* connection) {
  const int fd = connection->fd.get();
  if (connection->framer.pending_bytes() != 0 && !connection->senders.empty()) {
    ClientProcess::Counters& counters = connection->senders.back().second->counters();
    ++counters.damaged_messages;
    counters.skipped_bytes += connection->framer.pending_bytes();
  }
  if (--connections_of_user_[connection->peer.uid] == 0) connections_of_user_.erase(connection->peer.uid);
  const auto senders = std::move(connection->senders);
  connections_.erase(fd);  // closes it, and epoll forgets it
  for (const auto& [pid, process] : senders) {
    registry_.Detach(process, now_ns_);
    // Of these nobody says when they die.
    if (process->pid_fd < 0 && process->connections == 0) registry_.Died(process, now_ns_);
  }
}

// ---- processes

void LegacyServer::ProcessDied(int pid_fd) {
  const auto found = watched_processes_.find(pid_fd);
  if (found == watched_processes_.end()) return;
  ClientProcess* process = found->second;
  // What it had sent is still to be read.
  std::vector<int> spoken;
  for (const auto& [fd, connection] : connections_) {
    if (connection->Sender(process->identity().pid) == process) spoken.push_back(fd);
  }
  for (const int fd : spoken) {
    const auto at = connections_.find(fd);
    if (at == connections_.end()) continue;
    Connection* connection = at->second.get();
    bool again = true;
    bool open = true;
    // No more than a socket holds: a child that goes on sending on it is not what is waited for.
    for (int i = 0; open && again && i < kMostInSocket; ++i) open = ReceiveOnce(connection, &again);
    if (!open) {
      Close(connection);
      continue;
    }
    Settle(connection, connection->senders.size() == 1);
    std::erase_if(connection->senders, [&](const auto& sender) { return sender.second == process; });
    Watching(connection);
  }
  watched_processes_.erase(pid_fd);
  process->pid_fd = -1;
  close(pid_fd);
  registry_.Died(process, now_ns_);
}

// ---- readers of the state

void LegacyServer::AcceptReader() {
  const int fd = state_readers_.Accept();
  if (fd >= 0) Arm(EPOLL_CTL_ADD, fd, Watch::kStateReader, EPOLLIN);
}

void LegacyServer::ServeReader(int fd) {
  state_readers_.Serve(fd, registry_, {&settings_, start_ns_, now_ns_, static_cast<uint32_t>(connections_.size())});
}

// ---- time

int LegacyServer::TimeoutMs() const {
  uint64_t next_ns = next_keeping_ns_;
  for (const int fd : waking_) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) continue;
    for (const uint64_t at_ns : {found->second->settle_ns, found->second->resume_ns}) {
      if (at_ns != 0) next_ns = std::min(next_ns, at_ns);
    }
  }
  const uint64_t now_ns = base::MonotonicNs();
  return next_ns <= now_ns ? 0 : static_cast<int>((next_ns - now_ns + 999'999) / 1'000'000);
}

void LegacyServer::Wake() {
  if (waking_.empty()) return;
  std::vector<int> waking;
  waking.swap(waking_);
  std::sort(waking.begin(), waking.end());
  waking.erase(std::unique(waking.begin(), waking.end()), waking.end());
  for (const int fd : waking) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) continue;
    Connection* connection = found->second.get();
    if (connection->settle_ns != 0 && connection->settle_ns <= now_ns_) {
      connection->settle_ns = 0;
      Settle(connection, false);
    }
    if (connection->resume_ns != 0 && connection->resume_ns <= now_ns_) connection->resume_ns = 0;
    if (connection->settle_ns != 0 || connection->resume_ns != 0) waking_.push_back(fd);
    Watching(connection);
  }
}

void LegacyServer::HouseKeeping() {
  next_keeping_ns_ = now_ns_ + kSecondNs;
  std::vector<std::pair<int, enum memtally_legacy_refusal>> ended;
  for (const auto& [fd, connection] : connections_) {
    if (connection->unread_since_ns != 0 && now_ns_ - connection->unread_since_ns > kUnreadNs) {
      ended.emplace_back(fd, MEMTALLY_LEGACY_REFUSED_UNREAD);
    } else if (settings_.idle_seconds != 0 &&
               now_ns_ - connection->last_message_ns > settings_.idle_seconds * kSecondNs) {
      ended.emplace_back(fd, MEMTALLY_LEGACY_REFUSED_IDLE);
    }
  }
  for (const auto& [fd, reason] : ended) {
    Connection* connection = connections_.at(fd).get();
    Refuse(reason, connection->peer);
    Close(connection);
  }
  if (settings_.statistics_seconds != 0 && now_ns_ >= next_statistics_ns_) {
    next_statistics_ns_ = now_ns_ + settings_.statistics_seconds * kSecondNs;
    LogStatistics("running");
  }
}

}  // namespace memtally::daemon
