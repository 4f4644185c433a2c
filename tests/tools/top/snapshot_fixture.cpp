// SPDX-License-Identifier: Apache-2.0
#include "snapshot_fixture.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <memtally/abi/ledger_format.h>

#include "collect/device_table.hpp"

namespace memtally::tools::top {
namespace {

using collect::Process;
using collect::Snapshot;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;

std::array<uint8_t, 16> IdOf(uint32_t number) {
  std::array<uint8_t, 16> id{};
  for (size_t i = 0; i < 4; ++i) id[i] = static_cast<uint8_t>(number >> (8 * i));
  id[15] = 1;
  return id;
}

void AddAnomaly(Process* process, uint32_t anomaly, uint64_t count, uint64_t bytes) {
  LedgerAnomaly& of_sort = process->facts.anomalies[anomaly];
  of_sort.count += count;
  of_sort.bytes_requested += bytes;
  LedgerEvent event;
  event.operation = anomaly == MEMTALLY_ANOMALY_FAILED_ALLOC ? MEMTALLY_OP_ALLOC_FAILED : MEMTALLY_OP_UNKNOWN_FREE;
  event.number = count;
  event.id = 4711;
  event.address = 0x1f000;
  event.bytes_requested = bytes;
  event.bytes_per_bank = bytes / 12;
  event.time_ns = 95 * kSecondNs;
  event.account = 0;
  event.thread_id = 812;
  event.tag = process->facts.tags.size() > 2 ? 2 : 0;
  of_sort.last.push_back(event);
}

void AddEvent(Process* process, uint32_t operation, uint64_t id, uint64_t bytes, uint64_t time_ns) {
  LedgerEvent event;
  event.operation = operation;
  event.number = process->facts.events.size() + 1;
  event.id = id;
  event.address = 0x10000 + id * 0x1000;
  event.bytes_requested = bytes;
  event.bytes_per_bank = bytes / 12;
  event.time_ns = time_ns;
  event.account = 0;
  event.thread_id = 812;
  event.tag = 2;
  process->facts.events.push_back(event);
}

}  // namespace

Process MakeProcess(uint32_t number, const std::string& command, int32_t device) {
  Process process;
  LedgerView& facts = process.facts;
  facts.path = "/dev/shm/memtally-0-" + std::to_string(number) + ".ledger";
  facts.liveness = Liveness::kAlive;
  facts.visible_pid = number;
  facts.start_time_ns = 10 * kSecondNs;
  facts.identity.run_id = IdOf(number);
  facts.identity.pid = number;
  facts.identity.comm = command;
  facts.identity.executable = "/usr/bin/" + command;
  process.pid = number;
  process.user = "ada";
  LedgerDevice known;
  known.id = IdOf(1000 + static_cast<uint32_t>(device));
  known.id_scheme = MEMTALLY_ID_CHIP;
  known.local_index = device;
  known.physical_bytes = 12 * kGiB;
  known.vendor = "tenstorrent";
  known.architecture = "wormhole_b0";
  facts.devices = {known};
  const auto add_kind = [&](uint32_t kind, uint32_t memory, const char* name) {
    LedgerKind one;
    one.number = kind;
    one.memory = memory;
    one.overlaps = kind == MEMTALLY_KIND_CB;
    one.name = name;
    facts.kinds.push_back(one);
  };
  add_kind(MEMTALLY_KIND_DRAM, MEMTALLY_KIND_DRAM, "dram");
  add_kind(MEMTALLY_KIND_L1, MEMTALLY_KIND_L1, "l1");
  add_kind(MEMTALLY_KIND_L1_SMALL, MEMTALLY_KIND_L1, "l1_small");
  add_kind(MEMTALLY_KIND_TRACE, MEMTALLY_KIND_DRAM, "trace");
  add_kind(MEMTALLY_KIND_CB, MEMTALLY_KIND_L1, "cb");
  const auto add_account = [&](uint32_t kind, uint32_t banks, uint64_t capacity) {
    LedgerAccount one;
    one.index = static_cast<uint32_t>(facts.accounts.size());
    one.kind = kind;
    one.banks = banks;
    one.capacity_bytes = capacity;
    one.capacity_bytes_per_bank = capacity / banks;
    facts.accounts.push_back(one);
  };
  add_account(MEMTALLY_KIND_DRAM, 12, 12 * kGiB);
  add_account(MEMTALLY_KIND_L1, 64, 64 * kMiB);
  add_account(MEMTALLY_KIND_L1_SMALL, 64, 0);
  add_account(MEMTALLY_KIND_TRACE, 12, 0);
  add_account(MEMTALLY_KIND_CB, 64, 0);
  facts.tags.resize(2);
  facts.tags[1].name = "(other)";
  return process;
}

LedgerAccount& AccountOf(Process* process, uint32_t kind) {
  std::vector<LedgerAccount>& accounts = process->facts.accounts;
  return *std::find_if(accounts.begin(), accounts.end(), [&](const LedgerAccount& one) { return one.kind == kind; });
}

void AddBuffer(Process* process, uint32_t kind, uint64_t bytes, uint32_t tag, uint64_t time_ns) {
  LedgerAccount& account = AccountOf(process, kind);
  LedgerBuffer buffer;
  buffer.id = process->facts.buffers.size() + 1;
  buffer.address = 0x20000 + buffer.id * 0x1000;
  buffer.bytes_requested = bytes;
  buffer.bytes_per_bank = (bytes + account.banks - 1) / account.banks;
  buffer.time_ns = time_ns;
  buffer.account = account.index;
  buffer.thread_id = 812;
  buffer.tag = tag;
  process->facts.buffers.push_back(buffer);
  const uint64_t reserved = buffer.bytes_per_bank * account.banks;
  for (Amount* amount : {&account.live, &account.allocated}) {
    ++amount->count;
    amount->bytes_requested += bytes;
    amount->bytes_reserved += reserved;
  }
  account.peak_requested = std::max(account.peak_requested, account.live.bytes_requested);
  account.peak_reserved = std::max(account.peak_reserved, account.live.bytes_reserved);
}

uint32_t AddTag(Process* process, const std::string& name, uint32_t parent) {
  process->facts.tags.push_back({parent, name, false});
  return static_cast<uint32_t>(process->facts.tags.size() - 1);
}

std::shared_ptr<Snapshot> MakeSnapshot(std::vector<Process> processes) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->host.name = "tower";
  snapshot->time_ns = 100 * kSecondNs;
  snapshot->processes = std::move(processes);
  std::sort(snapshot->processes.begin(), snapshot->processes.end(), [](const Process& a, const Process& b) {
    return std::tie(a.facts.liveness, a.pid) < std::tie(b.facts.liveness, b.pid);
  });
  collect::PeakMemory peaks;
  collect::BuildDevices(snapshot.get(), &peaks);
  for (const Process& process : snapshot->processes) {
    if (process.facts.liveness != Liveness::kAlive) continue;
    for (const LedgerAccount& account : process.facts.accounts) {
      if (account.kind != MEMTALLY_KIND_CB || account.live.count == 0) continue;
      const auto extent = collect::ExtentOf(process.facts, account.index);
      if (extent) collect::AddExtent(snapshot.get(), process, account, *extent);
    }
  }
  return snapshot;
}

std::shared_ptr<Snapshot> BusyMachine() {
  std::vector<Process> processes;
  Process serve = MakeProcess(4100, "serve", 0);
  AddBuffer(&serve, MEMTALLY_KIND_DRAM, 5 * kGiB);
  AddBuffer(&serve, MEMTALLY_KIND_TRACE, 600 * kMiB);
  AddBuffer(&serve, MEMTALLY_KIND_L1, 12 * kMiB);
  AddBuffer(&serve, MEMTALLY_KIND_L1_SMALL, 300 * kKiB);
  AddBuffer(&serve, MEMTALLY_KIND_CB, 8 * kMiB);
  serve.place.runtime = "docker";
  serve.place.container = "5e2b1c0d9f8a7b6c5e2b1c0d9f8a7b6c5e2b1c0d9f8a7b6c5e2b1c0d9f8a7b6c";
  processes.push_back(serve);

  Process worker = MakeProcess(4101, "worker", 0);
  worker.parent_pid = 4100;
  AddBuffer(&worker, MEMTALLY_KIND_DRAM, 4 * kGiB);
  AccountOf(&worker, MEMTALLY_KIND_DRAM).peak_reserved = 5 * kGiB;
  processes.push_back(worker);

  Process second = MakeProcess(4102, "worker", 1);
  second.parent_pid = 4100;
  AddBuffer(&second, MEMTALLY_KIND_DRAM, 11 * kGiB);
  AddBuffer(&second, MEMTALLY_KIND_L1, 1 * kMiB);
  AccountOf(&second, MEMTALLY_KIND_DRAM).failed_allocations = 3;
  AddAnomaly(&second, MEMTALLY_ANOMALY_FAILED_ALLOC, 3, 2 * kGiB);
  AddAnomaly(&second, MEMTALLY_ANOMALY_UNKNOWN_FREE, 2, 0);
  second.facts.totals_exact = false;
  second.place.job = "slurm:123";
  second.user = "grace";
  processes.push_back(second);

  Process shell = MakeProcess(4200, "shell", 1);
  shell.facts.liveness = Liveness::kDetached;
  AddBuffer(&shell, MEMTALLY_KIND_DRAM, 256 * kMiB);
  processes.push_back(shell);

  Process leaker = MakeProcess(3900, "leaker", 1);
  leaker.facts.liveness = Liveness::kDead;
  leaker.facts.visible_pid = 0;
  AddBuffer(&leaker, MEMTALLY_KIND_DRAM, 3 * kGiB);
  processes.push_back(leaker);

  Process tidy = MakeProcess(3901, "tidy", 1);
  tidy.facts.liveness = Liveness::kDead;
  tidy.facts.visible_pid = 0;
  processes.push_back(tidy);
  return MakeSnapshot(std::move(processes));
}

std::shared_ptr<Snapshot> OneProcess() {
  Process process = MakeProcess(5000, "llama", 0);
  process.has_buffers = true;
  const uint32_t model = AddTag(&process, "model");
  const uint32_t decode = AddTag(&process, "decode", model);
  for (int layer = 0; layer < 3; ++layer) {
    const uint32_t tag = AddTag(&process, "layer " + std::to_string(layer), decode);
    const uint64_t later = (20 + static_cast<uint64_t>(layer)) * kSecondNs;
    AddBuffer(&process, MEMTALLY_KIND_DRAM, (64 + static_cast<uint64_t>(layer) * 16) * kMiB, tag, later);
    AddBuffer(&process, MEMTALLY_KIND_L1, 256 * kKiB, tag, later);
    AddBuffer(&process, MEMTALLY_KIND_CB, 128 * kKiB, tag, later);
  }
  const uint32_t cache = AddTag(&process, "kv cache", model);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 1 * kGiB, cache, 15 * kSecondNs);
  AddBuffer(&process, MEMTALLY_KIND_DRAM, 100, 0, 11 * kSecondNs);
  AddBuffer(&process, MEMTALLY_KIND_TRACE, 30 * kMiB, 0, 12 * kSecondNs);
  AccountOf(&process, MEMTALLY_KIND_DRAM).failed_allocations = 1;
  AccountOf(&process, MEMTALLY_KIND_DRAM).failed_requested = 20 * kGiB;
  AddAnomaly(&process, MEMTALLY_ANOMALY_FAILED_ALLOC, 1, 20 * kGiB);
  AddAnomaly(&process, MEMTALLY_ANOMALY_UNKNOWN_FREE, 5, 0);
  process.facts.counters.lost_tags = 7;
  AddEvent(&process, MEMTALLY_OP_OPEN, 0, 0, 10 * kSecondNs);
  AddEvent(&process, MEMTALLY_OP_ALLOC, 1, 100, 11 * kSecondNs);
  AddEvent(&process, MEMTALLY_OP_FREE, 9, 4096, 60 * kSecondNs);
  AddEvent(&process, MEMTALLY_OP_BOOKKEEPING, 0, 0, 61 * kSecondNs);
  AddEvent(&process, MEMTALLY_OP_ALLOC_FAILED, 10, 20 * kGiB, 95 * kSecondNs);
  std::vector<Process> processes;
  processes.push_back(std::move(process));
  return MakeSnapshot(std::move(processes));
}

std::shared_ptr<Snapshot> HostileMachine() {
  const std::vector<std::string> names = {"\x1b[2J\x1b[31m",
                                          "\u202egnp.exe",
                                          "日本語の名前がとても長い",
                                          "e\u0301\u0301\u0301\u0301\u0301",
                                          "🚀🚀🚀",
                                          std::string(10000, 'x'),
                                          "\xff\xfe\xc0\xaf",
                                          "a\nb\tc\rd",
                                          "\u200b\u2066\ufeff",
                                          std::string("nul\0nul", 7),
                                          ""};
  std::vector<Process> processes;
  for (size_t i = 0; i < names.size(); ++i) {
    Process process = MakeProcess(6000 + static_cast<uint32_t>(i), names[i], 0);
    process.has_buffers = true;
    process.user = names[(i + 1) % names.size()];
    process.place.job = names[(i + 2) % names.size()];
    process.place.container = names[(i + 3) % names.size()];
    process.facts.identity.executable = names[i] + names[i];
    process.facts.kinds[0].name = names[(i + 4) % names.size()];
    process.facts.devices[0].vendor = names[i];
    process.facts.devices[0].architecture = names[i];
    const uint32_t tag = AddTag(&process, names[i]);
    const uint32_t below = AddTag(&process, names[(i + 5) % names.size()], tag);
    AddBuffer(&process, MEMTALLY_KIND_DRAM, (1 + i) * kMiB, below);
    AddBuffer(&process, MEMTALLY_KIND_CB, UINT64_MAX / 128, tag);
    AddAnomaly(&process, MEMTALLY_ANOMALY_REPLACED, 1, 1);
    process.facts.gaps.push_back(names[i]);
    if (i % 3 == 1) process.facts.liveness = Liveness::kDead;
    if (i % 3 == 2) process.facts.liveness = Liveness::kDetached;
    processes.push_back(std::move(process));
  }
  // Tags and buffers that point anywhere.
  Process& wild = processes[0];
  wild.facts.tags.push_back({9999, "orphan", false});
  wild.facts.tags.push_back({static_cast<uint32_t>(wild.facts.tags.size()), "own parent", false});
  AddBuffer(&wild, MEMTALLY_KIND_L1, 1, static_cast<uint32_t>(wild.facts.tags.size() - 1));
  AddBuffer(&wild, MEMTALLY_KIND_L1, 1, 77777);
  wild.facts.buffers.back().account = 55;
  wild.facts.buffers[0].time_ns = UINT64_MAX;
  wild.parent_pid = wild.pid;
  processes[3].parent_pid = processes[6].pid;
  processes[6].parent_pid = processes[3].pid;
  std::shared_ptr<Snapshot> snapshot = MakeSnapshot(std::move(processes));
  snapshot->host.name = names[1];
  snapshot->problems.push_back({names[0], {LedgerError::Code::kCorrupt, names[0] + names[1], names[2]}});
  return snapshot;
}

}  // namespace memtally::tools::top
