// SPDX-License-Identifier: Apache-2.0
//
// Snapshot: who holds device memory on this machine, at one moment, as one value.
//
//   Snapshot ── Host
//            ├─ Device*   a device of the machine: what all processes say of it, together
//            │    └─ Memory*   one of its memories; MemoryKind*: what lies in it, by kind
//            ├─ Disagreement*  what two sources say differently
//            ├─ Process*  alive, then detached, then dead; its facts in the words of <memtally/ledger_reader.hpp>
//            └─ Problem*  what could not be looked at
//
// Immutable once taken, and safe to read from several threads.  Bytes and counts are exact unless the process says
// otherwise (totals_exact, buffers_exact, gaps).  Times are CLOCK_MONOTONIC nanoseconds.  Texts in facts are a foreign
// process's: whoever prints them makes them harmless.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "collect/host.hpp"
#include "collect/place.hpp"

namespace memtally::collect {

// Where a fact comes from; the more detailed first.
enum class Source : uint8_t {
  kLedger,   // the process's own ledger
  kKernel,   // the kernel module
  kLegacy,   // the original allocation-server protocol
  kPassive,  // what others publish: totals only
};

enum class Level : uint8_t {
  kTotals,      // sums, peaks, anomalies
  kProcess,     // and one process's buffers, tags, groups and events
  kEverything,  // and those of all processes
};

// Names a life of a process, on whatever machine: its random run id.
using ProcessKey = std::array<uint8_t, 16>;

// A process that has, or had when it died, something to do with device memory.
struct Process {
  LedgerView facts;
  Source source = Source::kLedger;       // of everything below that account_sources does not name
  std::vector<Source> account_sources;   // of facts.accounts, by place; shorter: `source`
  uint32_t pid = 0;                      // in the reader's namespace where that is known; otherwise its own
  std::optional<uint32_t> parent_pid;    // in the reader's namespace; of the living only
  std::string user;                      // name, or the number if it has none
  Place place;                           // container, pod, job, service
  bool has_buffers = false;              // buffers, tags, groups and events were asked for and read
  std::vector<uint32_t> machine_device;  // of facts.devices, by place: index into Snapshot::devices

  const ProcessKey& key() const { return facts.identity.run_id; }
  Source source_of(size_t account) const {
    return account < account_sources.size() ? account_sources[account] : source;
  }
};

// The range of addresses that buffers which may share addresses really take up, in each bank or core.
struct Extent {
  uint64_t lowest = 0;
  uint64_t end = 0;
  bool operator==(const Extent&) const = default;
};

// What lies in a memory, by kind.
struct MemoryKind {
  std::string name;
  bool overlaps = false;  // its buffers share addresses: no part of Memory::held
  bool nested = false;    // lies in other kinds' buffers: no part of Memory::held either
  Amount live;            // of the living
  Amount left;            // of dead and detached processes
  uint64_t failed_allocations = 0;
  std::optional<Extent> extent;  // of an overlapping kind, over all living processes, where it was read
};

// One memory of a device: a bar.
struct Memory {
  std::string name;
  // What a process has of it: all kinds in it that have a part of their own, together.  0 unknown.  Where processes
  // carve out different parts: the largest, of the living if there are any.
  uint64_t capacity_bytes = 0;
  bool capacity_differs = false;
  uint32_t banks = 0;  // of the process with that capacity
  uint64_t capacity_bytes_per_bank = 0;
  bool on_host = false;
  Amount held;  // live, of the living; without nested and overlapping kinds.  May be above the capacity
  Amount left;  // the same, of dead and detached processes: what the leak was, not what is missing now
  // The highest that is known to have been reached: by any one kind of a living process, or by all together while this
  // collector looked on.  At least held.
  uint64_t peak_reserved = 0;
  bool exact = true;
  std::vector<MemoryKind> kinds;  // by kind number
};

// A device of the machine.  Two processes' devices are one if they have the same known id; devices without an id are
// never merged.
struct Device {
  std::array<uint8_t, 16> id{};
  uint32_t id_scheme = 0;   // enum memtally_device_id_scheme
  int32_t local_index = 0;  // the lowest that a process gave it
  std::optional<uint32_t> pci_address;
  std::optional<uint32_t> parent;  // index into Snapshot::devices
  uint64_t physical_bytes = 0;     // of its main memory, 0 unknown
  std::string vendor, architecture;
  Source source = Source::kLedger;
  uint32_t processes = 0;        // living ones that have it open
  uint32_t gone_processes = 0;   // dead or detached ones that knew it
  std::vector<Memory> memories;  // by kind number
};

// Two sources that speak of the same bytes and do not say the same.  The first is the one that is shown and summed.
struct Disagreement {
  Source shown = Source::kLedger;
  Source other = Source::kPassive;
  uint32_t device = 0;                // index into Snapshot::devices
  std::optional<ProcessKey> process;  // none: the device's own sum
  std::string kind;
  uint64_t bytes_shown = 0;  // requested, both
  uint64_t bytes_other = 0;
};

// Something that could not be read: a ledger, or a place where ledgers are (path "").
struct Problem {
  std::string path;
  LedgerError error;
};

struct Snapshot {
  Level level = Level::kTotals;
  Host host;
  uint64_t time_ns = 0;            // when it was begun
  std::vector<Device> devices;     // by local index, then id
  std::vector<Process> processes;  // alive, detached, dead; by pid within
  std::vector<Disagreement> disagreements;
  std::vector<Problem> problems;
  std::optional<CleanUpResult> clean_up;  // where it was asked for
};

// ---- names, as screens and JSON have them ----

const char* SourceName(Source source);      // "ledger", "kernel", "legacy", "passive"
const char* LevelName(Level level);         // "totals", "process", "everything"
const char* StateName(Liveness liveness);   // "alive", "detached", "dead"
const char* AnomalyName(uint32_t anomaly);  // enum memtally_anomaly: "unknown_free", ...
// enum memtally_operation: "alloc", "free", ...; "operation 9" for one that this version does not know.
std::string OperationName(uint32_t operation);
std::string KindName(const LedgerView& facts, uint32_t kind);  // a number if the process never named it

// ---- questions that several views ask ----

// Null if there is none.
const Process* FindProcess(const Snapshot& snapshot, const ProcessKey& key);
const LedgerAccount* AccountAt(const LedgerView& facts, uint32_t index);
// Of the group, "" if it has none.
std::string GroupName(const LedgerView& facts, uint64_t group);
// Live buffers of all accounts, imported ones left out.
uint64_t LiveBuffers(const LedgerView& facts);
// Live bytes in device memory, without kinds that nest or overlap or lie on the host.
Amount HeldOnDevices(const LedgerView& facts);
bool WasUsed(const LedgerAccount& account);
// How long ago; nothing if it was on another machine or before its last boot.
std::optional<uint64_t> AgeNs(const Snapshot& snapshot, const LedgerView& facts, uint64_t time_ns);

struct NamedCount {
  const char* name;
  uint64_t count;
};
// What was not recorded, by the names of LedgerCounters; zeros included.
std::vector<NamedCount> Losses(const LedgerCounters& counters);
// A dead process that left something which nobody should overlook: live buffers, losses, gaps, anomalies (but frees
// after a close, which many programs do at their end).
bool IsEvidence(const LedgerView& facts);

}  // namespace memtally::collect
