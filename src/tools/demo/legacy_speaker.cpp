// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/legacy_speaker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include <memtally/abi/legacy_protocol.h>

#include "base/fd.hpp"
#include "base/proc.hpp"
#include "tools/output.hpp"

namespace memtally::tools::demo {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr int kPatienceMs = 10'000;

// One connection.  Each call returns false if the server is gone.
class Connection {
 public:
  Connection(uint32_t bytes, int32_t device) : bytes_(bytes), device_(device) {}

  bool Open(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) return false;
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    socket_ = base::Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return socket_.valid() && connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }

  bool Say(uint8_t type, uint64_t id, uint64_t size, uint8_t buffer_type = 0) {
    memtally_legacy_message_144 message{};
    message.head.type = type;
    message.head.device_id = device_;
    message.head.size = size;
    message.head.buffer_type = buffer_type;
    message.head.process_id = getpid();
    message.head.buffer_id = id;
    message.head.timestamp = base::MonotonicNs();
    // A request says nothing behind its head, so that all generations begin alike.
    for (size_t done = 0; done < bytes_;) {
      const ssize_t sent =
          send(socket_.get(), reinterpret_cast<const char*>(&message) + done, bytes_ - done, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return false;
      done += static_cast<size_t>(sent);
    }
    return true;
  }

  // Whether the server answers a query by a whole response.
  bool Ask() {
    if (!Say(MEMTALLY_LEGACY_QUERY, 0, 0)) return false;
    char answer[MEMTALLY_LEGACY_144];
    for (size_t done = 0; done < bytes_;) {
      const ssize_t got = recv(socket_.get(), answer + done, bytes_ - done, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      done += static_cast<size_t>(got);
    }
    return answer[0] == MEMTALLY_LEGACY_RESPONSE;
  }

 private:
  const uint32_t bytes_;
  const int32_t device_;
  base::Fd socket_;
};

// What a small model reports: weights, activations that come and go, and its programs' buffers.
bool Report(Connection* connection) {
  constexpr uint64_t kLayers = 8;
  bool good = true;
  for (uint64_t layer = 1; layer <= kLayers; ++layer) {
    good = good && connection->Say(MEMTALLY_LEGACY_ALLOC, layer << 24, 16 * kMiB, MEMTALLY_LEGACY_DRAM);
  }
  for (uint64_t step = 0; step < 100; ++step) {
    const uint64_t id = 0x100000 + step;
    good = good && connection->Say(MEMTALLY_LEGACY_ALLOC, id, kMiB / 4, MEMTALLY_LEGACY_L1);
    if (step >= 3) good = good && connection->Say(MEMTALLY_LEGACY_FREE, id - 3, 0);
  }
  good = good && connection->Say(MEMTALLY_LEGACY_CB_ALLOC, 0x19000, kMiB / 16);
  return good && connection->Say(MEMTALLY_LEGACY_KERNEL_LOAD, 0x7000, kMiB / 64, MEMTALLY_LEGACY_KERNEL_APPLICATION);
}

[[noreturn]] void Live(uint32_t bytes, int32_t device, const std::string& socket, const std::string& name, int ready) {
  prctl(PR_SET_NAME, name.c_str());
  Connection connection(bytes, device);
  const bool good = connection.Open(socket) && Report(&connection) && connection.Ask();
  const char word = good ? '+' : '-';
  if (write(ready, &word, 1) != 1 || !good) _exit(1);
  for (;;) pause();
}

}  // namespace

LegacySpeaker::LegacySpeaker(uint32_t bytes, int32_t device, const std::string& socket)
    : name_(fmt::format("legacy-{}", bytes)) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(fmt::format("cannot make a pipe: {}", ErrorText(errno)));
  const base::Fd here(ends[0]);
  base::Fd there(ends[1]);
  (void)std::fflush(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error(fmt::format("cannot start a process: {}", ErrorText(errno)));
  if (pid_ == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) signal(number, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    Live(bytes, device, socket, name_, there.get());
  }
  there.reset();
  pollfd ready{here.get(), POLLIN, 0};
  char word = 0;
  if (poll(&ready, 1, kPatienceMs) != 1 || read(here.get(), &word, 1) != 1 || word != '+') {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    throw std::runtime_error(fmt::format("memtallyd does not answer a client of {} bytes a message", bytes));
  }
}

LegacySpeaker::~LegacySpeaker() {
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace memtally::tools::demo
