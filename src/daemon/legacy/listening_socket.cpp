// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/listening_socket.hpp"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fmt/format.h>

namespace memtally::daemon {
namespace {

enum class Occupant { kNobody, kDead, kAlive, kOther };

Occupant WhoHas(const sockaddr_un& address, int type) {
  struct stat status {};
  if (lstat(address.sun_path, &status) != 0) return errno == ENOENT ? Occupant::kNobody : Occupant::kOther;
  if (!S_ISSOCK(status.st_mode)) return Occupant::kOther;
  const base::Fd probe(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return Occupant::kAlive;
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return Occupant::kAlive;
  // A full queue, another type or a lack of rights: somebody is there, or one cannot know.
  return errno == ECONNREFUSED ? Occupant::kDead : errno == ENOENT ? Occupant::kNobody : Occupant::kAlive;
}

}  // namespace

bool ListeningSocket::Listen(const std::string& path, int type, std::string* error) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    *error = fmt::format("{}: a socket's path has 1 to {} bytes", path, sizeof(address.sun_path) - 1);
    return false;
  }
  memcpy(address.sun_path, path.data(), path.size());

  const std::string lock_path = path + ".lock";
  base::Fd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) {
    *error = fmt::format("{}: {}. Choose another path with --socket, or remove the file if it is nobody's", lock_path,
                         strerror(errno));
    return false;
  }
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    *error = fmt::format("{}: another memtallyd has it. Stop that one, or choose another path", path);
    return false;
  }
  switch (WhoHas(address, type)) {
    case Occupant::kNobody:
      break;
    case Occupant::kDead:
      if (unlink(path.c_str()) == 0 || errno == ENOENT) break;
      *error = fmt::format("{}: a dead server left it, and it cannot be removed: {}", path, strerror(errno));
      return false;
    case Occupant::kAlive:
      *error = fmt::format("{}: a server is listening there. Stop it, or choose another path", path);
      return false;
    case Occupant::kOther:
      *error = fmt::format("{}: is there and is no socket. Choose another path, or remove it", path);
      return false;
  }
  base::Fd fd(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  struct stat status {};
  const bool ok = fd.valid() && setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 &&
                  bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
                  chmod(path.c_str(), 0666) == 0 && lstat(path.c_str(), &status) == 0 &&
                  listen(fd.get(), SOMAXCONN) == 0;
  if (!ok) {
    *error = fmt::format("{}: {}", path, strerror(errno));
    return false;
  }
  lock_ = std::move(lock);
  fd_ = std::move(fd);
  path_ = path;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  return true;
}

void ListeningSocket::Close() {
  if (!fd_.valid()) return;
  struct stat status {};
  if (lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) unlink(path_.c_str());
  fd_.reset();
  // The lock's file stays: who removes it could remove that of the next server.
  lock_.reset();
}

}  // namespace memtally::daemon
