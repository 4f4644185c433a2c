// SPDX-License-Identifier: Apache-2.0
#include "tools/top/process_list.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>

#include "snapshot_fixture.hpp"

namespace memtally::tools::top {
namespace {

// Pids as they stand below each other; headings as "-".
std::string Order(const ProcessList& list) {
  std::string text;
  for (const ListLine& line : list.lines) {
    if (!text.empty()) text += " ";
    text += line.row ? std::to_string(list.rows[*line.row].process->pid) : "-";
  }
  return text;
}

std::string OrderBy(Column column, bool descending) {
  const auto snapshot = BusyMachine();
  ListRequest request;
  request.sort = {column, column == Column::kMemory ? "l1" : "", descending};
  return Order(ListProcesses(*snapshot, request));
}

TEST(ProcessList, GroupsTheLivingTheDetachedAndTheDead) {
  const auto snapshot = BusyMachine();
  const ProcessList list = ListProcesses(*snapshot, {});
  EXPECT_EQ(Order(list), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(list.lines[3].text, "detached: 1 process, last held 256.0 MiB");
  EXPECT_EQ(list.lines[5].text, "dead: 1 process, held 3.0 GiB, 1 more left nothing (a shows them)");
  EXPECT_EQ(list.hidden_dead, 1u);
  ListRequest all;
  all.all_dead = true;
  EXPECT_EQ(Order(ListProcesses(*snapshot, all)), "4102 4100 4101 - 4200 - 3900 3901");
}

TEST(ProcessList, SortsByEveryColumn) {
  EXPECT_EQ(OrderBy(Column::kPid, false), "4100 4101 4102 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kPid, true), "4102 4101 4100 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kUser, true), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kPlace, false), "4101 4100 4102 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kState, false), "4100 4101 4102 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kDevices, true), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kReserved, false), "4101 4100 4102 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kMemory, true), "4100 4102 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kRequested, true), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kPeak, true), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kPercent, true), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kBuffers, false), "4101 4102 4100 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kAnomalies, true), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kFailed, true), "4102 4100 4101 - 4200 - 3900");
  EXPECT_EQ(OrderBy(Column::kCommand, false), "4100 4101 4102 - 4200 - 3900");
}

TEST(ProcessList, SumsARow) {
  const auto snapshot = BusyMachine();
  const ProcessList list = ListProcesses(*snapshot, {});
  const ProcessRow& serve = list.rows[*list.lines[1].row];
  const uint64_t mib = 1 << 20;
  EXPECT_EQ(serve.reserved, 5120 * mib + 600 * mib + 12 * mib + 300 * 1024 + 4);  // rounded up to 12 banks; no cb
  EXPECT_EQ(serve.buffers, 5u);
  EXPECT_TRUE(serve.peak_is_bound);
  EXPECT_NEAR(serve.percent.value(), 100.0 * 5720 / 12288, 0.01);  // DRAM with TRACE in it; L1 is 19 %
  const ProcessRow& worker = list.rows[*list.lines[2].row];
  EXPECT_FALSE(worker.peak_is_bound);
  EXPECT_EQ(worker.peak, 5120 * mib);
  const ProcessRow& second = list.rows[*list.lines[0].row];
  EXPECT_EQ(second.anomalies, 2u);  // failed allocations are not among them
  EXPECT_EQ(second.failed, 3u);
}

TEST(ProcessList, MakesTrees) {
  const auto snapshot = BusyMachine();
  ListRequest request;
  request.tree = true;
  request.sort = {Column::kPid, "", false};
  const ProcessList list = ListProcesses(*snapshot, request);
  EXPECT_EQ(Order(list), "4100 4101 4102 - 4200 - 3900");
  EXPECT_TRUE(list.rows[*list.lines[0].row].steps.empty());
  EXPECT_EQ(list.rows[*list.lines[1].row].steps, std::vector<TreeStep>{TreeStep::kBranch});
  EXPECT_EQ(list.rows[*list.lines[2].row].steps, std::vector<TreeStep>{TreeStep::kLastBranch});
}

TEST(ProcessList, ParentsInACircleAreListedOnce) {
  std::vector<collect::Process> processes;
  for (const uint32_t pid : {1u, 2u, 3u}) processes.push_back(MakeProcess(pid, "x"));
  processes[0].parent_pid = 2;
  processes[1].parent_pid = 1;
  processes[2].parent_pid = 3;
  const auto snapshot = MakeSnapshot(processes);
  ListRequest request;
  request.tree = true;
  EXPECT_EQ(ListProcesses(*snapshot, request).lines.size(), 3u);
}

TEST(ProcessList, DeepTreesStayNarrow) {
  std::vector<collect::Process> processes;
  for (uint32_t pid = 1; pid <= 300; ++pid) {
    processes.push_back(MakeProcess(pid, "x"));
    if (pid > 1) processes.back().parent_pid = pid - 1;
  }
  const auto snapshot = MakeSnapshot(processes);
  ListRequest request;
  request.tree = true;
  const ProcessList list = ListProcesses(*snapshot, request);
  ASSERT_EQ(list.lines.size(), 300u);
  for (const ProcessRow& row : list.rows) EXPECT_LE(row.steps.size(), 20u);
}

TEST(ProcessList, Filters) {
  const auto snapshot = BusyMachine();
  const auto order = [&](const std::string& expression) {
    std::string error;
    const auto filter = RowFilter::Compile(expression, &error);
    ListRequest request;
    request.filter = filter.get();
    return Order(ListProcesses(*snapshot, request));
  };
  EXPECT_EQ(order("WORKER"), "4102 4101");
  EXPECT_EQ(order("grace"), "4102");
  EXPECT_EQ(order("slurm"), "4102");
  EXPECT_EQ(order("docker"), "4100");
  EXPECT_EQ(order("^4200"), "- 4200");
  EXPECT_EQ(order("dead"), "- 3900");
  EXPECT_EQ(order("nobody"), "");
}

TEST(ProcessList, ShowsSomeDevicesOnly) {
  const auto snapshot = BusyMachine();
  ListRequest request;
  request.devices = {1};
  EXPECT_EQ(Order(ListProcesses(*snapshot, request)), "4102 - 4200 - 3900");
  request.devices = {7};
  EXPECT_EQ(Order(ListProcesses(*snapshot, request)), "");
}

TEST(ProcessList, SumsStopAtTheLargestNumber) {
  collect::Process process = MakeProcess(1, "x");
  for (LedgerAccount& account : process.facts.accounts) {
    account.live = account.allocated = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    account.peak_reserved = UINT64_MAX;
    account.failed_allocations = UINT64_MAX;
  }
  for (LedgerAnomaly& anomaly : process.facts.anomalies) anomaly.count = UINT64_MAX;
  const auto snapshot = MakeSnapshot({process});
  const ProcessList list = ListProcesses(*snapshot, {});
  ASSERT_EQ(list.rows.size(), 1u);
  EXPECT_EQ(list.rows[0].reserved, UINT64_MAX);
  EXPECT_EQ(list.rows[0].buffers, UINT64_MAX);
  EXPECT_EQ(list.rows[0].anomalies, UINT64_MAX);
  EXPECT_EQ(list.rows[0].failed, UINT64_MAX);
}

}  // namespace
}  // namespace memtally::tools::top
