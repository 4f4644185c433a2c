// SPDX-License-Identifier: Apache-2.0
//
// LedgerBuilder: makes the bytes of a ledger from docs/formats/ledger.md, by offsets, without any code of the tracker
// or of the reader.  Tests make with it what a tracker would write, and what none ever would.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace memtally::test {

enum Flag : uint64_t { kLive = 1, kImported = 2, kExtended = 4, kExtension = 8 };
enum Operation : uint64_t {
  kNotKept,
  kAlloc,
  kFree,
  kAllocFailed,
  kMark,
  kClose,
  kReplace,
  kUnknownFree,
  kAmbiguousFree,
  kInheritedFree,
  kAfterClose,
  kDuplicateReporter,
  kNoRoom,
  kOpen,
  kBookkeeping
};

// Offsets of the header, from the page.
inline constexpr uint64_t kVersionAt = 8, kHeaderBytesAt = 12, kRunIdAt = 16, kBootIdAt = 32, kPidAt = 64, kUidAt = 68,
                          kPidNamespaceAt = 80, kStartTicksAt = 88, kCommAt = 104, kHostAt = 120, kExecutableAt = 184,
                          kClockKindAt = 952, kClockShiftAt = 956, kClockHzAt = 960, kClockStartTicksAt = 968,
                          kClockStartNsAt = 976, kClockPairTicksAt = 992, kClockPairNsAt = 1000, kEndStateAt = 1008,
                          kEndTimeAt = 1016, kLostEventsAt = 1024, kCatalogAt = 1096, kThreadsAt = 1112, kTagsAt = 1128,
                          kGroupsAt = 1144, kFileEndAt = 1160, kLaneCountAt = 1168, kLaneDirectoryAt = 3072;
// Offsets within a lane.
inline constexpr uint64_t kSlotsUsedAt = 8, kRingOffsetAt = 16, kRingCapacityAt = 24, kDroppedAt = 32, kSegmentsAt = 64,
                          kAnomaliesAt = 192, kUndoAt = 1856, kSumsAt = 3072, kMoreSumsAt = 69632, kRingAt = 135168;

struct Buffer {
  uint64_t id = 0, address = 0, requested = 0, per_bank = 0, units = 0, thread = 0, tag = 0, flags = kLive;
};

class LedgerBuilder {
 public:
  static constexpr uint32_t kCatalogCapacity = 128, kThreadCapacity = 256, kTagCapacity = 64, kGroupCapacity = 64;

  LedgerBuilder() {
    Put<uint64_t>(0, 0x474c594c4c41544dULL);
    Put<uint32_t>(kVersionAt, 1);
    Put<uint32_t>(kHeaderBytesAt, 1304);
    for (uint64_t i = 0; i < 16; ++i) Put<uint8_t>(kRunIdAt + i, static_cast<uint8_t>(i + 1));
    Put<uint32_t>(kPidAt, 4194000);
    Put<uint32_t>(kUidAt, geteuid());
    PutText(kCommAt, "trainer");
    PutText(kHostAt, "host7");
    PutText(kExecutableAt, "/usr/bin/trainer");
    Put<uint32_t>(kClockKindAt, 1);
    Put<uint64_t>(kClockStartNsAt, 1'000'000);
    end_ = 4096;
    AddArea(kCatalogAt, 64, kCatalogCapacity);
    AddArea(kThreadsAt, 4, kThreadCapacity);
    AddArea(kTagsAt, 128, kTagCapacity);
    AddArea(kGroupsAt, 128, kGroupCapacity);
  }

  template <typename T>
  void Put(uint64_t at, T value) {
    if (bytes_.size() < at + sizeof(T)) bytes_.resize(at + sizeof(T));
    memcpy(bytes_.data() + at, &value, sizeof(T));
  }
  template <typename T>
  T Get(uint64_t at) const {
    T value{};
    if (at + sizeof(T) <= bytes_.size()) memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  template <typename T>
  void Add(uint64_t at, T value) {
    Put<T>(at, static_cast<T>(Get<T>(at) + value));
  }
  void PutText(uint64_t at, const std::string& text) {
    for (size_t i = 0; i < text.size(); ++i) Put<char>(at + i, text[i]);
  }

  // The basis that most tests want: device 0, dram and l1, account 0 (dram, 4 banks), one lane.
  LedgerBuilder& Usual() {
    AddKind(0, 0, ~0u, 0, "dram");
    AddKind(1, 1, ~0u, 0, "l1");
    AddDevice(0);
    AddAccount(0, 0, 0, 4);
    AddThread(0);
    AddThread(1234);
    AddLane(64);
    return *this;
  }

  uint64_t AddDevice(uint32_t index, uint64_t closed_at = 0) {
    const uint64_t at = NextCatalogEntry(1, index);
    Put<uint8_t>(at + 8, static_cast<uint8_t>(0xd0 + index));
    Put<uint32_t>(at + 24, 1);
    Put<int32_t>(at + 28, static_cast<int32_t>(index));
    Put<uint32_t>(at + 32, 0x0100 + (index << 3));
    Put<uint32_t>(at + 36, ~0u);
    Put<uint64_t>(at + 40, uint64_t{12} << 30);
    Put<uint64_t>(at + 48, closed_at);
    Put<uint32_t>(at + 56, closed_at != 0);
    const uint64_t more = NextCatalogEntry(2, index);
    PutText(more + 8, "tenstorrent");
    PutText(more + 32, "wormhole_b0");
    return at;
  }
  uint64_t AddKind(uint32_t number, uint32_t memory, uint32_t inside, uint32_t flags, const std::string& name) {
    const uint64_t at = NextCatalogEntry(3, number);
    Put<uint32_t>(at + 8, memory);
    Put<uint32_t>(at + 12, inside);
    Put<uint32_t>(at + 16, flags);
    PutText(at + 24, name);
    return at;
  }
  uint64_t AddAccount(uint32_t index, uint16_t device, uint16_t kind, uint32_t banks) {
    const uint64_t at = NextCatalogEntry(4, index);
    Put<uint16_t>(at + 8, device);
    Put<uint16_t>(at + 10, kind);
    Put<uint32_t>(at + 12, banks);
    Put<uint64_t>(at + 16, uint64_t{1} << 30);
    Put<uint64_t>(at + 24, (uint64_t{1} << 30) / banks);
    return at;
  }
  void AddThread(uint32_t id) { Put<uint32_t>(NextEntry(kThreadsAt, 4), id); }
  uint64_t AddTag(uint32_t parent, const std::string& name, uint32_t whole = 0) {
    const uint64_t at = NextEntry(kTagsAt, 128);
    Put<uint32_t>(at, parent);
    Put<uint32_t>(at + 8, whole != 0 ? whole : static_cast<uint32_t>(name.size()));
    PutText(at + 12, name);
    return at;
  }
  void AddGroup(uint64_t id, const std::string& name) {
    const uint64_t at = NextEntry(kGroupsAt, 128);
    Put<uint64_t>(at, id);
    Put<uint32_t>(at + 8, static_cast<uint32_t>(name.size()));
    PutText(at + 12, name);
  }

  uint32_t AddLane(uint32_t ring_capacity) {
    const auto lane = Get<uint32_t>(kLaneCountAt);
    const uint64_t at = AddExtent(kRingAt + uint64_t{ring_capacity} * 48);
    Put<uint64_t>(kLaneDirectoryAt + 8 * lane, at);
    Put<uint32_t>(kLaneCountAt, lane + 1);
    Put<uint64_t>(at + kRingOffsetAt, at + kRingAt);
    Put<uint32_t>(at + kRingCapacityAt, ring_capacity);
    return lane;
  }
  uint64_t LaneAt(uint32_t lane) const { return Get<uint64_t>(kLaneDirectoryAt + 8 * lane); }

  // Offset of a slot; its segment is made if it is not there.
  uint64_t SlotAt(uint32_t lane, uint64_t slot) {
    uint64_t k = 0;
    while (slot >= 512 * ((uint64_t{2} << k) - 1)) ++k;
    const uint64_t word = LaneAt(lane) + kSegmentsAt + 8 * k;
    if (Get<uint64_t>(word) == 0) {
      const uint64_t segment = AddExtent((uint64_t{512} << k) * 40);
      Put<uint64_t>(word, segment);
    }
    if (Get<uint64_t>(LaneAt(lane) + kSlotsUsedAt) <= slot) Put<uint64_t>(LaneAt(lane) + kSlotsUsedAt, slot + 1);
    return Get<uint64_t>(word) + 40 * (slot - 512 * ((uint64_t{1} << k) - 1));
  }

  void PutRecord(uint64_t at, uint64_t account, const Buffer& b) {
    Put<uint64_t>(at, b.id);
    Put<uint64_t>(at + 8, b.address);
    Put<uint64_t>(at + 16, b.requested | account << 46 | b.flags << 56);
    Put<uint64_t>(at + 24, b.per_bank | b.thread << 40 | (b.units >> 48) << 56);
    Put<uint64_t>(at + 32, b.tag | b.units << 16);
  }
  void PutExtension(uint64_t at, uint64_t address, uint64_t group, uint64_t stack, uint64_t requested,
                    uint64_t per_bank, uint64_t flags = kExtension) {
    Put<uint64_t>(at, address);
    Put<uint64_t>(at + 8, group);
    Put<uint64_t>(at + 16, stack | flags << 56);
    Put<uint64_t>(at + 24, requested);
    Put<uint64_t>(at + 32, per_bank);
  }

  uint64_t SumsOf(uint32_t lane, uint32_t account) const { return LaneAt(lane) + kSumsAt + 64 * account; }
  uint64_t MoreSumsOf(uint32_t lane, uint32_t account) const { return LaneAt(lane) + kMoreSumsAt + 64 * account; }

  // The next event of the lane; ends its call.
  void PutEvent(uint32_t lane, uint64_t operation, uint64_t account, Buffer b, uint64_t slot, uint64_t second = 0) {
    const uint64_t base = LaneAt(lane);
    const auto capacity = Get<uint32_t>(base + kRingCapacityAt);
    const uint64_t number = Get<uint64_t>(base) / 2;
    b.flags = (b.flags & ~uint64_t{kLive}) | operation << 4;
    const uint64_t at = Get<uint64_t>(base + kRingOffsetAt) + 48 * (number % capacity);
    PutRecord(at, account, b);
    Put<uint64_t>(at + 40, slot | second << 32);
    Put<uint64_t>(base, (number + 1) * 2);
  }

  // A whole allocation and a whole free, as a tracker does them.
  void Alloc(uint32_t lane, uint32_t account, uint64_t slot, const Buffer& b) {
    PutRecord(SlotAt(lane, slot), account, b);
    const uint64_t sums = SumsOf(lane, account);
    Add<uint64_t>(sums, 1);
    Add<uint64_t>(sums + 8, b.requested);
    Add<uint64_t>(sums + 16, b.per_bank * BanksOf(account));
    for (const uint64_t i : {0, 1}) {
      const uint64_t live = Get<uint64_t>(sums + 8 + 8 * i) - Get<uint64_t>(sums + 32 + 8 * i);
      if (live > Get<uint64_t>(sums + 48 + 8 * i)) Put<uint64_t>(sums + 48 + 8 * i, live);
    }
    PutEvent(lane, kAlloc, account, b, slot);
  }
  void Free(uint32_t lane, uint32_t account, uint64_t slot, const Buffer& b) {
    Add<uint64_t>(SlotAt(lane, slot) + 16, static_cast<uint64_t>(-(int64_t{1} << 56)));
    const uint64_t sums = SumsOf(lane, account);
    Add<uint64_t>(sums + 24, 1);
    Add<uint64_t>(sums + 32, b.requested);
    Add<uint64_t>(sums + 40, b.per_bank * BanksOf(account));
    PutEvent(lane, kFree, account, b, slot);
  }

  uint64_t AddExtent(uint64_t bytes) {
    const uint64_t at = end_;
    end_ += (bytes + 4095) / 4096 * 4096;
    bytes_.resize(end_);
    Put<uint64_t>(kFileEndAt, end_);
    return at;
  }
  uint64_t CatalogEntry(uint32_t i) const { return Get<uint64_t>(kCatalogAt) + uint64_t{64} * i; }

  std::vector<uint8_t>& bytes() { return bytes_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  void AddArea(uint64_t header_at, uint64_t entry, uint32_t capacity) {
    Put<uint32_t>(header_at + 8, capacity);
    const uint64_t at = AddExtent(entry * capacity);
    Put<uint64_t>(header_at, at);
  }
  uint64_t NextEntry(uint64_t header_at, uint64_t entry) {
    const auto count = Get<uint32_t>(header_at + 12);
    if (count >= Get<uint32_t>(header_at + 8)) throw std::runtime_error("area full");
    Put<uint32_t>(header_at + 12, count + 1);
    return Get<uint64_t>(header_at) + entry * count;
  }
  uint64_t NextCatalogEntry(uint32_t type, uint32_t index) {
    const uint64_t at = NextEntry(kCatalogAt, 64);
    Put<uint32_t>(at, type);
    Put<uint32_t>(at + 4, index);
    return at;
  }
  uint64_t BanksOf(uint32_t account) const {
    for (uint32_t i = 0; i < Get<uint32_t>(kCatalogAt + 12); ++i) {
      const uint64_t at = CatalogEntry(i);
      if (Get<uint32_t>(at) == 4 && Get<uint32_t>(at + 4) == account) return Get<uint32_t>(at + 12);
    }
    return 1;
  }

  std::vector<uint8_t> bytes_;
  uint64_t end_ = 0;
};

// A directory that is removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/dev/shm/memtally-test-XXXXXX";
    char other[] = "/tmp/memtally-test-XXXXXX";
    const char* made = mkdtemp(name);
    if (made == nullptr) made = mkdtemp(other);
    if (made == nullptr) throw std::runtime_error("no temporary directory");
    path_ = made;
    chmod(path_.c_str(), 0755);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

  // Path of a ledger; `number` makes names different.
  std::string LedgerPath(uint32_t number = 1, uint32_t pid = 4194000, const char* suffix = ".ledger") const {
    char name[128];
    snprintf(name, sizeof(name), "/memtally-%u-%u-%032x%s", geteuid(), pid, number, suffix);
    return path_ + name;
  }
  std::string Write(const LedgerBuilder& builder, uint32_t number = 1) const {
    return WriteBytes(LedgerPath(number), builder.bytes());
  }
  // Pages of zeros become holes.
  static std::string WriteBytes(const std::string& path, const std::vector<uint8_t>& bytes) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes.size())) != 0)
      throw std::runtime_error("cannot write " + path);
    static const std::vector<uint8_t> zeros(4096);
    for (size_t at = 0; at < bytes.size(); at += 4096) {
      const size_t now = std::min<size_t>(4096, bytes.size() - at);
      if (memcmp(bytes.data() + at, zeros.data(), now) == 0) continue;
      if (pwrite(fd, bytes.data() + at, now, static_cast<off_t>(at)) != static_cast<ssize_t>(now)) {
        close(fd);
        throw std::runtime_error("cannot write " + path);
      }
    }
    close(fd);
    return path;
  }

 private:
  std::string path_;
};

// Another process that holds the lock of a ledger, as its tracker would.
class LockHolderProcess {
 public:
  explicit LockHolderProcess(const std::string& path) {
    int ready[2];
    if (pipe(ready) != 0) throw std::runtime_error("pipe");
    pid_ = fork();
    if (pid_ == 0) {
      const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
      struct flock lock {};
      lock.l_type = F_WRLCK;
      lock.l_len = 1;
      char ok = fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0 ? 'y' : 'n';
      if (write(ready[1], &ok, 1) != 1) _exit(1);
      for (;;) pause();
    }
    char ok = 'n';
    const ssize_t got = read(ready[0], &ok, 1);
    close(ready[0]);
    close(ready[1]);
    if (got != 1 || ok != 'y') throw std::runtime_error("the lock was not taken");
  }
  ~LockHolderProcess() { Kill(); }
  LockHolderProcess(const LockHolderProcess&) = delete;
  LockHolderProcess& operator=(const LockHolderProcess&) = delete;

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

}  // namespace memtally::test
