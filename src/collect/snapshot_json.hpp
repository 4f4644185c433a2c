// SPDX-License-Identifier: Apache-2.0
//
// The Snapshot as JSON: the document memtally.snapshot, and the parts of it that other documents have, too.
// docs/formats/json.md is the contract, docs/formats/*.schema.json its schemas.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "collect/json_writer.hpp"
#include "collect/snapshot.hpp"

namespace memtally::collect {

// The version of every document that begins with WriteHead.
inline constexpr uint64_t kJsonSchemaVersion = 1;

// The whole document memtally.snapshot: buffers, tags, groups and events of the processes where they were read.
void WriteSnapshot(const Snapshot& snapshot, JsonWriter* json);
// The same with these of its processes only, in this order.  `devices` is the whole machine's.
void WriteSnapshot(const Snapshot& snapshot, const std::vector<const Process*>& processes, JsonWriter* json);

// ---- parts.  REQUIRES: in an object, where they write keys; in an array or after a key, where they write a value ----

// "schema", "schema_version", "host", "time_ns": the beginning of every document.
void WriteHead(std::string_view schema, const Snapshot& snapshot, JsonWriter* json);

// "problems" and "clean_up".
void WriteProblems(const Snapshot& snapshot, JsonWriter* json);

// "disagreements": what two sources say differently.
void WriteDisagreements(const Snapshot& snapshot, JsonWriter* json);

// A value: a device of the machine, by its index in Snapshot::devices.
void WriteDevice(const Snapshot& snapshot, uint32_t index, JsonWriter* json);

// What of a process a document has.
struct ProcessParts {
  bool accounts = true;
  bool contents = true;  // buffers, tags, groups and events, if the process has them
};

// A value: a process.
void WriteProcess(const Process& process, ProcessParts parts, JsonWriter* json);

// Keys that name a process where it is not written out: "pid", "run_id", "command", "user", "state".
void WriteProcessName(const Process& process, JsonWriter* json);

// A value: an object with "count", "bytes_requested" and "bytes_reserved".
void WriteAmount(const Amount& amount, JsonWriter* json);

// The keys of an event: what happened to which buffer, where and when.  `tag_path` of the event's tag.
void WriteEventFields(const LedgerView& facts, const LedgerEvent& event, std::string_view tag_path, JsonWriter* json);

// Bytes that the buffer's memory lost: bytes a bank x banks of its account.
uint64_t ReservedBytes(const LedgerAccount* account, uint64_t bytes_per_bank);

// CLOCK_REALTIME of a moment in the process's life.
uint64_t RealtimeNs(const LedgerView& facts, uint64_t time_ns);

}  // namespace memtally::collect
