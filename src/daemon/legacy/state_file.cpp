// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/state_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/proc.hpp"

namespace memtally::daemon {
namespace {

template <size_t kSize>
void CopyText(const std::string& from, char (&to)[kSize]) {
  memcpy(to, from.data(), std::min(from.size(), kSize - 1));
}

bool WantsBuffers(const memtally_legacy_state_request& request, const ClientProcess& process) {
  switch (request.level) {
    case MEMTALLY_LEGACY_STATE_EVERYTHING:
      return true;
    case MEMTALLY_LEGACY_STATE_ONE_PROCESS:
      return std::equal(process.identity().run_id.begin(), process.identity().run_id.end(), request.run_id);
    default:
      return false;
  }
}

memtally_legacy_state_process Describe(const ClientProcess& process) {
  memtally_legacy_state_process out{};
  const ClientProcess::Identity& identity = process.identity();
  memcpy(out.run_id, identity.run_id.data(), sizeof(out.run_id));
  out.pid = identity.pid;
  out.parent_pid = identity.parent_pid;
  out.uid = identity.uid;
  out.gid = identity.gid;
  out.start_ticks = identity.start_ticks;
  out.start_ns = process.start_ns();
  out.end_ns = process.end_ns;
  out.state = static_cast<uint32_t>(process.state);
  out.connections = process.connections;
  out.generations = process.generations();
  out.claimed_pid = process.claimed_pid();
  out.live_buffers = process.buffers().size();
  const ClientProcess::Counters& counters = process.counters();
  out.messages = counters.messages;
  out.repeated_allocations = counters.repeated_allocations;
  out.unknown_frees = counters.unknown_frees;
  out.unknown_free_bytes = counters.unknown_free_bytes;
  out.ambiguous_frees = counters.ambiguous_frees;
  out.foreign_pids = counters.foreign_pids;
  out.refused_buffers = counters.refused_buffers;
  out.refused_bytes = counters.refused_bytes;
  out.damaged_messages = counters.damaged_messages;
  out.skipped_bytes = counters.skipped_bytes;
  out.unknown_types = counters.unknown_types;
  out.throttled = counters.throttled;
  out.resynchronisations = counters.resynchronisations;
  CopyText(identity.comm, out.comm);
  CopyText(identity.executable, out.executable);
  return out;
}

memtally_legacy_state_account Describe(const LegacyAccount& account, const ServerSettings& settings) {
  memtally_legacy_state_account out{};
  out.device = account.device;
  out.kind = account.kind;
  out.live_count = account.live_count;
  out.live_bytes = account.live_bytes;
  out.allocated_count = account.allocated_count;
  out.allocated_bytes = account.allocated_bytes;
  out.freed_count = account.freed_count;
  out.freed_bytes = account.freed_bytes;
  out.peak_bytes = account.peak_bytes;
  for (const DeviceFacts& facts : settings.devices) {
    if (facts.device != account.device) continue;
    if (account.kind == MEMTALLY_KIND_DRAM) out.capacity_bytes = facts.dram_bytes;
    if (account.kind == MEMTALLY_KIND_L1) out.capacity_bytes = facts.l1_bytes;
  }
  return out;
}

template <typename Element>
void Append(const Element& element, std::vector<uint8_t>* bytes) {
  const auto* begin = reinterpret_cast<const uint8_t*>(&element);
  bytes->insert(bytes->end(), begin, begin + sizeof(element));
}

bool WriteAll(int fd, const std::vector<uint8_t>& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t written = write(fd, bytes.data() + at, bytes.size() - at);
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) at += static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

base::Fd MakeStateFile(const ClientRegistry& registry, const StateFacts& facts,
                       const memtally_legacy_state_request& request, uint64_t* bytes) {
  memtally_legacy_state_header header{};
  header.magic = MEMTALLY_LEGACY_STATE_MAGIC;
  header.version = MEMTALLY_LEGACY_STATE_VERSION;
  header.header_bytes = sizeof(header);
  header.process_bytes = sizeof(memtally_legacy_state_process);
  header.account_bytes = sizeof(memtally_legacy_state_account);
  header.buffer_bytes = sizeof(memtally_legacy_state_buffer);
  header.level = request.level;
  header.time_ns = facts.now_ns;
  header.start_ns = facts.start_ns;
  const auto boot_id = base::BootId();
  memcpy(header.boot_id, boot_id.data(), sizeof(header.boot_id));
  header.pid_namespace = base::OwnPidNamespace();
  header.server_pid = static_cast<uint32_t>(getpid());
  header.connections = facts.connections;
  const ClientRegistry::Counters& counters = registry.counters();
  header.connections_ever = counters.connections_ever;
  header.messages = counters.messages;
  header.queries = counters.queries;
  header.forgotten_processes = counters.forgotten_processes;
  std::copy(counters.refused.begin(), counters.refused.end(), header.refused);
  CopyText(facts.settings->socket, header.socket_path);

  std::vector<uint8_t> processes;
  std::vector<uint8_t> accounts;
  std::vector<uint8_t> buffers;
  for (const auto& process : registry.processes()) {
    memtally_legacy_state_process described = Describe(*process);
    header.refused[MEMTALLY_LEGACY_REFUSED_BUFFERS] += described.refused_buffers;
    described.first_account = header.account_count;
    described.account_count = process->accounts().size();
    header.account_count += described.account_count;
    for (const LegacyAccount& account : process->accounts()) Append(Describe(account, *facts.settings), &accounts);
    described.first_buffer = header.buffer_count;
    if (WantsBuffers(request, *process)) {
      described.buffer_count = process->buffers().size();
      buffers.reserve(buffers.size() + described.buffer_count * sizeof(memtally_legacy_state_buffer));
      process->buffers().ForEach([&](const BufferEntry& entry) {
        memtally_legacy_state_buffer buffer{};
        buffer.id = entry.id;
        buffer.size = entry.size;
        buffer.time_ns = entry.time_ns;
        buffer.device = process->DeviceAt(entry.device);
        buffer.kind = entry.kind;
        buffer.references = entry.references;
        Append(buffer, &buffers);
      });
    }
    header.buffer_count += described.buffer_count;
    ++header.process_count;
    Append(described, &processes);
  }

  std::vector<uint8_t> head;
  Append(header, &head);
  base::Fd file(memfd_create("memtally_legacy_state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return file;
  for (const std::vector<uint8_t>* part : {&head, &processes, &accounts, &buffers}) {
    if (!WriteAll(file.get(), *part)) return base::Fd();
    *bytes += part->size();
  }
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) return base::Fd();
  return file;
}

}  // namespace memtally::daemon
