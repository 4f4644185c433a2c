// SPDX-License-Identifier: Apache-2.0
#include "collect/snapshot_json.hpp"

#include <limits>

namespace memtally::collect {
namespace {

const char* CodeName(LedgerError::Code code) {
  switch (code) {
    case LedgerError::Code::kNone:
      return "none";
    case LedgerError::Code::kNotFound:
      return "not_found";
    case LedgerError::Code::kNoPermission:
      return "no_permission";
    case LedgerError::Code::kNotALedger:
      return "not_a_ledger";
    case LedgerError::Code::kBeingMade:
      return "being_made";
    case LedgerError::Code::kNewerVersion:
      return "newer_version";
    case LedgerError::Code::kForged:
      return "forged";
    case LedgerError::Code::kCorrupt:
      return "corrupt";
    case LedgerError::Code::kIo:
      break;
  }
  return "io";
}

const char* SchemeName(uint32_t scheme) {
  constexpr const char* kSchemes[] = {"none", "chip", "uuid"};
  return scheme < 3 ? kSchemes[scheme] : "unknown";
}

void WriteStrings(std::string_view key, const std::vector<std::string>& texts, JsonWriter* json) {
  json->Key(key);
  json->BeginArray();
  for (const std::string& text : texts) json->String(text);
  json->EndArray();
}

void WriteAmountField(std::string_view key, const Amount& amount, JsonWriter* json) {
  json->Key(key);
  WriteAmount(amount, json);
}

// ---- devices of the machine ----

void WriteMemoryKind(const MemoryKind& kind, JsonWriter* json) {
  json->BeginObject();
  json->Field("name", kind.name);
  json->Flag("overlaps", kind.overlaps);
  json->Flag("nested", kind.nested);
  WriteAmountField("live", kind.live, json);
  WriteAmountField("left", kind.left, json);
  json->Field("failed_allocations", kind.failed_allocations);
  json->Key("extent");
  if (kind.extent) {
    json->BeginObject();
    json->Field("lowest", kind.extent->lowest);
    json->Field("end", kind.extent->end);
    json->EndObject();
  } else {
    json->Null();
  }
  json->EndObject();
}

void WriteMemory(const Memory& memory, JsonWriter* json) {
  json->BeginObject();
  json->Field("name", memory.name);
  json->Field("capacity_bytes", memory.capacity_bytes);
  json->Flag("capacity_differs", memory.capacity_differs);
  json->Field("capacity_bytes_per_bank", memory.capacity_bytes_per_bank);
  json->Field("banks", memory.banks);
  json->Flag("on_host", memory.on_host);
  WriteAmountField("held", memory.held, json);
  WriteAmountField("left", memory.left, json);
  json->Field("peak_bytes_reserved", memory.peak_reserved);
  json->Flag("exact", memory.exact);
  json->Key("kinds");
  json->BeginArray();
  for (const MemoryKind& kind : memory.kinds) WriteMemoryKind(kind, json);
  json->EndArray();
  json->EndObject();
}

// ---- processes ----

void WriteIdentity(const Process& process, JsonWriter* json) {
  const Identity& identity = process.facts.identity;
  json->Field("pid", process.pid);
  json->Field("namespace_pid", identity.pid);
  json->OptionalField("parent_pid", process.parent_pid);
  json->Field("namespace_parent_pid", identity.parent_pid);
  json->Field("uid", identity.uid);
  json->Field("gid", identity.gid);
  json->Field("user", process.user);
  json->Field("command", identity.comm);
  json->Field("executable", identity.executable);
  json->Field("host_name", identity.host_name);
  json->Field("machine_id", HexText(identity.machine_id));
  json->Field("boot_id", HexText(identity.boot_id));
  json->Field("run_id", HexText(identity.run_id));
  json->Field("launch_id", HexText(identity.launch_id));
  json->Field("process_start_ticks", identity.process_start_ticks);
  json->Field("created_realtime_ns", identity.created_realtime_ns);
  json->Field("tracker_version", identity.tracker_version);
  json->Key("place");
  json->BeginObject();
  json->Field("cgroup", process.place.cgroup);
  json->Field("runtime", process.place.runtime);
  json->Field("container", process.place.container);
  json->Field("pod", process.place.pod);
  json->Field("job", process.place.job);
  json->Field("service", process.place.service);
  json->EndObject();
}

void WriteProcessDevice(const Process& process, size_t place, JsonWriter* json) {
  const LedgerDevice& device = process.facts.devices[place];
  json->BeginObject();
  json->Field("index", device.index);
  json->Key("machine_device");
  place < process.machine_device.size() ? json->Number(process.machine_device[place]) : json->Null();
  json->SignedField("local_index", device.local_index);
  json->Field("id_scheme", SchemeName(device.id_scheme));
  json->Field("id", HexText(device.id));
  json->Field("vendor", device.vendor);
  json->Field("architecture", device.architecture);
  json->OptionalField("pci_address", device.pci_address);
  json->OptionalField("parent", device.parent);
  json->Field("physical_bytes", device.physical_bytes);
  json->OptionalField("closed_at_ns", device.closed_at_ns);
  json->Field("closes", device.closes);
  json->EndObject();
}

void WriteAccount(const Process& process, size_t place, JsonWriter* json) {
  const LedgerView& facts = process.facts;
  const LedgerAccount& account = facts.accounts[place];
  const LedgerKind* kind = facts.kind(account.kind);
  json->BeginObject();
  json->Field("index", account.index);
  json->Field("source", SourceName(process.source_of(place)));
  json->Field("device", account.device);
  json->Field("kind", KindName(facts, account.kind));
  json->Field("memory", KindName(facts, kind != nullptr ? kind->memory : account.kind));
  json->Key("inside");
  kind != nullptr && kind->inside ? json->String(KindName(facts, *kind->inside)) : json->Null();
  json->Flag("overlaps", kind != nullptr && kind->overlaps);
  json->Flag("on_host", kind != nullptr && kind->on_host);
  json->Field("banks", account.banks);
  json->Field("capacity_bytes", account.capacity_bytes);
  json->Field("capacity_bytes_per_bank", account.capacity_bytes_per_bank);
  WriteAmountField("live", account.live, json);
  WriteAmountField("allocated", account.allocated, json);
  WriteAmountField("freed", account.freed, json);
  WriteAmountField("released", account.released, json);
  json->Field("peak_bytes_requested", account.peak_requested);
  json->Field("peak_bytes_requested_slack", account.peak_requested_slack);
  json->Field("peak_bytes_reserved", account.peak_reserved);
  json->Field("peak_bytes_reserved_slack", account.peak_reserved_slack);
  json->Field("failed_allocations", account.failed_allocations);
  json->Field("failed_bytes_requested", account.failed_requested);
  json->Field("imported_count", account.imported);
  json->Field("imported_bytes_requested", account.imported_requested);
  json->EndObject();
}

// A value: an event, with its tag by name where the tags were read.
void WriteEvent(const LedgerView& facts, const LedgerEvent& event, JsonWriter* json) {
  json->BeginObject();
  WriteEventFields(facts, event, facts.tag_path(event.tag), json);
  json->EndObject();
}

void WriteAnomalies(const LedgerView& facts, JsonWriter* json) {
  json->Key("anomalies");
  json->BeginObject();
  for (uint32_t i = 0; i < facts.anomalies.size(); ++i) {
    const LedgerAnomaly& anomaly = facts.anomalies[i];
    json->Key(AnomalyName(i));
    json->BeginObject();
    json->Field("count", anomaly.count);
    json->Field("bytes_requested", anomaly.bytes_requested);
    json->Key("last");
    json->BeginArray();
    for (const LedgerEvent& event : anomaly.last) WriteEvent(facts, event, json);
    json->EndArray();
    json->EndObject();
  }
  json->EndObject();
}

void WriteBuffer(const LedgerView& facts, const LedgerBuffer& buffer, JsonWriter* json) {
  json->BeginObject();
  json->Field("account", buffer.account);
  json->Field("id", buffer.id);
  json->Field("address", buffer.address);
  json->Field("bytes_requested", buffer.bytes_requested);
  json->Field("bytes_reserved", ReservedBytes(AccountAt(facts, buffer.account), buffer.bytes_per_bank));
  json->Field("bytes_per_bank", buffer.bytes_per_bank);
  json->Field("time_ns", buffer.time_ns);
  json->Field("thread_id", buffer.thread_id);
  json->Field("tag_index", buffer.tag);
  json->Field("group", buffer.group);
  json->Field("stack", buffer.stack);
  json->Flag("imported", buffer.imported);
  json->Flag("released", buffer.released);
  json->EndObject();
}

void WriteContents(const LedgerView& facts, JsonWriter* json) {
  json->Flag("buffers_exact", facts.buffers_exact);
  json->Key("buffers");
  json->BeginArray();
  for (const LedgerBuffer& buffer : facts.buffers) WriteBuffer(facts, buffer, json);
  json->EndArray();
  json->Key("tags");
  json->BeginArray();
  for (const LedgerTag& tag : facts.tags) {
    json->BeginObject();
    json->Field("parent", tag.parent);
    json->Field("name", tag.name);
    json->Flag("cut", tag.cut);
    json->EndObject();
  }
  json->EndArray();
  json->Key("groups");
  json->BeginArray();
  for (const LedgerGroup& group : facts.groups) {
    json->BeginObject();
    json->Field("id", group.id);
    json->Field("name", group.name);
    json->EndObject();
  }
  json->EndArray();
  json->Key("events");
  json->BeginArray();
  for (const LedgerEvent& event : facts.events) WriteEvent(facts, event, json);
  json->EndArray();
}

}  // namespace

uint64_t ReservedBytes(const LedgerAccount* account, uint64_t bytes_per_bank) {
  uint64_t bytes = 0;
  const uint64_t banks = account != nullptr ? account->banks : 1;
  return __builtin_mul_overflow(bytes_per_bank, banks, &bytes) ? std::numeric_limits<uint64_t>::max() : bytes;
}

uint64_t RealtimeNs(const LedgerView& facts, uint64_t time_ns) {
  return facts.identity.created_realtime_ns + (time_ns - facts.start_time_ns);
}

void WriteProcessName(const Process& process, JsonWriter* json) {
  json->Field("pid", process.pid);
  json->Field("run_id", HexText(process.key()));
  json->Field("command", process.facts.identity.comm);
  json->Field("user", process.user);
  json->Field("state", StateName(process.facts.liveness));
}

void WriteAmount(const Amount& amount, JsonWriter* json) {
  json->BeginObject();
  json->Field("count", amount.count);
  json->Field("bytes_requested", amount.bytes_requested);
  json->Field("bytes_reserved", amount.bytes_reserved);
  json->EndObject();
}

void WriteEventFields(const LedgerView& facts, const LedgerEvent& event, std::string_view tag_path, JsonWriter* json) {
  const LedgerAccount* account = event.account ? AccountAt(facts, *event.account) : nullptr;
  json->Field("operation", OperationName(event.operation));
  json->Field("time_ns", event.time_ns);
  json->Field("realtime_ns", RealtimeNs(facts, event.time_ns));
  json->Field("lane", event.lane);
  json->Field("number", event.number);
  json->Key("device");
  account != nullptr ? json->Number(account->device) : json->Null();
  json->Key("kind");
  account != nullptr ? json->String(KindName(facts, account->kind)) : json->Null();
  json->Field("id", event.id);
  json->Field("address", event.address);
  json->Field("bytes_requested", event.bytes_requested);
  json->Field("bytes_reserved", ReservedBytes(account, event.bytes_per_bank));
  json->Field("bytes_per_bank", event.bytes_per_bank);
  json->Field("thread_id", event.thread_id);
  json->Field("tag_index", event.tag);
  json->Field("tag", tag_path);
  json->Field("group_low", event.group_low);
}

void WriteHead(std::string_view schema, const Snapshot& snapshot, JsonWriter* json) {
  json->Field("schema", schema);
  json->Field("schema_version", kJsonSchemaVersion);
  json->Key("host");
  json->BeginObject();
  json->Field("name", snapshot.host.name);
  json->Field("machine_id", HexText(snapshot.host.machine_id));
  json->Field("boot_id", HexText(snapshot.host.boot_id));
  json->EndObject();
  json->Field("time_ns", snapshot.time_ns);
}

void WriteProblems(const Snapshot& snapshot, JsonWriter* json) {
  json->Key("problems");
  json->BeginArray();
  for (const Problem& problem : snapshot.problems) {
    json->BeginObject();
    json->Field("path", problem.path);
    json->Field("code", CodeName(problem.error.code));
    json->Field("what", problem.error.what);
    json->Field("hint", problem.error.hint);
    json->EndObject();
  }
  json->EndArray();
  json->Key("clean_up");
  if (!snapshot.clean_up) return json->Null();
  json->BeginObject();
  json->Field("removed_files", snapshot.clean_up->removed_files);
  json->Field("freed_bytes", snapshot.clean_up->freed_bytes);
  WriteStrings("problems", snapshot.clean_up->problems, json);
  json->EndObject();
}

void WriteDevice(const Snapshot& snapshot, uint32_t index, JsonWriter* json) {
  const Device& device = snapshot.devices[index];
  json->BeginObject();
  json->Field("index", index);
  json->SignedField("local_index", device.local_index);
  json->Field("id_scheme", SchemeName(device.id_scheme));
  json->Field("id", HexText(device.id));
  json->Field("vendor", device.vendor);
  json->Field("architecture", device.architecture);
  json->OptionalField("pci_address", device.pci_address);
  json->OptionalField("parent", device.parent);
  json->Field("physical_bytes", device.physical_bytes);
  json->Field("source", SourceName(device.source));
  json->Field("processes", device.processes);
  json->Field("gone_processes", device.gone_processes);
  json->Key("memories");
  json->BeginArray();
  for (const Memory& memory : device.memories) WriteMemory(memory, json);
  json->EndArray();
  json->EndObject();
}

void WriteProcess(const Process& process, ProcessParts parts, JsonWriter* json) {
  const LedgerView& facts = process.facts;
  json->BeginObject();
  WriteIdentity(process, json);
  json->Field("state", StateName(facts.liveness));
  json->Field("source", SourceName(process.source));
  json->Field("ledger", facts.path);
  json->Field("ledger_file_bytes", facts.file_bytes);
  json->Field("start_time_ns", facts.start_time_ns);
  json->OptionalField("end_time_ns", facts.end_time_ns);
  json->Flag("exited_normally", facts.exited_normally);
  json->Flag("interrupted", facts.interrupted);
  json->Flag("totals_exact", facts.totals_exact);
  WriteStrings("gaps", facts.gaps, json);
  json->Key("held_on_devices");
  WriteAmount(HeldOnDevices(facts), json);
  json->Key("devices");
  json->BeginArray();
  for (size_t i = 0; i < facts.devices.size(); ++i) WriteProcessDevice(process, i, json);
  json->EndArray();
  if (parts.accounts) {
    json->Key("accounts");
    json->BeginArray();
    for (size_t i = 0; i < facts.accounts.size(); ++i) WriteAccount(process, i, json);
    json->EndArray();
  }
  WriteAnomalies(facts, json);
  json->Key("losses");
  json->BeginObject();
  for (const NamedCount& loss : Losses(facts.counters)) json->Field(loss.name, loss.count);
  json->EndObject();
  json->Field("event_count", facts.counters.events);
  json->Field("recorder_wait_ns", facts.counters.recorder_wait_ns);
  if (parts.contents && process.has_buffers) WriteContents(facts, json);
  json->EndObject();
}

void WriteDisagreements(const Snapshot& snapshot, JsonWriter* json) {
  json->Key("disagreements");
  json->BeginArray();
  for (const Disagreement& one : snapshot.disagreements) {
    json->BeginObject();
    json->Field("shown", SourceName(one.shown));
    json->Field("other", SourceName(one.other));
    json->Field("device", one.device);
    json->Key("run_id");
    one.process ? json->String(HexText(*one.process)) : json->Null();
    json->Field("kind", one.kind);
    json->Field("bytes_requested_shown", one.bytes_shown);
    json->Field("bytes_requested_other", one.bytes_other);
    json->EndObject();
  }
  json->EndArray();
}

void WriteSnapshot(const Snapshot& snapshot, JsonWriter* json) {
  std::vector<const Process*> processes;
  for (const Process& process : snapshot.processes) processes.push_back(&process);
  WriteSnapshot(snapshot, processes, json);
}

void WriteSnapshot(const Snapshot& snapshot, const std::vector<const Process*>& processes, JsonWriter* json) {
  json->BeginObject();
  WriteHead("memtally.snapshot", snapshot, json);
  json->Field("level", LevelName(snapshot.level));
  json->Key("devices");
  json->BeginArray();
  for (uint32_t i = 0; i < snapshot.devices.size(); ++i) WriteDevice(snapshot, i, json);
  json->EndArray();
  json->Key("processes");
  json->BeginArray();
  for (const Process* process : processes) WriteProcess(*process, {}, json);
  json->EndArray();
  WriteDisagreements(snapshot, json);
  WriteProblems(snapshot, json);
  json->EndObject();
}

}  // namespace memtally::collect
