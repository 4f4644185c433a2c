// SPDX-License-Identifier: Apache-2.0
#include "track/legacy_client/wire.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <memtally/abi/legacy_protocol.h>

namespace memtally::legacy_client {
namespace {

constexpr uint64_t kRetryNs = 200'000'000;

}  // namespace

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

bool Wire::Connect() {
  if (fd_ >= 0) return true;
  const uint64_t now_ns = NowNs();
  if (now_ns < next_try_ns_) return false;
  next_try_ns_ = now_ns + kRetryNs;
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const int bytes = static_cast<int>(settings_->send_buffer);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, settings_->socket, sizeof(address.sun_path));
  int result = 0;
  do result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  while (result != 0 && errno == EINTR);
  if (result != 0) {
    if (!has_complained_) {
      fprintf(stderr, "memtally: no allocation server at %s (%s); reports are kept until there is one\n",
              settings_->socket, strerror(errno));
      has_complained_ = true;
    }
    close(fd);
    return false;
  }
  fd_ = fd;
  const bool is_known = !was_connected_ && live_.size() == 0;
  was_connected_ = true;
  return is_known || TellAll();
}

bool Wire::TellAll() {
  size_t count = 0;
  group_[count++] = {0, 0, 0, MEMTALLY_LEGACY_RESYNCHRONISE, 0};
  const bool told = live_.ForEach([&](const LegacyEvent& event) {
    group_[count++] = event;
    if (count < kMostEvents) return true;
    count = 0;
    return SendEvents(group_, kMostEvents);
  });
  return told && SendEvents(group_, count);
}

bool Wire::SendEvents(const LegacyEvent* events, size_t count) {
  if (count == 0) return true;
  const int32_t process = getpid();
  const uint64_t now_ns = NowNs();
  memset(messages_, 0, count * sizeof(messages_[0]));
  for (size_t i = 0; i < count; ++i) {
    memtally_legacy_head& head = messages_[i].head;
    head.type = events[i].type;
    head.device_id = events[i].device;
    head.size = events[i].size;
    head.buffer_type = events[i].buffer_type;
    head.process_id = process;
    head.buffer_id = events[i].id;
    head.timestamp = now_ns;
  }
  return Send(messages_, count * sizeof(messages_[0]));
}

bool Wire::Send(const void* bytes, size_t size) {
  const char* at = static_cast<const char*>(bytes);
  int flags = tries_first_ ? MSG_NOSIGNAL | MSG_DONTWAIT : MSG_NOSIGNAL;
  while (size > 0) {
    const ssize_t sent = send(fd_, at, size, flags);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if ((errno == EAGAIN || errno == EWOULDBLOCK) && (flags & MSG_DONTWAIT) != 0) {
        flags = MSG_NOSIGNAL;  // the rest waits
        continue;
      }
      Disconnect();
      return false;
    }
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

void Wire::Disconnect() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  next_try_ns_ = 0;
}

void Wire::Deliver(const LegacyEvent* events, size_t count) {
  // A server that has come is told what was live before these.
  const bool connected = Connect();
  for (size_t i = 0; i < count; ++i) live_.Apply(events[i]);
  if (connected && SendEvents(events, count)) return;
  // It went meanwhile: if another one is there already, it is told all, these among it.
  if (connected) Connect();
}

void Wire::LookAfter() {
  if (fd_ >= 0) {
    pollfd state{fd_, POLLRDHUP, 0};
    if (poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0) Disconnect();
  }
  if (fd_ < 0 && (was_connected_ || live_.size() != 0)) Connect();
}

void Wire::Abandon() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  live_.Clear();
  was_connected_ = false;
  next_try_ns_ = 0;
}

}  // namespace memtally::legacy_client
