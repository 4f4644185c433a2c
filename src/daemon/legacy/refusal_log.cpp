// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/refusal_log.hpp"

#include <spdlog/spdlog.h>

namespace memtally::daemon {

const char* RefusalText(uint32_t reason) {
  switch (reason) {
    case MEMTALLY_LEGACY_REFUSED_GROUP:
      return "it is not in the group that may connect";
    case MEMTALLY_LEGACY_REFUSED_CONNECTIONS:
      return "all connections are taken (most_connections)";
    case MEMTALLY_LEGACY_REFUSED_OF_USER:
      return "its user has all connections that one user may have (most_connections_of_user)";
    case MEMTALLY_LEGACY_REFUSED_IDLE:
      return "it was silent for too long (idle_seconds)";
    case MEMTALLY_LEGACY_REFUSED_BYTES:
      return "its bytes are no messages of any generation of the protocol";
    case MEMTALLY_LEGACY_REFUSED_UNREAD:
      return "it does not read its answers";
    case MEMTALLY_LEGACY_REFUSED_BUFFERS:
      return "it has all buffers that one process may have (most_buffers): an allocation was not recorded";
    default:
      return "no file descriptor was left";
  }
}

void RefusalLog::Note(uint32_t reason, uint32_t pid, uint32_t uid, uint64_t now_ns) {
  constexpr uint64_t kSilentNs = 10'000'000'000;
  Silence& silence = silence_.at(reason);
  if (now_ns < silence.until_ns) {
    ++silence.unsaid;
    return;
  }
  spdlog::warn("pid {} of user {} was refused: {} ({} more of these went unsaid)", pid, uid, RefusalText(reason),
               silence.unsaid);
  silence = {now_ns + kSilentNs, 0};
}

}  // namespace memtally::daemon
