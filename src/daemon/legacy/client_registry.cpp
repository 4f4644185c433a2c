// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/client_registry.hpp"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/proc.hpp"

namespace memtally::daemon {
namespace {

constexpr uint64_t kUnseen = uint64_t{1} << 63;

// The pids of a process in all namespaces that it is in.
std::vector<uint32_t> OwnPids(uint32_t pid) {
  std::vector<uint32_t> pids;
  char path[64];
  char text[8192];
  snprintf(path, sizeof(path), "/proc/%u/status", pid);
  const size_t size = base::ReadSmallFile(path, text, sizeof(text) - 1);
  text[size] = 0;
  const char* at = strstr(text, "\nNSpid:");
  if (at == nullptr) return pids;
  at += strlen("\nNSpid:");
  while (*at == '\t' || *at == ' ') {
    ++at;
    uint32_t one = 0;
    const auto [end, error] = std::from_chars(at, text + size, one);
    if (error != std::errc()) break;
    pids.push_back(one);
    at = end;
  }
  return pids;
}

ClientProcess::Identity IdentityOf(uint32_t pid, uint32_t uid, uint32_t gid) {
  ClientProcess::Identity identity;
  if (getrandom(identity.run_id.data(), identity.run_id.size(), 0) < 0) {
    const uint64_t now = base::RealtimeNs();
    memcpy(identity.run_id.data(), &now, sizeof(now));
    memcpy(identity.run_id.data() + sizeof(now), &pid, sizeof(pid));
  }
  identity.pid = pid;
  identity.uid = uid;
  identity.gid = gid;
  if (pid == 0) return identity;
  const base::ProcessStat stat = base::StatProcess(pid);
  identity.parent_pid = stat.parent_pid;
  identity.start_ticks = stat.start_ticks;
  identity.own_pids = OwnPids(pid);
  char path[64];
  char text[1024];
  snprintf(path, sizeof(path), "/proc/%u/comm", pid);
  const size_t size = base::ReadSmallFile(path, text, sizeof(text));
  identity.comm.assign(text, size);
  if (!identity.comm.empty() && identity.comm.back() == '\n') identity.comm.pop_back();
  snprintf(path, sizeof(path), "/proc/%u/exe", pid);
  const ssize_t length = readlink(path, text, sizeof(text));
  if (length > 0) identity.executable.assign(text, static_cast<size_t>(length));
  return identity;
}

}  // namespace

ClientProcess* ClientRegistry::Find(uint32_t pid, uint32_t uid, uint32_t gid, uint64_t connection, uint64_t now_ns,
                                    bool* is_new) {
  const uint64_t key = pid != 0 ? pid : connection | kUnseen;
  const auto known = by_pid_.find(key);
  *is_new = known == by_pid_.end();
  if (!*is_new) return known->second;
  ClientProcess* process =
      processes_.emplace_back(std::make_unique<ClientProcess>(IdentityOf(pid, uid, gid), now_ns)).get();
  process->state = ClientProcess::State::kDisconnected;
  by_pid_[key] = process;
  return process;
}

// What it holds joins the totals, or leaves them.
void ClientRegistry::Count(const ClientProcess& process, bool add) {
  for (const LegacyAccount& account : process.accounts()) {
    DeviceTotals& totals = devices_[account.device];
    if (add) {
      totals.bytes[account.kind] += account.live_bytes;
      totals.buffers[account.kind] += account.live_count;
    } else {
      totals.bytes[account.kind] -= account.live_bytes;
      totals.buffers[account.kind] -= account.live_count;
    }
  }
}

void ClientRegistry::Attach(ClientProcess* process) {
  ++process->connections;
  if (process->state != ClientProcess::State::kDisconnected) return;
  process->state = ClientProcess::State::kConnected;
  process->end_ns = 0;
  Count(*process, true);
}

void ClientRegistry::Detach(ClientProcess* process, uint64_t now_ns) {
  if (process->connections > 0) --process->connections;
  if (process->connections > 0 || process->state != ClientProcess::State::kConnected) return;
  process->state = ClientProcess::State::kDisconnected;
  process->end_ns = now_ns;
  Count(*process, false);
}

void ClientRegistry::Died(ClientProcess* process, uint64_t now_ns) {
  if (process->state == ClientProcess::State::kDead) return;
  if (process->state == ClientProcess::State::kConnected) Count(*process, false);
  process->state = ClientProcess::State::kDead;
  if (process->end_ns == 0) process->end_ns = now_ns;
  std::erase_if(by_pid_, [&](const auto& entry) { return entry.second == process; });
  ++dead_;
  if (!process->IsEvidence()) {
    std::erase_if(processes_, [&](const auto& one) { return one.get() == process; });
    --dead_;
  } else if (dead_ > settings_.keep_dead) {
    ForgetOldest();
  }
}

void ClientRegistry::ForgetOldest() {
  const auto oldest = std::find_if(processes_.begin(), processes_.end(),
                                   [](const auto& one) { return one->state == ClientProcess::State::kDead; });
  if (oldest == processes_.end()) return;
  processes_.erase(oldest);
  --dead_;
  ++counters_.forgotten_processes;
}

void ClientRegistry::Apply(ClientProcess* process, const FramedMessage& message, uint64_t now_ns) {
  if (message.head.type == MEMTALLY_LEGACY_RESYNCHRONISE) {
    if (process->state == ClientProcess::State::kConnected) Count(*process, false);
    process->Forget();
    return;
  }
  const AccountChange change = process->Apply(message.head, now_ns, settings_.most_buffers);
  if (change.count == 0 || process->state != ClientProcess::State::kConnected) return;
  if (last_device_ == devices_.end() || last_device_->first != change.device) {
    last_device_ = devices_.try_emplace(change.device).first;
  }
  last_device_->second.bytes[change.kind] += change.bytes;
  last_device_->second.buffers[change.kind] += change.count;
}

const DeviceTotals& ClientRegistry::TotalsOf(int32_t device) const {
  static const DeviceTotals kNone;
  const auto found = devices_.find(device);
  return found == devices_.end() ? kNone : found->second;
}

}  // namespace memtally::daemon
