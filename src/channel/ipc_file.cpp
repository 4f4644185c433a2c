// SPDX-License-Identifier: Apache-2.0
#include "channel/ipc_file.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/fd.hpp"
#include "base/proc.hpp"

namespace memtally::channel {

namespace {

constexpr char kPrefix[] = "memtally-channel.";

std::string Folder() {
  const char* folder = getenv("MEMTALLY_CHANNEL_DIR");
  return folder != nullptr && *folder == '/' ? folder : "/dev/shm";
}

// What the ring holds, from the words of a copy; 0 if they make no sense.
uint64_t UsedBytes(const Geometry& geometry, const memtally_channel_header& header) {
  uint64_t used = 0;
  if (geometry.mode == MEMTALLY_CHANNEL_MPSC) {
    used = uint64_t{static_cast<uint32_t>(header.tail) - static_cast<uint32_t>(header.head)} * geometry.alignment;
  }
  return used <= geometry.capacity ? used : 0;
}

std::string SafeComm(const char (&comm)[16]) { return {comm, strnlen(comm, sizeof(comm))}; }

ChannelRecord ReadRecord(const std::string& path) {
  ChannelRecord record;
  record.path = path;
  record.name = path.substr(path.rfind('/') + sizeof(kPrefix));
  const base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat file {};
  if (!fd.valid() || fstat(fd.get(), &file) != 0) {
    record.fault = strerror(errno);
    return record;
  }
  record.uid = file.st_uid;
  memtally_channel_header header{};
  record.fault = S_ISREG(file.st_mode) ? ReadChannelHeader(fd.get(), &header, &record.geometry) : "it is no file";
  if (!record.fault.empty()) return record;
  std::vector<memtally_channel_participant> participants(MEMTALLY_CHANNEL_PARTICIPANTS);
  const size_t bytes = participants.size() * sizeof(participants[0]);
  if (pread(fd.get(), participants.data(), bytes, MEMTALLY_CHANNEL_HEADER_BYTES) != static_cast<ssize_t>(bytes)) {
    record.fault = "it is truncated";
    return record;
  }
  record.created_realtime_ns = header.created_realtime_ns;
  record.stopped = header.stopped != 0;
  record.used_bytes = UsedBytes(record.geometry, header);
  record.metrics = SumMetrics(header, participants.data());
  for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
    const memtally_channel_participant& one = participants[static_cast<size_t>(slot)];
    if (one.state == MEMTALLY_CHANNEL_FREE) continue;
    ChannelParticipant participant;
    participant.role = one.role;
    participant.pid = one.pid;
    participant.comm = SafeComm(one.comm);
    participant.joined_time_ns = one.joined_time_ns;
    participant.counts = one.counts;
    participant.missed = one.missed;
    participant.alive =
        one.state == MEMTALLY_CHANNEL_PRESENT && IsLocked(fd.get(), MEMTALLY_CHANNEL_LOCK_FIRST + slot, 1);
    record.participants.push_back(std::move(participant));
  }
  return record;
}

}  // namespace

std::string ChannelPath(const std::string& name) { return Folder() + "/" + kPrefix + name; }

void CheckOwnership(int fd, const std::string& path) {
  struct stat file {};
  if (fstat(fd, &file) != 0) throw ChannelError(path + ": cannot be examined: " + strerror(errno));
  if (!S_ISREG(file.st_mode)) throw ChannelError(path + ": is not a regular file; remove it, or take another name");
  if (file.st_uid != geteuid()) {
    throw ChannelError(path + ": belongs to user " + std::to_string(file.st_uid) + "; take another name");
  }
  if ((file.st_mode & 077) != 0) {
    throw ChannelError(path + ": others may read or write it, so it was not made by this library; remove it");
  }
}

std::string ReadChannelHeader(int fd, memtally_channel_header* header, Geometry* geometry) {
  struct stat file {};
  const ssize_t got = pread(fd, header, sizeof(*header), 0);
  if (fstat(fd, &file) != 0 || got < 0) return std::string("cannot be read: ") + strerror(errno);
  if (got != sizeof(*header)) return "is too short to be a channel";
  if (header->magic == 0) return "was never finished";
  if (header->magic != MEMTALLY_CHANNEL_MAGIC) return "is not a channel";
  if (header->version != MEMTALLY_CHANNEL_VERSION || header->header_bytes != sizeof(*header)) {
    return "is a channel of version " + std::to_string(header->version) + "; this library knows version " +
           std::to_string(MEMTALLY_CHANNEL_VERSION);
  }
  *geometry = {.mode = header->mode,
               .flags = header->flags,
               .alignment = header->alignment,
               .descriptor_count = header->descriptor_count,
               .capacity = header->capacity,
               .stride = header->stride,
               .ring_offset = header->ring_offset,
               .file_bytes = header->file_bytes};
  if (const std::string fault = geometry->Fault(); !fault.empty()) return "is damaged: " + fault;
  if (geometry->mode == MEMTALLY_CHANNEL_SPMC || geometry->mode == MEMTALLY_CHANNEL_MPMC) {
    return "is damaged: its mode does not work between processes";
  }
  if (static_cast<uint64_t>(file.st_size) != geometry->file_bytes) {
    return "is truncated or damaged: it has " + std::to_string(file.st_size) + " bytes, and should have " +
           std::to_string(geometry->file_bytes);
  }
  return "";
}

bool IsLocked(int fd, uint64_t first, uint64_t count) {
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first);
  lock.l_len = static_cast<off_t>(count);
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool ChannelRecord::stale() const {
  return std::none_of(participants.begin(), participants.end(),
                      [](const ChannelParticipant& participant) { return participant.alive; });
}

ChannelMetrics SumMetrics(const memtally_channel_header& header, const memtally_channel_participant* participants) {
  const auto load = [](const uint64_t& word) {
    return std::atomic_ref<uint64_t>(const_cast<uint64_t&>(word)).load(std::memory_order_relaxed);
  };
  ChannelMetrics sum;
  const auto add = [&](const memtally_channel_counts& counts, bool producer, uint64_t missed) {
    (producer ? sum.messages_sent : sum.messages_received) += load(counts.messages);
    (producer ? sum.bytes_sent : sum.bytes_received) += load(counts.bytes);
    (producer ? sum.full_waits : sum.empty_waits) += load(counts.waits);
    (producer ? sum.drops : sum.overruns) += load(counts.drops) + missed;
    uint64_t& last = producer ? sum.last_sent_ns : sum.last_received_ns;
    last = std::max(last, load(counts.last_time_ns));
    if (producer) sum.high_water_bytes = std::max(sum.high_water_bytes, load(counts.high_water));
  };
  add(header.departed_producers, true, 0);
  add(header.departed_consumers, false, 0);
  const auto load32 = [](const uint32_t& word) {
    return std::atomic_ref<uint32_t>(const_cast<uint32_t&>(word)).load(std::memory_order_acquire);
  };
  for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
    const memtally_channel_participant& one = participants[slot];
    const uint32_t role = load32(one.role);
    if (load32(one.state) == MEMTALLY_CHANNEL_FREE || role == MEMTALLY_CHANNEL_HANDLE) continue;
    add(one.counts, role == MEMTALLY_CHANNEL_PRODUCER, load(one.missed));
  }
  sum.producer_deaths = load32(header.dead_producers);
  sum.consumer_deaths = load32(header.dead_consumers);
  sum.last_dead_pid = load32(header.last_dead_pid);
  sum.abandoned = load(header.abandoned);
  return sum;
}

std::vector<ChannelRecord> ListIpcChannels(std::string* problem) {
  std::vector<ChannelRecord> records;
  const std::string folder = Folder();
  DIR* entries = opendir(folder.c_str());
  if (entries == nullptr) {
    *problem = folder + ": " + strerror(errno);
    return records;
  }
  while (const dirent* entry = readdir(entries)) {
    if (strncmp(entry->d_name, kPrefix, sizeof(kPrefix) - 1) != 0) continue;
    ChannelRecord record = ReadRecord(folder + "/" + entry->d_name);
    struct stat still {};
    if (stat(record.path.c_str(), &still) == 0) records.push_back(std::move(record));  // gone meanwhile: not listed
  }
  closedir(entries);
  std::sort(records.begin(), records.end(),
            [](const ChannelRecord& a, const ChannelRecord& b) { return a.name < b.name; });
  return records;
}

}  // namespace memtally::channel
