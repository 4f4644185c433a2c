// SPDX-License-Identifier: Apache-2.0
//
// LegacyServer: what messages mean, and what is said to them.
#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/legacy/legacy_server.hpp"

namespace memtally::daemon {
namespace {

// A dump over the wire lists so many; the state socket lists all.
constexpr size_t kMostDumped = 65536;

const char* KindName(uint8_t kind) {
  switch (kind) {
    case MEMTALLY_KIND_DRAM:
      return "DRAM";
    case MEMTALLY_KIND_L1:
      return "L1";
    case MEMTALLY_KIND_L1_SMALL:
      return "L1_SMALL";
    case MEMTALLY_KIND_TRACE:
      return "TRACE";
    case MEMTALLY_KIND_SYSTEM_MEMORY:
      return "SYSTEM_MEMORY";
    case MEMTALLY_KIND_CB:
      return "CB";
    default:
      return "KERNEL";
  }
}

uint8_t BufferTypeOf(uint8_t kind) {
  switch (kind) {
    case MEMTALLY_KIND_L1:
      return MEMTALLY_LEGACY_L1;
    case MEMTALLY_KIND_L1_SMALL:
      return MEMTALLY_LEGACY_L1_SMALL;
    case MEMTALLY_KIND_TRACE:
      return MEMTALLY_LEGACY_TRACE;
    case MEMTALLY_KIND_SYSTEM_MEMORY:
      return MEMTALLY_LEGACY_SYSTEM_MEMORY;
    default:
      return MEMTALLY_LEGACY_DRAM;
  }
}

uint8_t TypeOf(uint8_t kind) {
  if (kind == MEMTALLY_KIND_CB) return MEMTALLY_LEGACY_CB_ALLOC;
  return kind == MEMTALLY_KIND_KERNEL ? MEMTALLY_LEGACY_KERNEL_LOAD : MEMTALLY_LEGACY_ALLOC;
}

void SetTotals(const DeviceTotals& totals, Answer* answer) {
  answer->head.dram_allocated = totals.bytes[MEMTALLY_KIND_DRAM];
  answer->head.l1_allocated = totals.bytes[MEMTALLY_KIND_L1];
  answer->head.l1_small_allocated = totals.bytes[MEMTALLY_KIND_L1_SMALL];
  answer->head.trace_allocated = totals.bytes[MEMTALLY_KIND_TRACE];
  answer->cb_allocated = totals.bytes[MEMTALLY_KIND_CB];
  answer->kernel_allocated = totals.bytes[MEMTALLY_KIND_KERNEL];
  answer->programs = static_cast<uint32_t>(totals.buffers[MEMTALLY_KIND_KERNEL]);
}

}  // namespace

void LegacyServer::Handle(Connection* connection, const FramedMessage& message) {
  ClientProcess* process = connection->Sender(message.sender);
  if (process == nullptr) return;
  ++registry_.counters().messages;
  process->NoteMessage(message.head, message.generation);
  switch (message.head.type) {
    case MEMTALLY_LEGACY_ALLOC:
    case MEMTALLY_LEGACY_FREE:
    case MEMTALLY_LEGACY_CB_ALLOC:
    case MEMTALLY_LEGACY_CB_FREE:
    case MEMTALLY_LEGACY_KERNEL_LOAD:
    case MEMTALLY_LEGACY_KERNEL_UNLOAD:
    case MEMTALLY_LEGACY_RESYNCHRONISE: {
      const uint64_t unknown_before = process->counters().unknown_frees;
      const uint64_t refused_before = process->counters().refused_buffers;
      registry_.Apply(process, message, now_ns_);
      if (unknown_before == 0 && process->counters().unknown_frees != 0) {
        spdlog::warn(
            "pid {} ({}): freed unknown buffer {:#x} on device {}: its allocation was never received. More of "
            "them are counted, and say that the sender loses messages (sends that failed and were not repeated)",
            process->identity().pid, process->identity().comm, message.head.buffer_id, message.head.device_id);
      }
      if (refused_before != process->counters().refused_buffers) {
        refusal_log_.Note(MEMTALLY_LEGACY_REFUSED_BUFFERS, process->identity().pid, process->identity().uid, now_ns_);
      }
      return;
    }
    case MEMTALLY_LEGACY_QUERY:
      return AnswerQuery(connection, message);
    case MEMTALLY_LEGACY_DEVICE_INFO_QUERY:
      return AnswerDeviceInfo(connection, message);
    case MEMTALLY_LEGACY_DUMP_REMAINING:
    case MEMTALLY_LEGACY_DUMP_KERNELS:
      return Dump(connection, message);
    default:
      ++process->counters().unknown_types;
  }
}

void LegacyServer::AnswerQuery(Connection* connection, const FramedMessage& message) {
  ++registry_.counters().queries;
  Answer answer;
  answer.head.type = MEMTALLY_LEGACY_RESPONSE;
  answer.head.device_id = message.head.device_id;
  SetTotals(registry_.TotalsOf(message.head.device_id), &answer);
  AppendAnswer(answer, message.generation, &connection->output);
}

void LegacyServer::AnswerDeviceInfo(Connection* connection, const FramedMessage& message) {
  ++registry_.counters().queries;
  const int32_t wanted = message.head.device_id;
  Answer answer;
  answer.head.type = MEMTALLY_LEGACY_DEVICE_INFO_RESPONSE;
  answer.head.device_id = wanted;
  int32_t devices = registry_.devices().empty() ? 0 : registry_.devices().rbegin()->first + 1;
  for (const DeviceFacts& facts : settings_.devices) {
    devices = std::max(devices, facts.device + 1);
    if (facts.device != wanted) continue;
    answer.device.total_dram_size = facts.dram_bytes;
    answer.device.total_l1_size = facts.l1_bytes;
    answer.device.arch_type = facts.architecture;
    answer.device.num_dram_channels = facts.dram_channels;
    if (facts.dram_channels != 0) {
      answer.device.dram_size_per_channel = static_cast<uint32_t>(facts.dram_bytes / facts.dram_channels);
    }
    answer.device.l1_size_per_core = facts.l1_bytes_per_core;
    answer.device.is_available = 1;
  }
  if (registry_.devices().count(wanted) != 0) answer.device.is_available = 1;
  answer.device.num_devices = static_cast<uint32_t>(std::max(devices, 0));
  if (wanted >= 0) SetTotals(registry_.TotalsOf(wanted), &answer);
  AppendAnswer(answer, message.generation, &connection->output);
}

// In the log as the original did; over the wire for those who ask so (buffer_type 255).
void LegacyServer::Dump(Connection* connection, const FramedMessage& message) {
  const bool kernels = message.head.type == MEMTALLY_LEGACY_DUMP_KERNELS;
  const bool on_wire = message.head.buffer_type == MEMTALLY_LEGACY_ANSWER_ME;
  size_t count = 0;
  for (const auto& process : registry_.processes()) {
    process->buffers().ForEach([&](const BufferEntry& entry) {
      if (kernels != (entry.kind == MEMTALLY_KIND_KERNEL)) return;
      const int32_t device = process->DeviceAt(entry.device);
      if (message.head.device_id >= 0 && on_wire && device != message.head.device_id) return;
      ++count;
      if (!on_wire) {
        if (count <= kMostDumped) {
          spdlog::info("remaining: pid {} ({}) device {} {} buffer {:#x} {} bytes, {} references",
                       process->identity().pid, process->identity().comm, device, KindName(entry.kind), entry.id,
                       entry.size, entry.references);
        }
        return;
      }
      if (count > kMostDumped) return;
      Answer answer;
      answer.head.type = TypeOf(entry.kind);
      answer.head.device_id = device;
      answer.head.size = entry.size;
      answer.head.buffer_type = BufferTypeOf(entry.kind);
      answer.head.process_id = static_cast<int32_t>(process->identity().pid);
      answer.head.buffer_id = entry.id;
      answer.head.timestamp = entry.time_ns;
      AppendAnswer(answer, message.generation, &connection->output);
    });
  }
  if (!on_wire) return spdlog::info("remaining: {} in all", count);
  Answer answer;
  answer.head.type = message.head.type;
  answer.head.device_id = message.head.device_id;
  answer.head.size = count;
  AppendAnswer(answer, message.generation, &connection->output);
}

void LegacyServer::LogStatistics(const char* when) const {
  const ClientRegistry::Counters& counters = registry_.counters();
  uint64_t unknown = 0;
  uint64_t repeated = 0;
  uint64_t foreign = 0;
  for (const auto& process : registry_.processes()) {
    unknown += process->counters().unknown_frees;
    repeated += process->counters().repeated_allocations;
    foreign += process->counters().foreign_pids;
  }
  spdlog::info(
      "{} statistics: {} messages, {} queries, {} connections ({} now), {} unknown buffers freed, {} repeated "
      "allocations, {} messages with a foreign pid",
      when, counters.messages, counters.queries, counters.connections_ever, connections_.size(), unknown, repeated,
      foreign);
  for (const auto& [device, totals] : registry_.devices()) {
    for (uint8_t kind = 0; kind < MEMTALLY_BUILTIN_KINDS; ++kind) {
      if (totals.buffers[kind] == 0) continue;
      spdlog::info("{} statistics: device {}: {} {} bytes in {} buffers", when, device, KindName(kind),
                   totals.bytes[kind], totals.buffers[kind]);
    }
  }
  for (const auto& process : registry_.processes()) {
    if (process->state == ClientProcess::State::kConnected || process->buffers().size() == 0) continue;
    spdlog::info("{} statistics: pid {} ({}) left {} buffers", when, process->identity().pid, process->identity().comm,
                 process->buffers().size());
  }
  for (uint32_t reason = 0; reason < MEMTALLY_LEGACY_REFUSALS; ++reason) {
    if (counters.refused.at(reason) == 0) continue;
    spdlog::info("{} statistics: refused {} times: {}", when, counters.refused.at(reason), RefusalText(reason));
  }
}

}  // namespace memtally::daemon
