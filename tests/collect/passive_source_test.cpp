// SPDX-License-Identifier: Apache-2.0
//
// tt-metal's own counters in snapshots: files as tt-metal writes them, processes real.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/track.h>

#include "child_process.hpp"
#include "collect/collector.hpp"
#include "collect/tt_metal_counters.hpp"
#include "process_fleet.hpp"

namespace memtally::collect {
namespace {

constexpr uint64_t kAsic = 0x1234567890abcdef;

// Builds the bytes of one file.
class CountersFile {
 public:
  CountersFile() : bytes_(kCountersBytes) {
    Put<uint32_t>(0, 3);
    Put<uint64_t>(32, kAsic);
    Put<int32_t>(40, 5);
  }

  template <typename T>
  CountersFile& Put(size_t at, T value) {
    memcpy(bytes_.data() + at, &value, sizeof(value));
    return *this;
  }
  CountersFile& Sums(uint64_t dram, uint64_t l1) { return Put(48, dram).Put(56, l1); }
  CountersFile& Row(size_t row, int32_t pid, uint64_t dram, uint64_t l1, uint64_t cb, const std::string& name) {
    const size_t at = 856 + row * 120;
    Put(at, pid).Put(at + 8, dram).Put(at + 16, l1).Put(at + 40, cb);
    memcpy(bytes_.data() + at + 56, name.data(), std::min<size_t>(name.size(), 64));
    return *this;
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

// A file in the directory where this test's ledgers are.
class PlacedFile {
 public:
  PlacedFile(const std::string& chip, const std::vector<uint8_t>& bytes)
      : path_(model::LedgerDirectory() + "/tt_device_" + chip + "_memory") {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  ~PlacedFile() { unlink(path_.c_str()); }
  PlacedFile(const PlacedFile&) = delete;
  PlacedFile& operator=(const PlacedFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

LedgerError::Code ErrorOf(const std::vector<uint8_t>& bytes) {
  TtMetalCounters counters;
  LedgerError error;
  ParseCounters(bytes, "file", &counters, &error);
  return error.code;
}

TEST(TtMetalCounters, EveryField) {
  CountersFile file;
  file.Sums(100, 200).Put<uint64_t>(64, 300).Put<uint64_t>(72, 400).Put<uint64_t>(80, 500);
  file.Row(0, 17, 1, 2, 3, "python").Row(63, 18, 4, 5, 6, std::string(64, 'x')).Row(5, -1, 9, 9, 9, "unused");
  for (const uint32_t version : {2U, 3U}) {
    file.Put(0, version);
    TtMetalCounters counters;
    LedgerError error;
    ASSERT_TRUE(ParseCounters(file.bytes(), "file", &counters, &error)) << error.what;
    EXPECT_EQ(counters.version, version);
    EXPECT_EQ(counters.asic_id, kAsic);
    EXPECT_EQ(counters.device_number, 5);
    EXPECT_EQ(counters.bytes, (std::array<uint64_t, 5>{100, 200, 300, 400, 500}));
    ASSERT_EQ(counters.rows.size(), 2U);
    EXPECT_EQ(counters.rows[0].pid, 17U);
    EXPECT_EQ(counters.rows[0].bytes, (std::array<uint64_t, 5>{1, 2, 0, 0, 3}));
    EXPECT_EQ(counters.rows[0].name, "python");
    EXPECT_EQ(counters.rows[1].name, std::string(64, 'x'));
  }
}

TEST(TtMetalCounters, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(ErrorOf({}), LedgerError::Code::kCorrupt);
  EXPECT_EQ(ErrorOf(std::vector<uint8_t>(kCountersBytes - 1, 3)), LedgerError::Code::kCorrupt);
  EXPECT_EQ(ErrorOf(CountersFile().Put<uint32_t>(0, 0).bytes()), LedgerError::Code::kBeingMade);
  EXPECT_EQ(ErrorOf(CountersFile().Put<uint32_t>(0, 1).bytes()), LedgerError::Code::kCorrupt);
  EXPECT_EQ(ErrorOf(CountersFile().Put<uint32_t>(0, 5).bytes()), LedgerError::Code::kNewerVersion);
  EXPECT_EQ(ErrorOf(CountersFile().Put<uint32_t>(0, 4).bytes()), LedgerError::Code::kBeingMade);
  EXPECT_EQ(ErrorOf(CountersFile().Put<uint32_t>(0, 4).Put<uint32_t>(8536, 0x52454459).bytes()),
            LedgerError::Code::kNone);
}

TEST(PassiveSource, ProcessesWithoutALedger) {
  // This very process, and one that is gone: no process has so high a pid.
  CountersFile file;
  file.Row(0, getpid(), 1000, 10, 0, "server").Row(1, 0x3fffffff, 500, 0, 0, "killed").Row(2, 0x3ffffffe, 0, 0, 0, "x");
  file.Sums(1500, 10);
  const PlacedFile placed("77", file.bytes());
  Collector collector;
  const auto snapshot = collector.Take({.level = Level::kEverything});
  ASSERT_EQ(snapshot->processes.size(), 2U);
  const Process& alive = snapshot->processes[0];
  EXPECT_EQ(alive.facts.liveness, Liveness::kAlive);
  EXPECT_EQ(alive.pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(alive.source, Source::kPassive);
  EXPECT_EQ(alive.facts.identity.comm, "server");
  EXPECT_FALSE(alive.facts.totals_exact);
  EXPECT_FALSE(alive.has_buffers);
  EXPECT_EQ(HeldOnDevices(alive.facts).bytes_reserved, 1010U);
  EXPECT_EQ(snapshot->processes[1].facts.liveness, Liveness::kDead);
  EXPECT_EQ(LiveBuffers(snapshot->processes[1].facts), 0U);
  EXPECT_TRUE(IsEvidence(snapshot->processes[1].facts));
  ASSERT_EQ(snapshot->devices.size(), 1U);
  const Device& device = snapshot->devices[0];
  EXPECT_EQ(device.source, Source::kPassive);
  EXPECT_EQ(device.local_index, 5);
  EXPECT_EQ(device.processes, 1U);
  EXPECT_EQ(device.memories[0].name, "dram");
  EXPECT_EQ(device.memories[0].held.bytes_reserved, 1000U);
  EXPECT_EQ(device.memories[0].left.bytes_reserved, 500U);
  EXPECT_FALSE(device.memories[0].exact);
  EXPECT_TRUE(snapshot->disagreements.empty());
  EXPECT_TRUE(snapshot->problems.empty());
}

// A row from before this process began is of a process that had the same pid.
TEST(PassiveSource, APidThatWasUsedAgain) {
  CountersFile file;
  file.Row(0, getpid(), 1000, 0, 0, "server").Put<uint64_t>(856 + 48, 1'000'000'000).Sums(1000, 0);
  const PlacedFile placed("77", file.bytes());
  const auto snapshot = Collector().Take();
  ASSERT_EQ(snapshot->processes.size(), 1U);
  EXPECT_EQ(snapshot->processes[0].facts.liveness, Liveness::kDead);
  EXPECT_EQ(snapshot->devices[0].memories[0].left.bytes_requested, 1000U);
}

TEST(PassiveSource, ALedgerSpeaksFirst) {
  const ProcessFleet fleet(1, [](uint32_t) {
    memtally_device_info info{};
    info.size = sizeof(info);
    info.id_scheme = MEMTALLY_ID_CHIP;
    memcpy(info.id, &kAsic, sizeof(kAsic));
    info.local_index = 0;
    const memtally_device device = memtally_register_device(&info);
    memtally_register_kind(device, MEMTALLY_KIND_DRAM, 1 << 20, 4, 1 << 18);
    memtally_register_kind(device, MEMTALLY_KIND_L1, 1 << 20, 4, 1 << 18);
    memtally_alloc(device, MEMTALLY_KIND_DRAM, 1, 0, 900, 250);
    memtally_alloc(device, MEMTALLY_KIND_L1, 2, 0, 100, 25);
  });
  CountersFile file;
  file.Row(3, fleet.pid(0), 900, 40, 77, "program").Sums(1234, 40).Put<uint64_t>(80, 77);
  const PlacedFile placed("1311768467294899695", file.bytes());
  Collector collector;
  for (int round = 0; round < 2; ++round) {
    const auto snapshot = collector.Take();
    ASSERT_EQ(snapshot->processes.size(), 1U);
    ASSERT_EQ(snapshot->devices.size(), 1U);
    const Process& process = snapshot->processes[0];
    ASSERT_EQ(process.facts.accounts.size(), 3U);
    EXPECT_EQ(process.source_of(0), Source::kLedger);
    EXPECT_EQ(process.source_of(1), Source::kLedger);
    EXPECT_EQ(process.source_of(2), Source::kPassive);
    EXPECT_EQ(KindName(process.facts, process.facts.accounts[2].kind), "cb");
    EXPECT_EQ(process.facts.accounts[2].live.bytes_reserved, 77U);
    EXPECT_EQ(snapshot->devices[0].memories[0].held.bytes_reserved, 1000U);
    // 900 is what was asked for: no disagreement.  40 is neither; and the rows do not add up to the sum.
    ASSERT_EQ(snapshot->disagreements.size(), 2U);
    EXPECT_EQ(snapshot->disagreements[0].kind, "l1");
    EXPECT_EQ(snapshot->disagreements[0].process, process.key());
    EXPECT_EQ(snapshot->disagreements[0].shown, Source::kLedger);
    EXPECT_EQ(snapshot->disagreements[0].bytes_shown, 100U);
    EXPECT_EQ(snapshot->disagreements[0].bytes_other, 40U);
    EXPECT_EQ(snapshot->disagreements[1].kind, "dram");
    EXPECT_FALSE(snapshot->disagreements[1].process);
    EXPECT_EQ(snapshot->disagreements[1].bytes_shown, 900U);
    EXPECT_EQ(snapshot->disagreements[1].bytes_other, 1234U);
  }
}

TEST(PassiveSource, FilesThatCannotBeBelieved) {
  const PlacedFile cut("1", {1, 2, 3});
  const PlacedFile newer("2", CountersFile().Put<uint32_t>(0, 9).bytes());
  const PlacedFile half_made("3", CountersFile().Put<uint32_t>(0, 4).bytes());
  const PlacedFile no_number("x", CountersFile().bytes());
  const std::string link = model::LedgerDirectory() + "/tt_device_4_memory";
  ASSERT_EQ(symlink("/etc/passwd", link.c_str()), 0);
  const std::string directory = model::LedgerDirectory() + "/tt_device_5_memory";
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  const std::string fifo = model::LedgerDirectory() + "/tt_device_6_memory";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Collector collector;
  const auto snapshot = collector.Take();
  unlink(link.c_str());
  rmdir(directory.c_str());
  unlink(fifo.c_str());
  EXPECT_TRUE(snapshot->processes.empty());
  ASSERT_EQ(snapshot->problems.size(), 5U);
  for (const Problem& problem : snapshot->problems) EXPECT_FALSE(problem.error.what.empty()) << problem.path;
  EXPECT_TRUE(Collector({.passive_directory = ""}).Take()->problems.empty());
}

}  // namespace
}  // namespace memtally::collect
