// SPDX-License-Identifier: Apache-2.0
//
// Channels of the machine: a file in /dev/shm, mapped by everybody who takes part.  docs/formats/channel.md.
//
// All that happens to the file happens under the setup lock: making, joining, leaving, burying, unlinking.  Whoever
// waited for the lock of a file that was unlinked meanwhile starts again.  A participant lives as long as its byte is
// locked by an open-file-description lock: it goes with the process, whatever kills it.  A child of fork would keep it,
// so it closes its copies of the descriptors at once, and its mapping becomes a private copy that says "stopped".
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <vector>

#include "base/fd.hpp"
#include "base/proc.hpp"
#include "channel/ipc_file.hpp"
#include "channel/ring_pages.hpp"
#include "channel/segment.hpp"

namespace memtally::channel {

namespace {

constexpr uint64_t kSetupPatienceNs = 5'000'000'000;
constexpr int kMostTries = 1000;

bool Lock(int fd, uint64_t byte, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  int result;
  do result = fcntl(fd, F_OFD_SETLK, &lock);
  while (result != 0 && errno == EINTR);
  return result == 0;
}

bool LockPatiently(int fd) {
  const uint64_t give_up = base::MonotonicNs() + kSetupPatienceNs;
  for (long nap = 20'000; !Lock(fd, MEMTALLY_CHANNEL_LOCK_SETUP, F_WRLCK); nap = std::min(nap * 2, 5'000'000L)) {
    if (base::MonotonicNs() > give_up) return false;
    const timespec time{0, nap};
    nanosleep(&time, nullptr);
  }
  return true;
}

class IpcSegment;

// All segments of this process, for fork.
std::mutex& ListMutex() {
  static std::mutex* mutex = new std::mutex;
  return *mutex;
}
std::vector<IpcSegment*>& List() {
  static std::vector<IpcSegment*>* list = new std::vector<IpcSegment*>;
  return *list;
}

class IpcSegment final : public Segment {
 public:
  // Of a file that is good; `fd` and `probe` are two descriptions of it.
  IpcSegment(const Geometry& geometry, const ChannelOptions& options, std::string path, base::Fd fd, base::Fd probe)
      : Segment(geometry, options), path_(std::move(path)), fd_(std::move(fd)), probe_(std::move(probe)) {
    void* mapped = mmap(nullptr, geometry.file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (mapped == MAP_FAILED) throw ChannelError("cannot map " + path_ + ": " + strerror(errno));
    if (options.huge_pages) madvise(mapped, geometry.file_bytes, MADV_HUGEPAGE);
    SetBase(static_cast<std::byte*>(mapped));
    const std::lock_guard<std::mutex> guard(ListMutex());
    static const int once = pthread_atfork([] { ListMutex().lock(); }, [] { ListMutex().unlock(); }, ForgetInChild);
    static_cast<void>(once);
    List().push_back(this);
  }

  ~IpcSegment() override {
    {
      const std::lock_guard<std::mutex> guard(ListMutex());
      std::erase(List(), this);
    }
    if (!inherited_) LeaveFile();
    munmap(base(), geometry().file_bytes);
  }

  using Segment::Format;
  // The setup lock was taken before there was a segment.
  void ReleaseOpeningLock() { Lock(fd_.get(), MEMTALLY_CHANNEL_LOCK_SETUP, F_UNLCK); }
  bool shared() const override { return true; }

  // Becomes a participant.  False if the file was unlinked meanwhile.  Throws ChannelError.
  bool Enter() {
    Status status = Status::Ok;
    handle_slot_ = Join(MEMTALLY_CHANNEL_HANDLE, &status);
    if (handle_slot_ < 0) {
      throw ChannelError(path_ + ": cannot join: " +
                         (status == Status::Busy ? "it has as many participants as a channel can have"
                                                 : "another process has kept its setup lock for 5 s"));
    }
    struct stat file {};
    return fstat(fd_.get(), &file) == 0 && file.st_nlink != 0;
  }

  // The file has the pages already, this process's page table has not.
  void Prefault() const {
    madvise(base(), geometry().file_bytes, MADV_POPULATE_WRITE);  // emulators say yes and do nothing, hence:
    for (uint64_t offset = 0; offset < geometry().file_bytes; offset += 4096) {
      static_cast<void>(*static_cast<volatile std::byte*>(base() + offset));
    }
  }

  void BuryTheDead() override {
    bool anybody = false;
    for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS && !anybody; ++slot) anybody = LooksDead(slot);
    if (!anybody || inherited_ || !LockSetup(false)) return;
    for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
      if (LooksDead(slot)) Bury(slot);
    }
    FreeSettledPlaces();
    UnlockSetup();
  }

 protected:
  bool LockSetup(bool wait) override {
    if (wait) {
      setup_.lock();
    } else if (!setup_.try_lock()) {
      return false;
    }
    if (wait ? LockPatiently(fd_.get()) : Lock(fd_.get(), MEMTALLY_CHANNEL_LOCK_SETUP, F_WRLCK)) return true;
    setup_.unlock();
    return false;
  }
  void UnlockSetup() override {
    Lock(fd_.get(), MEMTALLY_CHANNEL_LOCK_SETUP, F_UNLCK);
    setup_.unlock();
  }
  bool HoldLife(int slot) override { return Lock(fd_.get(), MEMTALLY_CHANNEL_LOCK_FIRST + slot, F_WRLCK); }
  void DropLife(int slot) override { Lock(fd_.get(), MEMTALLY_CHANNEL_LOCK_FIRST + slot, F_UNLCK); }
  bool Lives(int slot) const override { return IsLocked(probe_.get(), MEMTALLY_CHANNEL_LOCK_FIRST + slot, 1); }

 private:
  bool LooksDead(int slot) const {
    const std::atomic_ref<uint32_t> state(participant(slot)->state);
    return state.load(std::memory_order_acquire) == MEMTALLY_CHANNEL_PRESENT && !Lives(slot) &&
           state.load(std::memory_order_acquire) == MEMTALLY_CHANNEL_PRESENT;
  }

  void LeaveFile() {
    Leave(handle_slot_);
    if (!IpcSegment::LockSetup(true)) return;
    struct stat mine {};
    struct stat named {};
    // Asked on our own description: only others' locks count.
    if (!IsLocked(fd_.get(), MEMTALLY_CHANNEL_LOCK_FIRST, MEMTALLY_CHANNEL_PARTICIPANTS) &&
        fstat(fd_.get(), &mine) == 0 && stat(path_.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
        mine.st_dev == named.st_dev) {
      unlink(path_.c_str());
    }
    IpcSegment::UnlockSetup();
  }

  static void ForgetInChild() {
    for (IpcSegment* segment : List()) {
      void* base = segment->base();
      const void* own = mmap(base, segment->geometry().file_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                             segment->fd_.get(), 0);
      if (own != MAP_FAILED) segment->header()->stopped = 1;
      segment->fd_.reset();
      segment->probe_.reset();
      segment->inherited_ = true;
    }
    ListMutex().unlock();
  }

  std::string path_;
  base::Fd fd_;     // has the locks
  base::Fd probe_;  // asks for them
  std::mutex setup_;
  int handle_slot_ = -1;
};

[[noreturn]] void Refuse(const std::string& path, const std::string& why) { throw ChannelError(path + ": " + why); }

// Makes the file what `geometry` says.  Throws ChannelError, and then leaves nothing behind.
void Reserve(int fd, const std::string& path, uint64_t bytes) {
  const int error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (error == 0) return;
  unlink(path.c_str());
  Refuse(path, "cannot reserve " + std::to_string(bytes) + " bytes: " + strerror(error) +
                   (error == ENOSPC ? "; make room in /dev/shm, or ask for a smaller ring" : ""));
}

const char* ModeName(uint32_t mode) {
  static constexpr const char* kNames[] = {"none", "SPSC", "MPSC", "SPMC", "MPMC", "broadcast"};
  return mode <= MEMTALLY_CHANNEL_BROADCAST ? kNames[mode] : "unknown";
}

// Whether the channel that is there does for what was asked.
void CheckAgreement(const std::string& path, const Geometry& there, const ChannelOptions& options) {
  const Geometry wanted = Geometry::For(options);
  if (there.mode != wanted.mode) {
    Refuse(path, std::string("is open as ") + ModeName(there.mode) + ", and was asked for as " + ModeName(wanted.mode));
  }
  if (there.alignment != wanted.alignment) {
    Refuse(path, "is open with an alignment of " + std::to_string(there.alignment) + ", and was asked for with " +
                     std::to_string(wanted.alignment));
  }
  if ((there.flags & MEMTALLY_CHANNEL_OVERRUN) != (wanted.flags & MEMTALLY_CHANNEL_OVERRUN)) {
    Refuse(path, "is open with the other answer to what happens to slow consumers (WhenSlow)");
  }
  if (options.bytes != 0 && there.capacity < wanted.capacity) {
    Refuse(path, "is open with a ring of " + std::to_string(there.capacity) + " bytes, and " +
                     std::to_string(wanted.capacity) + " were asked for; ask for 0 to take what is there");
  }
}

// One try; null: the file was unlinked under our hands, again.
std::shared_ptr<IpcSegment> Try(const std::string& path, const ChannelOptions& options) {
  base::Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd.valid()) {
    Refuse(path, std::string("cannot be opened: ") + strerror(errno) +
                     (errno == EACCES ? "; it belongs to another user" : ""));
  }
  CheckOwnership(fd.get(), path);
  if (!LockPatiently(fd.get())) Refuse(path, "another process has kept its setup lock for 5 s");
  struct stat file {};
  if (fstat(fd.get(), &file) != 0) Refuse(path, std::string("cannot be examined: ") + strerror(errno));
  if (file.st_nlink == 0) return nullptr;
  base::Fd probe(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat probed {};
  if (!probe.valid() || fstat(probe.get(), &probed) != 0 || probed.st_ino != file.st_ino) return nullptr;

  Geometry geometry;
  const bool anybody = IsLocked(fd.get(), MEMTALLY_CHANNEL_LOCK_FIRST, MEMTALLY_CHANNEL_PARTICIPANTS);
  bool make = file.st_size == 0;
  if (!make) {
    memtally_channel_header header{};
    const std::string fault = ReadChannelHeader(fd.get(), &header, &geometry);
    if (fault.empty() && anybody) {
      CheckAgreement(path, geometry, options);
    } else if (!anybody && (fault.empty() || header.magic == 0)) {
      // Its last participants died, or its maker did while making it.  Nobody else can be in it: we have the lock.
      unlink(path.c_str());
      return nullptr;
    } else {
      Refuse(path, fault + "; if nobody needs it, remove it");
    }
  } else {
    geometry = Geometry::For(options);
    Reserve(fd.get(), path, geometry.file_bytes);
  }
  auto segment = std::make_shared<IpcSegment>(geometry, options, path, std::move(fd), std::move(probe));
  if (make) segment->Format();
  segment->ReleaseOpeningLock();
  if (options.prefault) segment->Prefault();
  return segment->Enter() ? segment : nullptr;
}

}  // namespace

std::shared_ptr<Segment> OpenIpcSegment(const std::string& name, const ChannelOptions& options) {
  const std::string path = ChannelPath(name);
  for (int i = 0; i < kMostTries; ++i) {
    if (std::shared_ptr<IpcSegment> segment = Try(path, options)) return segment;
  }
  Refuse(path, "others make and remove it faster than it can be joined");
}

}  // namespace memtally::channel
