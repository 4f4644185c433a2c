// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/state_readers.hpp"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <utility>

namespace memtally::daemon {

namespace {
constexpr size_t kMostReaders = 64;
}

bool StateReaders::Listen(const std::string& path, std::string* error) {
  return listener_.Listen(path, SOCK_SEQPACKET, error);
}

int StateReaders::Accept() {
  base::Fd fd(accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid() || readers_.size() >= kMostReaders) return -1;
  const int number = fd.get();
  readers_[number] = std::move(fd);
  return number;
}

void StateReaders::Serve(int fd, const ClientRegistry& registry, const StateFacts& facts) {
  if (readers_.find(fd) == readers_.end()) return;
  memtally_legacy_state_request request{};
  const ssize_t size = recv(fd, &request, sizeof(request), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size != static_cast<ssize_t>(sizeof(request)) || request.magic != MEMTALLY_LEGACY_STATE_MAGIC) {
    readers_.erase(fd);
    return;
  }
  memtally_legacy_state_reply reply{};
  reply.magic = MEMTALLY_LEGACY_STATE_MAGIC;
  reply.version = MEMTALLY_LEGACY_STATE_VERSION;
  base::Fd file;
  if (request.version == MEMTALLY_LEGACY_STATE_VERSION) {
    file = MakeStateFile(registry, facts, request, &reply.bytes);
    if (!file.valid()) reply.status = static_cast<uint32_t>(errno);
  } else {
    reply.status = EPROTONOSUPPORT;
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec part{&reply, sizeof(reply)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (file.valid()) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = file.get();
    memcpy(CMSG_DATA(header), &number, sizeof(number));
  }
  if (sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) readers_.erase(fd);
}

}  // namespace memtally::daemon
