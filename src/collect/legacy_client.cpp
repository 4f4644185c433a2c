// SPDX-License-Identifier: Apache-2.0
//
// Asking memtallyd, and believing no byte of its answer unchecked.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "collect/legacy_source.hpp"

namespace memtally::collect {
namespace {

// A server that is stopped or busy delays a snapshot by no more.
constexpr timeval kPatience{2, 0};
constexpr uint64_t kMostBytes = uint64_t{4} << 30;

// Elements may be longer than this version knows, not shorter.  Advances *at.
template <typename Element>
bool Take(const std::vector<uint8_t>& bytes, uint64_t count, uint32_t element_bytes, size_t* at,
          std::vector<Element>* to) {
  if (element_bytes < sizeof(Element) || count > (bytes.size() - *at) / element_bytes) return false;
  to->resize(count);
  for (Element& element : *to) {
    memcpy(&element, bytes.data() + *at, sizeof(element));
    *at += element_bytes;
  }
  return true;
}

bool IsWithin(uint64_t first, uint64_t count, size_t size) { return first <= size && count <= size - first; }

// The descriptor that came with the reply; invalid if there is none.
base::Fd ReceiveReply(int socket, memtally_legacy_state_reply* reply) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part{reply, sizeof(*reply)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size = -1;
  do size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  base::Fd file;
  if (size > 0 && header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int number = -1;
    memcpy(&number, CMSG_DATA(header), sizeof(number));
    file = base::Fd(number);
  }
  if (size == static_cast<ssize_t>(sizeof(*reply))) return file;
  if (size >= 0) errno = EPROTO;
  return {};
}

}  // namespace

bool ParseLegacyState(const std::vector<uint8_t>& bytes, LegacyState* state, std::string* what) {
  memtally_legacy_state_header& header = state->header;
  *what = "the answer is cut off, or contradicts itself";
  if (bytes.size() < sizeof(header)) return false;
  memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != MEMTALLY_LEGACY_STATE_MAGIC || header.header_bytes < sizeof(header)) return false;
  if (header.version != MEMTALLY_LEGACY_STATE_VERSION) {
    *what = fmt::format("the server speaks version {}; this memtally knows {}", header.version,
                        MEMTALLY_LEGACY_STATE_VERSION);
    return false;
  }
  header.socket_path[sizeof(header.socket_path) - 1] = 0;
  size_t at = header.header_bytes;
  if (at > bytes.size()) return false;
  if (!Take(bytes, header.process_count, header.process_bytes, &at, &state->processes) ||
      !Take(bytes, header.account_count, header.account_bytes, &at, &state->accounts) ||
      !Take(bytes, header.buffer_count, header.buffer_bytes, &at, &state->buffers)) {
    return false;
  }
  for (memtally_legacy_state_process& process : state->processes) {
    process.comm[sizeof(process.comm) - 1] = 0;
    process.executable[sizeof(process.executable) - 1] = 0;
    if (!IsWithin(process.first_account, process.account_count, state->accounts.size()) ||
        !IsWithin(process.first_buffer, process.buffer_count, state->buffers.size())) {
      return false;
    }
  }
  what->clear();
  return true;
}

std::optional<LegacyState> AskLegacyServer(const std::string& socket, const memtally_legacy_state_request& request,
                                           LedgerError* error) {
  *error = {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.empty() || socket.size() >= sizeof(address.sun_path)) return std::nullopt;
  memcpy(address.sun_path, socket.data(), socket.size());
  const base::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return std::nullopt;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
  const auto fail = [&](LedgerError::Code code, std::string what, const char* hint) {
    *error = {code, std::move(what), hint};
    return std::nullopt;
  };
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return std::nullopt;
    return fail(LedgerError::Code::kIo, fmt::format("memtallyd cannot be asked: {}", strerror(errno)),
                "what programs report by the original protocol is missing here");
  }
  ucred server{};
  socklen_t size = sizeof(server);
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &server, &size) != 0) return std::nullopt;
  if (server.uid != 0 && server.uid != geteuid()) {
    return fail(LedgerError::Code::kForged,
                fmt::format("the server there is user {}'s, who could say anything", server.uid),
                "let root, or yourself, run memtallyd");
  }
  memtally_legacy_state_reply reply{};
  if (send(fd.get(), &request, sizeof(request), MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof(request))) {
    return fail(LedgerError::Code::kIo, "memtallyd does not take a question", "see whether it is stopped or busy");
  }
  const base::Fd file = ReceiveReply(fd.get(), &reply);
  if (reply.magic != MEMTALLY_LEGACY_STATE_MAGIC) {
    return fail(LedgerError::Code::kIo, "memtallyd does not answer", "see whether it is stopped or busy");
  }
  if (reply.version != MEMTALLY_LEGACY_STATE_VERSION || reply.status == EPROTONOSUPPORT) {
    return fail(LedgerError::Code::kNewerVersion, "memtallyd is of another version than this memtally",
                "restart memtallyd, or update memtally");
  }
  struct stat status {};
  if (!file.valid() || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size < 0 ||
      static_cast<uint64_t>(status.st_size) > kMostBytes) {
    return fail(LedgerError::Code::kIo,
                fmt::format("memtallyd has no answer: {}", strerror(static_cast<int>(reply.status))),
                "its log may say more");
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(status.st_size));
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t got = pread(file.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    at += static_cast<size_t>(got);
  }
  bytes.resize(at);
  std::optional<LegacyState> state(std::in_place);
  std::string what;
  if (!ParseLegacyState(bytes, &*state, &what)) return fail(LedgerError::Code::kCorrupt, what, "restart memtallyd");
  return state;
}

}  // namespace memtally::collect
