// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/liveness.hpp"

#include <string.h>
#include <unistd.h>

#include <array>

#include "base/proc.hpp"
#include "ledger/reader/held_descriptor.hpp"

namespace memtally::reader {

bool IsThisBoot(const uint8_t (&boot_id)[16]) {
  static const std::array<uint8_t, 16> own = base::BootId();
  static constexpr std::array<uint8_t, 16> kUnknown{};
  return own != kUnknown && memcmp(own.data(), boot_id, own.size()) == 0;
}

bool IsOwnPidNamespace(uint64_t inode) {
  static const uint64_t own = base::OwnPidNamespace();
  return own != 0 && own == inode;
}

bool IsOwnProcess(const memtally_ledger_header& header) {
  return header.pid == static_cast<uint32_t>(getpid()) && IsOwnPidNamespace(header.pid_namespace) &&
         IsThisBoot(header.boot_id);
}

Liveness AskLiveness(int descriptor, const memtally_ledger_header& header, uint32_t* visible_pid) {
  const LockHolder holder = AskLock(descriptor);
  if (visible_pid != nullptr) *visible_pid = holder.pid;
  if (holder.held) return Liveness::kAlive;
  if (header.process_start_ticks == 0 || !IsOwnPidNamespace(header.pid_namespace) || !IsThisBoot(header.boot_id)) {
    return Liveness::kDead;
  }
  const base::ProcessStat process = base::StatProcess(header.pid);
  if (!process.exists || process.gone || process.start_ticks != header.process_start_ticks) return Liveness::kDead;
  if (visible_pid != nullptr) *visible_pid = header.pid;
  return Liveness::kDetached;
}

}  // namespace memtally::reader
