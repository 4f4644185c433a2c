// SPDX-License-Identifier: Apache-2.0
//
// Collector against real processes.
#include "collect/collector.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <memtally/track.h>

#include "child_process.hpp"
#include "process_fleet.hpp"

namespace memtally::collect {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

memtally_device OpenDevice(uint64_t id, int32_t local_index, uint64_t dram_bytes) {
  memtally_device_info info{};
  info.size = sizeof(info);
  if (id != 0) {
    info.id_scheme = MEMTALLY_ID_CHIP;
    for (int i = 0; i < 8; ++i) info.id[i] = static_cast<uint8_t>(id >> 8 * i);
  }
  info.local_index = local_index;
  info.physical_bytes = 16 * kMiB;
  info.vendor = "test";
  info.architecture = "board";
  const memtally_device device = memtally_register_device(&info);
  memtally_register_kind(device, MEMTALLY_KIND_DRAM, dram_bytes, 4, dram_bytes / 4);
  return device;
}

void Allocate(memtally_device device, uint32_t kind, uint64_t id, uint64_t bytes_per_bank, uint64_t address = 0) {
  memtally_alloc(device, kind, id, address != 0 ? address : id << 20, bytes_per_bank * 4 - 1, bytes_per_bank);
}

const Memory* MemoryNamed(const Device& device, const std::string& name) {
  for (const Memory& memory : device.memories) {
    if (memory.name == name) return &memory;
  }
  return nullptr;
}

const MemoryKind* KindNamed(const Device& device, const std::string& memory_name, const std::string& name) {
  const Memory* memory = MemoryNamed(device, memory_name);
  if (memory == nullptr) return nullptr;
  for (const MemoryKind& kind : memory->kinds) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

const Process* ProcessOf(const Snapshot& snapshot, pid_t pid) {
  for (const Process& process : snapshot.processes) {
    if (process.pid == static_cast<uint32_t>(pid)) return &process;
  }
  return nullptr;
}

TEST(Collector, NothingIsThere) {
  Collector collector;
  const auto snapshot = collector.Take();
  EXPECT_EQ(snapshot->level, Level::kTotals);
  EXPECT_TRUE(snapshot->processes.empty());
  EXPECT_TRUE(snapshot->devices.empty());
  EXPECT_TRUE(snapshot->problems.empty());
  EXPECT_FALSE(snapshot->host.name.empty());
  EXPECT_NE(snapshot->time_ns, 0U);
}

TEST(Collector, OneDeviceOfTwoProcesses) {
  const ProcessFleet fleet(2, [](uint32_t number) {
    const memtally_device device = OpenDevice(77, static_cast<int32_t>(3 - number), (8 + 4 * number) * kMiB);
    Allocate(device, MEMTALLY_KIND_DRAM, 1, kMiB * (number + 1));
  });
  Collector collector;
  const auto snapshot = collector.Take();
  ASSERT_EQ(snapshot->processes.size(), 2U);
  ASSERT_EQ(snapshot->devices.size(), 1U);
  const Device& device = snapshot->devices[0];
  EXPECT_EQ(device.processes, 2U);
  EXPECT_EQ(device.gone_processes, 0U);
  EXPECT_EQ(device.local_index, 2);
  EXPECT_EQ(device.vendor, "test");
  EXPECT_EQ(device.physical_bytes, 16 * kMiB);
  ASSERT_EQ(device.memories.size(), 1U);
  const Memory& dram = device.memories[0];
  EXPECT_EQ(dram.name, "dram");
  EXPECT_EQ(dram.capacity_bytes, 12 * kMiB);
  EXPECT_TRUE(dram.capacity_differs);
  EXPECT_EQ(dram.held.bytes_reserved, 12 * kMiB);
  EXPECT_EQ(dram.held.bytes_requested, 12 * kMiB - 2);
  EXPECT_EQ(dram.held.count, 2U);
  EXPECT_EQ(dram.peak_reserved, 12 * kMiB);
  EXPECT_TRUE(dram.exact);
  for (const Process& process : snapshot->processes) {
    EXPECT_EQ(process.machine_device, std::vector<uint32_t>{0});
    EXPECT_EQ(process.source, Source::kLedger);
    EXPECT_FALSE(process.has_buffers);
    EXPECT_EQ(process.parent_pid, static_cast<uint32_t>(getpid()));
    EXPECT_FALSE(process.user.empty());
  }
}

// Without an id nobody knows whether it is the same device; with one, whatever the processes call it.
TEST(Collector, UnknownDevicesAreNotMerged) {
  const ProcessFleet fleet(2, [](uint32_t number) {
    Allocate(OpenDevice(0, 0, 8 * kMiB), MEMTALLY_KIND_DRAM, 1, 100);
    Allocate(OpenDevice(5 + number, 1, 8 * kMiB), MEMTALLY_KIND_DRAM, 2, 200);
    Allocate(OpenDevice(9, 2, 8 * kMiB), MEMTALLY_KIND_DRAM, 3, 300);
  });
  Collector collector;
  const auto snapshot = collector.Take();
  ASSERT_EQ(snapshot->devices.size(), 5U);
  for (size_t i = 1; i < snapshot->devices.size(); ++i) {
    EXPECT_LE(snapshot->devices[i - 1].local_index, snapshot->devices[i].local_index);
  }
  const Device& common = snapshot->devices[4];
  EXPECT_EQ(common.processes, 2U);
  EXPECT_EQ(MemoryNamed(common, "dram")->held.bytes_reserved, 2 * 4 * 300U);
  for (const Process& process : snapshot->processes) {
    ASSERT_EQ(process.machine_device.size(), 3U);
    const std::set<uint32_t> devices(process.machine_device.begin(), process.machine_device.end());
    EXPECT_EQ(devices.size(), 3U);
    EXPECT_EQ(process.machine_device[2], 4U);
  }
}

TEST(Collector, MoreThanThereIsIsShownAsSuch) {
  const ProcessFleet fleet(2, [](uint32_t) { Allocate(OpenDevice(1, 0, 8 * kMiB), MEMTALLY_KIND_DRAM, 1, 3 * kMiB); });
  Collector collector;
  const auto snapshot = collector.Take();
  ASSERT_EQ(snapshot->devices.size(), 1U);
  EXPECT_EQ(snapshot->devices[0].memories[0].held.bytes_reserved, 24 * kMiB);
  EXPECT_EQ(snapshot->devices[0].memories[0].capacity_bytes, 8 * kMiB);
}

// A memory is what all kinds in it have together; what nests in buffers or shares addresses takes up nothing more.
TEST(Collector, KindsInAMemory) {
  ProcessFleet::on_poke = [](uint32_t) { Allocate(OpenDevice(1, 0, 8 * kMiB), MEMTALLY_KIND_CB, 12, 0x800, 0x400); };
  ProcessFleet fleet(1, [](uint32_t) {
    const memtally_device device = OpenDevice(1, 0, 8 * kMiB);
    memtally_register_kind(device, MEMTALLY_KIND_TRACE, 2 * kMiB, 4, kMiB / 2);
    memtally_register_kind(device, MEMTALLY_KIND_L1, 4 * kMiB, 4, kMiB);
    memtally_register_kind(device, MEMTALLY_KIND_CB, 0, 4, 0);
    const uint32_t tensor = memtally_define_kind("tensor", MEMTALLY_KIND_DRAM, MEMTALLY_KIND_DRAM, 0);
    memtally_register_kind(device, tensor, 0, 4, 0);
    memtally_register_kind(device, MEMTALLY_KIND_HOST_PINNED, 64 * kMiB, 1, 64 * kMiB);
    Allocate(device, MEMTALLY_KIND_DRAM, 1, 1000);
    Allocate(device, MEMTALLY_KIND_TRACE, 2, 100);
    Allocate(device, tensor, 3, 700);
    Allocate(device, MEMTALLY_KIND_CB, 10, 0x1000, 0x2000);
    Allocate(device, MEMTALLY_KIND_CB, 11, 0x2000, 0x1800);
    memtally_alloc(device, MEMTALLY_KIND_HOST_PINNED, 4, 0, 5000, 5000);
  });
  Collector collector;
  const auto snapshot = collector.Take({.extents = true});
  ASSERT_EQ(snapshot->devices.size(), 1U);
  const Device& device = snapshot->devices[0];
  ASSERT_EQ(device.memories.size(), 3U);
  const Memory* dram = MemoryNamed(device, "dram");
  ASSERT_NE(dram, nullptr);
  EXPECT_EQ(dram->capacity_bytes, 10 * kMiB);
  EXPECT_EQ(dram->capacity_bytes_per_bank, 5 * kMiB / 2);
  EXPECT_EQ(dram->held.bytes_reserved, 4400U);
  EXPECT_EQ(dram->held.count, 2U);
  EXPECT_EQ(KindNamed(device, "dram", "tensor")->live.bytes_reserved, 2800U);
  EXPECT_TRUE(KindNamed(device, "dram", "tensor")->nested);
  const Memory* l1 = MemoryNamed(device, "l1");
  ASSERT_NE(l1, nullptr);
  EXPECT_EQ(l1->held.count, 0U);
  const MemoryKind* cb = KindNamed(device, "l1", "cb");
  ASSERT_NE(cb, nullptr);
  EXPECT_TRUE(cb->overlaps);
  EXPECT_EQ(cb->live.count, 2U);
  EXPECT_EQ(cb->extent, (Extent{0x1800, 0x3800}));
  EXPECT_TRUE(MemoryNamed(device, "host_pinned")->on_host);
  EXPECT_EQ(HeldOnDevices(snapshot->processes[0].facts).bytes_reserved, 4400U);

  EXPECT_EQ(KindNamed(collector.Take()->devices[0], "l1", "cb")->extent, std::nullopt);
  fleet.Poke(0);
  EXPECT_EQ(KindNamed(collector.Take({.extents = true})->devices[0], "l1", "cb")->extent, (Extent{0x400, 0x3800}));
}

TEST(Collector, TheDeadApart) {
  ProcessFleet fleet(3, [](uint32_t) {
    const memtally_device device = OpenDevice(1, 0, 8 * kMiB);
    Allocate(device, MEMTALLY_KIND_DRAM, 1, 1000);
    Allocate(device, MEMTALLY_KIND_DRAM, 2, 500);
    memtally_free(device, MEMTALLY_KIND_DRAM, 2);
  });
  Collector collector;
  EXPECT_EQ(collector.Take()->devices[0].memories[0].held.bytes_reserved, 12000U);
  fleet.Kill(1);
  const auto snapshot = collector.Take();
  ASSERT_EQ(snapshot->processes.size(), 3U);
  EXPECT_EQ(snapshot->processes[2].facts.liveness, Liveness::kDead);
  EXPECT_EQ(snapshot->processes[2].pid, static_cast<uint32_t>(fleet.pid(1)));
  EXPECT_FALSE(snapshot->processes[2].parent_pid);
  EXPECT_TRUE(IsEvidence(snapshot->processes[2].facts));
  const Device& device = snapshot->devices[0];
  EXPECT_EQ(device.processes, 2U);
  EXPECT_EQ(device.gone_processes, 1U);
  EXPECT_EQ(device.memories[0].held.bytes_reserved, 8000U);
  EXPECT_EQ(device.memories[0].left.bytes_reserved, 4000U);
  // Together they once held more than each one's peak.
  EXPECT_EQ(device.memories[0].peak_reserved, 12000U);
  EXPECT_EQ(Collector().Take()->devices[0].memories[0].peak_reserved, 8000U);
}

TEST(Collector, ProcessesComeAndGo) {
  Collector collector;
  EXPECT_TRUE(collector.Take()->processes.empty());
  {
    ProcessFleet fleet(2, [](uint32_t) {
      const memtally_device device = OpenDevice(1, 0, 8 * kMiB);
      Allocate(device, MEMTALLY_KIND_DRAM, 1, 1000);
      memtally_close_device(device);
    });
    EXPECT_TRUE(collector.Take()->processes.empty()) << "nobody has looked";
    collector.Discover();
    EXPECT_EQ(collector.Take()->processes.size(), 2U);
    EXPECT_EQ(collector.Take()->devices[0].processes, 0U) << "closed";
    EXPECT_EQ(collector.Take()->processes[0].facts.accounts[0].released.count, 1U);
  }
  collector.Discover();
  EXPECT_TRUE(collector.Take()->processes.empty());
  EXPECT_TRUE(collector.Take()->problems.empty());
}

TEST(Collector, OneProcessInFull) {
  const ProcessFleet fleet(3, [](uint32_t number) {
    memtally_push_tag("layer");
    const memtally_device device = OpenDevice(1, 0, 8 * kMiB);
    for (uint32_t i = 0; i <= number; ++i) Allocate(device, MEMTALLY_KIND_DRAM, i + 1, 1000);
  });
  Collector collector;
  const ProcessKey key = ProcessOf(*collector.Take(), fleet.pid(1))->key();
  // The first snapshot of a collector must do it, too.
  const auto snapshot = Collector().Take({.level = Level::kProcess, .process = key});
  for (const Process& process : snapshot->processes) {
    const bool asked = process.pid == static_cast<uint32_t>(fleet.pid(1));
    EXPECT_EQ(process.has_buffers, asked);
    EXPECT_EQ(process.facts.buffers.size(), asked ? 2U : 0U);
    EXPECT_EQ(process.facts.events.size(), asked ? 2U : 0U);
  }
  const Process* process = FindProcess(*snapshot, key);
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(process->facts.tag_path(process->facts.buffers[0].tag), "layer");
  EXPECT_TRUE(AgeNs(*snapshot, process->facts, process->facts.buffers[0].time_ns));
  EXPECT_EQ(FindProcess(*snapshot, ProcessKey{}), nullptr);
}

// 64 processes with a million buffers: everything adds up.
TEST(Collector, AMillionBuffers) {
  constexpr uint32_t kProcesses = 64;
  const auto kBuffers = static_cast<uint32_t>(model::Scaled(16384));
  ProcessFleet::on_poke = [kBuffers](uint32_t number) {
    const memtally_device device = OpenDevice(1 + number % 4, 0, 64 * kMiB);
    for (uint32_t i = 1; i <= kBuffers; i += 2) memtally_free(device, MEMTALLY_KIND_DRAM, i);
  };
  ProcessFleet fleet(kProcesses, [kBuffers](uint32_t number) {
    const memtally_device device = OpenDevice(1 + number % 4, 0, 64 * kMiB);
    for (uint32_t i = 1; i <= kBuffers; ++i) Allocate(device, MEMTALLY_KIND_DRAM, i, i % 7 + number + 1);
  });
  Collector collector;
  for (int round = 0; round < 2; ++round) {
    const auto snapshot = collector.Take({.level = Level::kEverything});
    ASSERT_EQ(snapshot->processes.size(), kProcesses);
    ASSERT_EQ(snapshot->devices.size(), 4U);
    uint64_t held = 0;
    uint64_t reserved = 0;
    uint64_t of_buffers = 0;
    for (const Process& process : snapshot->processes) {
      EXPECT_TRUE(process.facts.buffers_exact);
      EXPECT_EQ(process.facts.buffers.size(), LiveBuffers(process.facts));
      held += process.facts.buffers.size();
      for (const LedgerBuffer& buffer : process.facts.buffers) of_buffers += 4 * buffer.bytes_per_bank;
    }
    for (const Device& device : snapshot->devices) reserved += device.memories[0].held.bytes_reserved;
    EXPECT_EQ(held, uint64_t{kProcesses} * (round == 0 ? kBuffers : kBuffers / 2));
    EXPECT_EQ(reserved, of_buffers);
    for (uint32_t i = 0; i < kProcesses && round == 0; ++i) fleet.Poke(i);
  }
}

// A snapshot stays as it is while later ones are taken, whoever reads it and lets go of it.
TEST(Collector, SnapshotsAreShared) {
  ProcessFleet::on_poke = [](uint32_t) {
    static uint64_t id = 1;
    Allocate(OpenDevice(1, 0, 8 * kMiB), MEMTALLY_KIND_DRAM, ++id, 10);
  };
  ProcessFleet fleet(1, [](uint32_t) { Allocate(OpenDevice(1, 0, 8 * kMiB), MEMTALLY_KIND_DRAM, 1, 10); });
  std::shared_ptr<const Snapshot> kept;
  std::atomic<bool> end{false};
  std::mutex mutex;
  std::shared_ptr<const Snapshot> newest;
  {
    Collector collector;
    kept = collector.Take({.level = Level::kEverything});
    newest = kept;
    std::thread reader([&] {
      while (!end.load()) {
        std::shared_ptr<const Snapshot> mine;
        {
          const std::lock_guard<std::mutex> guard(mutex);
          mine = newest;
        }
        if (mine->processes.size() != 1) ADD_FAILURE() << mine->processes.size();
        const LedgerView& facts = mine->processes[0].facts;
        if (facts.buffers.size() != facts.accounts[0].live.count) ADD_FAILURE() << facts.buffers.size();
        std::this_thread::yield();
      }
    });
    for (int i = 0; i < 100; ++i) {
      fleet.Poke(0);
      std::shared_ptr<const Snapshot> next = collector.Take({.level = Level::kEverything});
      const std::lock_guard<std::mutex> guard(mutex);
      newest = std::move(next);
    }
    end.store(true);
    reader.join();
  }
  // The collector is gone.
  EXPECT_EQ(kept->processes[0].facts.buffers.size(), 1U);
  EXPECT_EQ(newest->processes[0].facts.buffers.size(), 101U);
}

TEST(Collector, WhatCannotBeReadIsNamed) {
  const std::string path = model::LedgerDirectory() + "/memtally-0-1-" + std::string(32, 'a') + ".ledger";
  const std::string file =
      model::LedgerDirectory() + "/memtally-" + std::to_string(geteuid()) + "-1-" + std::string(32, 'b') + ".ledger";
  std::ofstream(file) << std::string(8192, 'x');
  Collector collector;
  const auto snapshot = collector.Take();
  unlink(file.c_str());
  ASSERT_EQ(snapshot->problems.size(), 1U) << file;
  EXPECT_EQ(snapshot->problems[0].path, file);
  EXPECT_EQ(snapshot->problems[0].error.code, LedgerError::Code::kNotALedger);
  EXPECT_TRUE(snapshot->processes.empty());
  collector.Discover();
  EXPECT_TRUE(collector.Take()->problems.empty());

  Collector of_nothing({.only_ledger = path});
  const auto nothing = of_nothing.Take();
  ASSERT_EQ(nothing->problems.size(), 1U);
  EXPECT_EQ(nothing->problems[0].error.code, LedgerError::Code::kNotFound);
}

TEST(Collector, OneFileOnly) {
  const ProcessFleet fleet(2, [](uint32_t) { Allocate(OpenDevice(1, 0, 8 * kMiB), MEMTALLY_KIND_DRAM, 1, 10); });
  Collector collector({.only_ledger = model::LedgerOf(fleet.pid(1))});
  const auto snapshot = collector.Take({.level = Level::kEverything});
  ASSERT_EQ(snapshot->processes.size(), 1U);
  EXPECT_EQ(snapshot->processes[0].pid, static_cast<uint32_t>(fleet.pid(1)));
}

TEST(Collector, TidiesUpWhereAsked) {
  ProcessFleet fleet(1, [](uint32_t) {
    const memtally_device device = OpenDevice(1, 0, 8 * kMiB);
    Allocate(device, MEMTALLY_KIND_DRAM, 1, 10);
    memtally_free(device, MEMTALLY_KIND_DRAM, 1);
  });
  fleet.Kill(0);
  EXPECT_EQ(Collector().Take()->processes.size(), 1U);
  const auto snapshot = Collector({.clean_up = true}).Take();
  ASSERT_TRUE(snapshot->clean_up);
  EXPECT_GE(snapshot->clean_up->removed_files, 1U);
  EXPECT_TRUE(snapshot->processes.empty());
}

}  // namespace
}  // namespace memtally::collect
