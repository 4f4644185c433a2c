// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/held_descriptor.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <exception>
#include <mutex>
#include <vector>

#include "ledger/reader/ledger_name.hpp"

namespace memtally::reader {

namespace {

struct Kept {
  dev_t dev;
  ino_t ino;
  int fd;
};

// Never destroyed: readers may run while the process ends.
std::mutex& KeptMutex() {
  static std::mutex* mutex = new std::mutex;
  return *mutex;
}
std::vector<Kept>& KeptList() {
  static std::vector<Kept>* list = new std::vector<Kept>;
  return *list;
}

int FindKept(dev_t dev, ino_t ino) {
  const std::lock_guard<std::mutex> guard(KeptMutex());
  for (const Kept& kept : KeptList()) {
    if (kept.dev != dev || kept.ino != ino) continue;
    struct stat status {};  // a program may have closed the descriptor behind our back
    if (fstat(kept.fd, &status) == 0 && status.st_dev == dev && status.st_ino == ino) return kept.fd;
  }
  return -1;
}

void KeepOpen(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return;
  if (FindKept(status.st_dev, status.st_ino) >= 0) return;  // one of two that were opened at once: stays open, unused
  const std::lock_guard<std::mutex> guard(KeptMutex());
  try {
    KeptList().push_back({status.st_dev, status.st_ino, fd});
  } catch (const std::exception&) {
    // Open and forgotten is worse than listed, and better than closed.
  }
}

}  // namespace

HeldDescriptor::HeldDescriptor(HeldDescriptor&& other) noexcept
    : fd_(other.fd_), cached_(other.cached_), borrowed_(other.borrowed_), keep_(other.keep_) {
  other.fd_ = -1;
}

HeldDescriptor& HeldDescriptor::operator=(HeldDescriptor&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = other.fd_;
    cached_ = other.cached_;
    borrowed_ = other.borrowed_;
    keep_ = other.keep_;
    other.fd_ = -1;
  }
  return *this;
}

int HeldDescriptor::Open(const std::string& path) {
  Reset();
  // The type is looked at before anything is opened: opening a device may do things.
  struct stat before {};
  if (lstat(path.c_str(), &before) != 0) return errno;
  if (S_ISLNK(before.st_mode)) return ELOOP;
  if (!S_ISREG(before.st_mode)) return EINVAL;

  fd_ = FindKept(before.st_dev, before.st_ino);
  cached_ = fd_ >= 0;
  borrowed_ = false;
  if (cached_) return 0;

  do {
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  } while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) return errno;
  // A name with our pid: its lock may be taken at any moment, so it cannot be asked for when we close.
  LedgerName name;
  keep_ = ParseLedgerName(path, &name) && name.pid == static_cast<uint32_t>(getpid());
  struct stat after {};
  if (fstat(fd_, &after) != 0) return errno;
  if (!S_ISREG(after.st_mode)) return EINVAL;
  return 0;
}

HeldDescriptor HeldDescriptor::Borrow(int fd) {
  HeldDescriptor held;
  held.fd_ = fd;
  held.borrowed_ = true;
  return held;
}

void HeldDescriptor::Reset() {
  if (fd_ >= 0 && !cached_ && !borrowed_) {
    const int saved = errno;
    if (keep_ || AskLock(fd_).pid == static_cast<uint32_t>(getpid())) {
      KeepOpen(fd_);
    } else {
      close(fd_);
    }
    errno = saved;
  }
  fd_ = -1;
  cached_ = borrowed_ = keep_ = false;
}

LockHolder AskLock(int fd) {
  LockHolder holder;
  // Asked for an open file description, so that a lock of this very process counts, too.
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  if (fcntl(fd, F_OFD_GETLK, &lock) != 0) {
    lock = {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    if (fcntl(fd, F_GETLK, &lock) != 0) return holder;
  }
  if (lock.l_type == F_UNLCK) return holder;
  holder.held_by_description = lock.l_pid < 0;
  if (holder.held_by_description) return holder;
  holder.held = true;
  holder.pid = static_cast<uint32_t>(lock.l_pid);
  return holder;
}

}  // namespace memtally::reader
