// SPDX-License-Identifier: Apache-2.0
#include "tools/ledger_json.hpp"

#include <string>

#include <memtally/abi/ledger_format.h>

#include "tools/trace.hpp"

namespace memtally::tools {
namespace {

constexpr uint64_t kSchemaVersion = 1;

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

void WriteStrings(std::string_view key, const std::vector<std::string>& texts, JsonWriter* json) {
  json->Key(key);
  json->BeginArray();
  for (const std::string& text : texts) json->String(text);
  json->EndArray();
}

void WriteAmount(std::string_view key, const Amount& amount, JsonWriter* json) {
  json->Key(key);
  json->BeginObject();
  json->Field("count", amount.count);
  json->Field("bytes_requested", amount.bytes_requested);
  json->Field("bytes_reserved", amount.bytes_reserved);
  json->EndObject();
}

void WriteDevice(const LedgerDevice& device, JsonWriter* json) {
  constexpr const char* kSchemes[] = {"none", "chip", "uuid"};
  json->BeginObject();
  json->Field("index", device.index);
  json->Key("local_index");
  json->SignedNumber(device.local_index);
  json->Field("id_scheme", device.id_scheme < 3 ? kSchemes[device.id_scheme] : "unknown");
  json->Field("id", HexText(device.id));
  json->Field("vendor", device.vendor);
  json->Field("architecture", device.architecture);
  json->Key("pci_address");
  device.pci_address ? json->Number(*device.pci_address) : json->Null();
  json->Key("parent");
  device.parent ? json->Number(*device.parent) : json->Null();
  json->Field("physical_bytes", device.physical_bytes);
  json->Key("closed_at_ns");
  device.closed_at_ns ? json->Number(*device.closed_at_ns) : json->Null();
  json->Field("closes", device.closes);
  json->EndObject();
}

void WriteAccount(const LedgerView& ledger, const LedgerAccount& account, JsonWriter* json) {
  const LedgerKind* kind = ledger.kind(account.kind);
  json->BeginObject();
  json->Field("device", account.device);
  json->Field("kind", KindName(ledger, account.kind));
  json->Field("memory", KindName(ledger, kind ? kind->memory : account.kind));
  json->Key("inside");
  kind && kind->inside ? json->String(KindName(ledger, *kind->inside)) : json->Null();
  json->Flag("overlaps", kind && kind->overlaps);
  json->Flag("on_host", kind && kind->on_host);
  json->Field("banks", account.banks);
  json->Field("capacity_bytes", account.capacity_bytes);
  json->Field("capacity_bytes_per_bank", account.capacity_bytes_per_bank);
  WriteAmount("live", account.live, json);
  WriteAmount("allocated", account.allocated, json);
  WriteAmount("freed", account.freed, json);
  WriteAmount("released", account.released, json);
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

void WriteIdentity(const LedgerView& ledger, JsonWriter* json) {
  const Identity& identity = ledger.identity;
  json->Field("pid", ShownPid(ledger));
  json->Field("namespace_pid", identity.pid);
  json->Field("parent_pid", identity.parent_pid);
  json->Field("uid", identity.uid);
  json->Field("gid", identity.gid);
  json->Field("user", UserName(identity.uid));
  json->Field("command", identity.comm);
  json->Field("executable", identity.executable);
  json->Field("host_name", identity.host_name);
  json->Field("machine_id", HexText(identity.machine_id));
  json->Field("boot_id", HexText(identity.boot_id));
  json->Field("run_id", HexText(identity.run_id));
  json->Field("process_start_ticks", identity.process_start_ticks);
  json->Field("created_realtime_ns", identity.created_realtime_ns);
  json->Field("tracker_version", identity.tracker_version);
  json->Field("cgroup", identity.cgroup);
  json->Field("container", identity.container);
  json->Field("pod", identity.pod);
  json->Field("job", identity.job);
}

}  // namespace

void WriteHead(std::string_view schema, const LedgerSurvey& survey, JsonWriter* json) {
  json->Field("schema", schema);
  json->Field("schema_version", kSchemaVersion);
  json->Key("host");
  json->BeginObject();
  json->Field("name", survey.host.name);
  json->Field("machine_id", HexText(survey.host.machine_id));
  json->Field("boot_id", HexText(survey.host.boot_id));
  json->EndObject();
  json->Field("time_ns", survey.time_ns);
}

void WriteProblems(const LedgerSurvey& survey, JsonWriter* json) {
  json->Key("problems");
  json->BeginArray();
  for (const SurveyProblem& problem : survey.problems) {
    json->BeginObject();
    json->Field("path", problem.path);
    json->Field("code", CodeName(problem.error.code));
    json->Field("what", problem.error.what);
    json->Field("hint", problem.error.hint);
    json->EndObject();
  }
  json->EndArray();
  json->Key("clean_up");
  if (!survey.clean_up) return json->Null();
  json->BeginObject();
  json->Field("removed_files", survey.clean_up->removed_files);
  json->Field("freed_bytes", survey.clean_up->freed_bytes);
  WriteStrings("problems", survey.clean_up->problems, json);
  json->EndObject();
}

void WriteProcess(const LedgerView& ledger, bool with_accounts, JsonWriter* json) {
  json->BeginObject();
  WriteIdentity(ledger, json);
  json->Field("state", StateName(ledger.liveness));
  json->Field("ledger", ledger.path);
  json->Field("ledger_file_bytes", ledger.file_bytes);
  json->Field("start_time_ns", ledger.start_time_ns);
  json->Key("end_time_ns");
  ledger.end_time_ns ? json->Number(*ledger.end_time_ns) : json->Null();
  json->Flag("exited_normally", ledger.exited_normally);
  json->Flag("interrupted", ledger.interrupted);
  json->Flag("totals_exact", ledger.totals_exact);
  WriteStrings("gaps", ledger.gaps, json);
  json->Key("devices");
  json->BeginArray();
  for (const LedgerDevice& device : ledger.devices) WriteDevice(device, json);
  json->EndArray();
  if (with_accounts) {
    json->Key("accounts");
    json->BeginArray();
    for (const LedgerAccount& account : ledger.accounts) WriteAccount(ledger, account, json);
    json->EndArray();
  }
  json->Key("anomalies");
  json->BeginObject();
  for (uint32_t i = 0; i < ledger.anomalies.size(); ++i) {
    json->Key(AnomalyName(i));
    json->BeginObject();
    json->Field("count", ledger.anomalies[i].count);
    json->Field("bytes_requested", ledger.anomalies[i].bytes_requested);
    json->EndObject();
  }
  json->EndObject();
  json->Key("losses");
  json->BeginObject();
  for (const NamedCount& loss : Losses(ledger.counters)) json->Field(loss.name, loss.count);
  json->EndObject();
  json->Field("events", ledger.counters.events);
  json->Field("recorder_wait_ns", ledger.counters.recorder_wait_ns);
  json->EndObject();
}

}  // namespace memtally::tools
