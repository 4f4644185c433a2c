// SPDX-License-Identifier: Apache-2.0
#include "tools/top/process_list.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools::top {
namespace {

using collect::Process;
using collect::Snapshot;

constexpr size_t kMaxTextColumns = 200;
constexpr size_t kMaxTreeDepth = 20;

// "0-3,7"; of devices without a number, "?".
std::string DeviceText(const std::set<int32_t>& numbers) {
  std::string text;
  for (auto at = numbers.begin(); at != numbers.end();) {
    const int32_t first = *at;
    int32_t last = first;
    while (++at != numbers.end() && *at == last + 1) last = *at;
    if (!text.empty()) text += ",";
    text += first < 0 ? "?" : std::to_string(first);
    if (last != first) text += fmt::format("{}{}", last == first + 1 ? "," : "-", last);
  }
  return text;
}

uint64_t Plus(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

class RowBuilder {
 public:
  RowBuilder(const ListRequest& request, std::vector<std::string>* memories)
      : request_(request), memories_(*memories) {}

  // Nothing if the process has none of the wanted devices.
  std::optional<ProcessRow> Build(const Process& process) {
    const LedgerView& facts = process.facts;
    ProcessRow row;
    row.process = &process;
    std::set<int32_t> devices;
    for (const LedgerDevice& device : facts.devices) {
      if (IsWanted(device)) devices.insert(device.local_index);
    }
    if (devices.empty() && !request_.devices.empty()) return std::nullopt;
    row.devices = DeviceText(devices);
    row.user = TerminalText(process.user, 32);
    row.place = TerminalText(collect::ShortPlace(process.place), 64);
    const std::string& name =
        request_.show_path && !facts.identity.executable.empty() ? facts.identity.executable : facts.identity.comm;
    row.command = TerminalText(name, kMaxTextColumns);
    row.anomalies = Anomalies(facts);
    fill_.clear();
    size_t peaks = 0;
    for (const LedgerAccount& account : facts.accounts) {
      if (account.device < facts.devices.size() && !IsWanted(facts.devices[account.device])) continue;
      AddAccount(facts, account, &row, &peaks);
    }
    row.peak_is_bound = peaks > 1;
    for (const auto& [place, part] : fill_) {
      if (part.capacity == 0) continue;
      const double percent = 100.0 * static_cast<double>(part.held) / static_cast<double>(part.capacity);
      row.percent = std::max(row.percent.value_or(0), percent);
    }
    return row;
  }

 private:
  struct Part {
    uint64_t held = 0;
    uint64_t capacity = 0;
  };

  bool IsWanted(const LedgerDevice& device) const {
    return request_.devices.empty() || request_.devices.contains(device.local_index);
  }

  void AddAccount(const LedgerView& facts, const LedgerAccount& account, ProcessRow* row, size_t* peaks) {
    row->buffers = Plus(row->buffers, account.live.count);
    row->failed = Plus(row->failed, account.failed_allocations);
    const LedgerKind* kind = facts.kind(account.kind);
    if (kind != nullptr && (kind->overlaps || kind->inside || kind->on_host)) return;
    row->reserved = Plus(row->reserved, account.live.bytes_reserved);
    row->requested = Plus(row->requested, account.live.bytes_requested);
    row->peak = Plus(row->peak, account.peak_reserved);
    if (account.peak_reserved != 0) ++*peaks;
    const uint32_t memory_kind = kind == nullptr ? account.kind : kind->memory;
    Part& part = fill_[{account.device, memory_kind}];
    part.held = Plus(part.held, account.live.bytes_reserved);
    part.capacity = Plus(part.capacity, account.capacity_bytes);
    if (!collect::WasUsed(account)) return;
    const size_t memory = MemoryPlace(collect::KindName(facts, memory_kind));
    if (row->by_memory.size() <= memory) row->by_memory.resize(memory + 1);
    row->by_memory[memory] = Plus(row->by_memory[memory], account.live.bytes_reserved);
  }

  size_t MemoryPlace(const std::string& name) {
    const auto found = std::find(memories_.begin(), memories_.end(), name);
    const auto place = static_cast<size_t>(found - memories_.begin());
    if (place == memories_.size()) memories_.push_back(name);
    return place;
  }

  const ListRequest& request_;
  std::vector<std::string>& memories_;
  std::map<std::pair<uint32_t, uint32_t>, Part> fill_;  // by device and memory
};

// Below, equal, above: -1, 0, 1.
template <typename T>
int Compare(const T& a, const T& b) {
  if (a == b) return 0;
  return a < b ? -1 : 1;
}

int CompareBy(const SortOrder& sort, size_t memory, const ProcessRow& a, const ProcessRow& b) {
  const auto of_memory = [memory](const ProcessRow& row) {
    return memory < row.by_memory.size() ? row.by_memory[memory] : 0;
  };
  switch (sort.column) {
    case Column::kPid:
      return Compare(a.process->pid, b.process->pid);
    case Column::kUser:
      return Compare(a.user, b.user);
    case Column::kPlace:
      return Compare(a.place, b.place);
    case Column::kState:
      return Compare(a.process->facts.liveness, b.process->facts.liveness);
    case Column::kDevices:
      return Compare(a.devices, b.devices);
    case Column::kReserved:
      return Compare(a.reserved, b.reserved);
    case Column::kMemory:
      return Compare(of_memory(a), of_memory(b));
    case Column::kRequested:
      return Compare(a.requested, b.requested);
    case Column::kPeak:
      return Compare(a.peak, b.peak);
    case Column::kPercent:
      return Compare(a.percent.value_or(-1), b.percent.value_or(-1));
    case Column::kBuffers:
      return Compare(a.buffers, b.buffers);
    case Column::kAnomalies:
      return Compare(a.anomalies, b.anomalies);
    case Column::kFailed:
      return Compare(a.failed, b.failed);
    case Column::kCommand:
      break;
  }
  return Compare(a.command, b.command);
}

// What a filter looks at: what a person sees of the process, and its executable.
std::string FilterText(const ProcessRow& row) {
  const Process& process = *row.process;
  return fmt::format("{} {} {} {} {} {}", process.pid, row.user, row.place, collect::StateName(process.facts.liveness),
                     row.command, TerminalText(process.facts.identity.executable, kMaxTextColumns));
}

class Arranger {
 public:
  Arranger(const ListRequest& request, ProcessList* list) : request_(request), list_(*list) {
    const auto found = std::find(list_.memories.begin(), list_.memories.end(), request.sort.memory);
    memory_ = static_cast<size_t>(found - list_.memories.begin());
  }

  void Arrange() {
    for (const Liveness state : {Liveness::kAlive, Liveness::kDetached, Liveness::kDead}) {
      std::vector<size_t> group;
      for (size_t i = 0; i < list_.rows.size(); ++i) {
        if (list_.rows[i].process->facts.liveness == state) group.push_back(i);
      }
      Sort(&group);
      if (state != Liveness::kAlive) AddHeading(state, group);
      if (request_.tree) {
        AddTrees(group);
      } else {
        for (const size_t row : group) AddLine(row);
      }
    }
  }

 private:
  void Sort(std::vector<size_t>* group) const {
    std::sort(group->begin(), group->end(), [&](size_t a, size_t b) {
      const ProcessRow& x = list_.rows[a];
      const ProcessRow& y = list_.rows[b];
      const int order = CompareBy(request_.sort, memory_, x, y);
      if (order != 0) return request_.sort.descending ? order > 0 : order < 0;
      return std::tie(x.process->pid, x.process->key()) < std::tie(y.process->pid, y.process->key());
    });
  }

  void AddHeading(Liveness state, const std::vector<size_t>& group) {
    const size_t hidden = state == Liveness::kDead ? list_.hidden_dead : 0;
    if (group.empty() && hidden == 0) return;
    uint64_t held = 0;
    for (const size_t row : group) held = Plus(held, list_.rows[row].reserved);
    std::string text =
        fmt::format("{}: {} process{}", collect::StateName(state), group.size(), group.size() == 1 ? "" : "es");
    if (!group.empty())
      text += fmt::format(", {} {}", state == Liveness::kDead ? "held" : "last held", ScreenBytes(held));
    if (hidden != 0) text += fmt::format(", {} more left nothing (a shows them)", hidden);
    list_.lines.push_back({std::nullopt, std::move(text), Role::kGone});
  }

  void AddLine(size_t row) {
    const Liveness state = list_.rows[row].process->facts.liveness;
    list_.lines.push_back({row, "", state == Liveness::kAlive ? Role::kText : Role::kGone});
  }

  void AddTrees(const std::vector<size_t>& group) {
    std::map<uint32_t, size_t> by_pid;
    for (const size_t row : group) by_pid.emplace(list_.rows[row].process->pid, row);
    std::map<size_t, std::vector<size_t>> children;
    std::vector<size_t> roots;
    for (const size_t row : group) {
      const std::optional<uint32_t> parent = list_.rows[row].process->parent_pid;
      const auto found = parent ? by_pid.find(*parent) : by_pid.end();
      if (found == by_pid.end() || found->second == row) {
        roots.push_back(row);
      } else {
        children[found->second].push_back(row);
      }
    }
    std::set<size_t> done;
    for (const size_t row : roots) AddTree(row, {}, children, &done);
    // Parents that go in a circle cannot be, but a snapshot is not of one instant.
    for (const size_t row : group) AddTree(row, {}, children, &done);
  }

  void AddTree(size_t row, const std::vector<TreeStep>& steps, const std::map<size_t, std::vector<size_t>>& children,
               std::set<size_t>* done) {
    if (!done->insert(row).second) return;
    list_.rows[row].steps = steps;
    AddLine(row);
    const auto found = children.find(row);
    if (found == children.end()) return;
    // The steps of a child: as those of this process, whose own branch goes on as a trunk.
    std::vector<TreeStep> below = steps;
    if (!below.empty()) {
      below.back() = below.back() == TreeStep::kBranch ? TreeStep::kTrunk : TreeStep::kNothing;
    }
    if (below.size() >= kMaxTreeDepth) below.pop_back();
    below.push_back(TreeStep::kBranch);
    for (size_t i = 0; i < found->second.size(); ++i) {
      if (i + 1 == found->second.size()) below.back() = TreeStep::kLastBranch;
      AddTree(found->second[i], below, children, done);
    }
  }

  const ListRequest& request_;
  ProcessList& list_;
  size_t memory_ = 0;
};

}  // namespace

uint64_t Anomalies(const LedgerView& facts) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < facts.anomalies.size(); ++i) {
    if (i != MEMTALLY_ANOMALY_FAILED_ALLOC) sum = Plus(sum, facts.anomalies[i].count);
  }
  return sum;
}

uint64_t FailedAllocations(const LedgerView& facts) {
  uint64_t sum = 0;
  for (const LedgerAccount& account : facts.accounts) sum = Plus(sum, account.failed_allocations);
  return sum;
}

std::optional<size_t> ProcessList::LineOf(const collect::ProcessKey& key) const {
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].row && rows[*lines[i].row].process->key() == key) return i;
  }
  return std::nullopt;
}

ProcessList ListProcesses(const Snapshot& snapshot, const ListRequest& request) {
  ProcessList list;
  RowBuilder builder(request, &list.memories);
  for (const Process& process : snapshot.processes) {
    std::optional<ProcessRow> row = builder.Build(process);
    if (!row) continue;
    if (request.filter != nullptr && !request.filter->Matches(FilterText(*row))) {
      ++list.filtered_out;
      continue;
    }
    if (!request.all_dead && process.facts.liveness == Liveness::kDead && !collect::IsEvidence(process.facts)) {
      ++list.hidden_dead;
      continue;
    }
    list.rows.push_back(std::move(*row));
  }
  Arranger(request, &list).Arrange();
  return list;
}

}  // namespace memtally::tools::top
