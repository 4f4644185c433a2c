// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/ledger_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memtally/abi/ledger_format.h>

#include "ledger/writer/pages.hpp"
#include "ledger/writer/syscall_scope.hpp"
#include "ledger/writer/text.hpp"

namespace memtally::writer {

namespace {

// Descriptors go where programs do not look: high, but within a select() set.
constexpr rlim_t kHighDescriptor = 960;

int MoveHigh(int fd) {
  if (fd < 0) return fd;
  rlimit limit{};
  rlim_t floor = kHighDescriptor;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= floor + 8) {
    floor = limit.rlim_cur > 16 ? limit.rlim_cur - 8 : 0;
  }
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(floor));
  if (high < 0) return fd;
  close(fd);
  return high;
}

bool HoldLock(int fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  return fcntl(fd, F_SETLK, &lock) == 0;
}

MakeResult FromErrno(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return MakeResult::kNoDirectory;
    case EACCES:
    case EPERM:
    case EROFS:
      return MakeResult::kNoPermission;
    case ENOSPC:
    case EDQUOT:
      return MakeResult::kNoSpace;
    case EFBIG:
      return MakeResult::kLimit;
    case EMFILE:
    case ENFILE:
      return MakeResult::kNoDescriptor;
    case ENOMEM:
      return MakeResult::kNoMemory;
    default:
      return MakeResult::kOther;
  }
}

// Growing a file beyond RLIMIT_FSIZE would raise SIGXFSZ in the host.
bool SizeIsAllowed(uint64_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return true;
  return limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur;
}

int FallocateRetrying(int fd, off_t offset, off_t bytes) {
  for (int tries = 0; tries < 100; ++tries) {
    if (fallocate(fd, 0, offset, bytes) == 0) return 0;
    if (errno != EINTR) return errno;
  }
  return EINTR;
}

}  // namespace

const char* Describe(MakeResult result) {
  switch (result) {
    case MakeResult::kMade:
      return "made";
    case MakeResult::kNoDirectory:
      return "the directory for ledgers does not exist; mount /dev/shm or set MEMTALLY_DIR";
    case MakeResult::kNoPermission:
      return "no permission to create files in the directory for ledgers; set MEMTALLY_DIR to one that is writable";
    case MakeResult::kNoSpace:
      return "the file system for ledgers is full; make room in /dev/shm or set MEMTALLY_DIR";
    case MakeResult::kLimit:
      return "the limit on file sizes (ulimit -f) is too low for a ledger";
    case MakeResult::kNoDescriptor:
      return "no free file descriptor (ulimit -n)";
    case MakeResult::kNoMemory:
      return "not enough address space for a ledger (ulimit -v)";
    case MakeResult::kOther:
      break;
  }
  return "the ledger could not be created";
}

MakeResult LedgerFile::Make(const char* directory, uint32_t uid, uint32_t pid, const uint8_t (&run_id)[16],
                            bool is_private, size_t fixed_bytes) {
  Text stem(path_, sizeof(path_));
  stem.Add(directory).Add("/memtally-").Number(uid).Add("-").Number(pid).Add("-").Hex(run_id, sizeof(run_id));
  stem.Add(".ledger");
  if (stem.cut()) return MakeResult::kNoDirectory;
  Text control(control_path_, sizeof(control_path_));
  control.Add(path_, strlen(path_) - strlen(".ledger")).Add(".control");
  if (control.cut()) return MakeResult::kNoDirectory;

  if (!SizeIsAllowed(fixed_bytes)) return MakeResult::kLimit;
  const mode_t mode = is_private ? 0600 : 0644;
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  fd_ = MoveHigh(open(path_, flags, mode));
  if (fd_ < 0) return FromErrno(errno);
  const MakeResult result = Prepare(fd_, mode, fixed_bytes);
  if (result == MakeResult::kMade) {
    MakeControl(mode);
    return result;
  }
  unlink(path_);
  close(fd_);
  fd_ = -1;
  return result;
}

MakeResult LedgerFile::Prepare(int fd, mode_t mode, size_t fixed_bytes) {
  struct stat status {};
  if (fchmod(fd, mode) != 0 || fstat(fd, &status) != 0 || !HoldLock(fd) ||
      ftruncate(fd, static_cast<off_t>(fixed_bytes)) != 0) {
    return FromErrno(errno);
  }
  dev_ = status.st_dev;
  ino_ = status.st_ino;
  end_ = fixed_bytes;
  if (!Reserve(0, MEMTALLY_PAGE_BYTES)) return MakeResult::kNoSpace;
  void* mapped = mmap(nullptr, fixed_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return FromErrno(errno);
  fixed_ = static_cast<uint8_t*>(mapped);
  return MakeResult::kMade;
}

void LedgerFile::MakeControl(mode_t mode) {
  // A convenience for recorders: without it, nobody records.
  control_fd_ = MoveHigh(open(control_path_, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  struct stat status {};
  if (control_fd_ < 0 || fchmod(control_fd_, mode) != 0 || ftruncate(control_fd_, MEMTALLY_PAGE_BYTES) != 0 ||
      fstat(control_fd_, &status) != 0) {
    return;
  }
  control_dev_ = status.st_dev;
  control_ino_ = status.st_ino;
}

bool LedgerFile::DescriptorIsOurs(int fd, dev_t dev, ino_t ino) const {
  struct stat status {};
  return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == dev && status.st_ino == ino;
}

int LedgerFile::CheckedDescriptor() {
  if (DescriptorIsOurs(fd_, dev_, ino_)) return fd_;
  const int again = open(path_, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (again < 0) return -1;
  if (!DescriptorIsOurs(again, dev_, ino_)) {
    close(again);
    return -1;
  }
  fd_ = MoveHigh(again);
  HoldLock(fd_);  // whoever closed our descriptor dropped the lock with it
  return fd_;
}

bool LedgerFile::Reserve(uint64_t offset, size_t bytes) {
  const SyscallScope unnoticed;
  const uint64_t first = offset & ~uint64_t{MEMTALLY_PAGE_BYTES - 1};
  const uint64_t last = RoundUpToPages(offset + bytes);
  if (!SizeIsAllowed(last)) return false;
  const FutexGuard guard(lock_);
  if (!guard.held()) return false;
  const int fd = CheckedDescriptor();
  if (fd < 0) return false;
  return FallocateRetrying(fd, static_cast<off_t>(first), static_cast<off_t>(last - first)) == 0;
}

uint8_t* LedgerFile::AddExtent(size_t bytes, uint64_t* offset) {
  const SyscallScope unnoticed;
  bytes = RoundUpToPages(bytes);
  const FutexGuard guard(lock_);
  if (!guard.held() || !SizeIsAllowed(end_ + bytes)) return nullptr;
  const int fd = CheckedDescriptor();
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(end_ + bytes)) != 0) return nullptr;
  void* mapped = MAP_FAILED;
  if (FallocateRetrying(fd, static_cast<off_t>(end_), MEMTALLY_PAGE_BYTES) == 0) {
    mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(end_));
  }
  if (mapped == MAP_FAILED) {
    // Nothing of this was ever mapped, so nobody can touch what is cut off.
    [[maybe_unused]] const int cut = ftruncate(fd, static_cast<off_t>(end_));
    return nullptr;
  }
  *offset = end_;
  end_ += bytes;
  __atomic_store_n(&reinterpret_cast<memtally_ledger_header*>(fixed_)->file_end, end_, __ATOMIC_RELEASE);
  return static_cast<uint8_t*>(mapped);
}

bool LedgerFile::ReadControl(void* buffer, size_t bytes, uint64_t offset) const {
  const SyscallScope unnoticed;
  if (!DescriptorIsOurs(control_fd_, control_dev_, control_ino_)) return false;
  return pread(control_fd_, buffer, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

bool LedgerFile::RecorderHoldsLock() const {
  const SyscallScope unnoticed;
  if (!DescriptorIsOurs(control_fd_, control_dev_, control_ino_)) return false;
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  return fcntl(control_fd_, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void LedgerFile::Unlink() {
  if (path_[0] == 0) return;
  struct stat status {};
  if (lstat(path_, &status) == 0 && status.st_dev == dev_ && status.st_ino == ino_) unlink(path_);
  if (control_fd_ >= 0 && lstat(control_path_, &status) == 0 && status.st_ino == control_ino_) unlink(control_path_);
  path_[0] = 0;
}

void LedgerFile::Discard() {
  const SyscallScope unnoticed;
  Unlink();
  munmap(fixed_, end_);
  fixed_ = nullptr;
  if (DescriptorIsOurs(fd_, dev_, ino_)) close(fd_);
  if (DescriptorIsOurs(control_fd_, control_dev_, control_ino_)) close(control_fd_);
  fd_ = control_fd_ = -1;
}

void LedgerFile::AbandonInChild() {
  const SyscallScope unnoticed;
  // The child's copies of the descriptors: closing them does not touch the parent's lock, which belongs to the parent.
  if (DescriptorIsOurs(fd_, dev_, ino_)) close(fd_);
  if (DescriptorIsOurs(control_fd_, control_dev_, control_ino_)) close(control_fd_);
  fd_ = control_fd_ = -1;
  path_[0] = 0;
}

}  // namespace memtally::writer
