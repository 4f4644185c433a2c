// SPDX-License-Identifier: Apache-2.0
//
// The file of an ipc channel, seen from outside: its name, its header, its locks.  Nothing here trusts the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <memtally/abi/channel_format.h>

#include "channel/segment.hpp"

namespace memtally::channel {

// "/dev/shm/memtally-channel.NAME"; MEMTALLY_CHANNEL_DIR names another folder, for tests.
std::string ChannelPath(const std::string& name);

// Throws ChannelError unless it is a regular file of this user's that nobody else can write.
void CheckOwnership(int fd, const std::string& path);

// Copies the header and checks the copy.  What is wrong, in words; "" if nothing is.
std::string ReadChannelHeader(int fd, memtally_channel_header* header, Geometry* geometry);

// Whether somebody else's description of the file has a lock on one of these bytes.
bool IsLocked(int fd, uint64_t first, uint64_t count);

// A channel of the machine, as it was at one moment.
struct ChannelParticipant {
  uint32_t role = 0;  // enum memtally_channel_role
  uint32_t pid = 0;
  bool alive = false;
  std::string comm;
  uint64_t joined_time_ns = 0;
  memtally_channel_counts counts{};
  uint64_t missed = 0;
};
struct ChannelRecord {
  std::string name;
  std::string path;
  std::string fault;  // in words; then nothing else is known
  Geometry geometry;
  uint32_t uid = 0;
  uint64_t created_realtime_ns = 0;
  bool stopped = false;
  uint64_t used_bytes = 0;  // in the ring
  ChannelMetrics metrics;
  std::vector<ChannelParticipant> participants;
  bool stale() const;  // nobody alive has it
};

// All ipc channels whose files can be read.  *problem: why there are none, if the folder cannot be read.
std::vector<ChannelRecord> ListIpcChannels(std::string* problem);

// The sums of those who are there and those who left.
ChannelMetrics SumMetrics(const memtally_channel_header& header, const memtally_channel_participant* participants);

}  // namespace memtally::channel
