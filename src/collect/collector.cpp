// SPDX-License-Identifier: Apache-2.0
#include "collect/collector.hpp"

#include <stdlib.h>

#include <algorithm>
#include <mutex>
#include <tuple>
#include <utility>

#include "base/proc.hpp"
#include "collect/device_table.hpp"
#include "collect/ledger_pool.hpp"
#include "collect/legacy_source.hpp"
#include "collect/passive_source.hpp"

namespace memtally::collect {
namespace {

std::string PassiveDirectory(const Collector::Options& options) {
  if (options.passive_directory) return *options.passive_directory;
  if (!options.only_ledger.empty()) return "";
  const char* named = getenv("MEMTALLY_DIR");
  return named != nullptr && *named != 0 ? named : "/dev/shm";
}

// Beside what others publish.
std::string LegacySocket(const Collector::Options& options) {
  const std::string directory = PassiveDirectory(options);
  return directory.empty() ? "" : directory + "/" MEMTALLY_LEGACY_STATE_SOCKET;
}

// What one snapshot may spend on reading buffers for extents only.
constexpr uint64_t kExtentBudgetNs = 5'000'000;

// Snapshots that nobody holds any more, kept for their memory.  Thread-safe.
class SpareSnapshots {
 public:
  // A snapshot with anything in it, to be filled.
  std::unique_ptr<Snapshot> Get() {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (spare_.empty()) return std::make_unique<Snapshot>();
    std::unique_ptr<Snapshot> snapshot = std::move(spare_.back());
    spare_.pop_back();
    return snapshot;
  }

  void Put(std::unique_ptr<Snapshot> snapshot) {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (spare_.size() < kMost) spare_.push_back(std::move(snapshot));
  }

 private:
  static constexpr size_t kMost = 2;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Snapshot>> spare_;
};

bool ComesBefore(const Process& a, const Process& b) {
  return std::tie(a.facts.liveness, a.pid, a.key()) < std::tie(b.facts.liveness, b.pid, b.key());
}

}  // namespace

struct Collector::State {
  explicit State(Options the_options)
      : options(std::move(the_options)),
        pool(options.only_ledger),
        legacy(LegacySocket(options)),
        passive(PassiveDirectory(options)),
        host(ThisHost()) {}

  void Place(OpenLedger* ledger, const Process& process) {
    const bool alive = process.facts.liveness != Liveness::kDead;
    const uint32_t pid = alive ? process.facts.visible_pid : 0;
    if (ledger->user.empty()) ledger->user = users.NameOf(process.facts.identity.uid);
    if (ledger->is_placed && ledger->placed_pid == pid) return;
    ledger->is_placed = true;
    ledger->placed_pid = pid;
    ledger->place = PlaceOfProcess(pid, process.facts.identity);
    ledger->parent_pid.reset();
    if (pid == 0) return;
    const base::ProcessStat stat = base::StatProcess(pid);
    if (stat.exists) ledger->parent_pid = stat.parent_pid;
  }

  // False if the ledger says nothing.
  bool Read(const std::string& path, OpenLedger* ledger, ReadLevel level, Process* process,
            std::vector<Problem>* problems) {
    LedgerError error;
    if (!ledger->reader->Read(level, &process->facts, &error)) {
      if (error.code != LedgerError::Code::kNotFound) problems->push_back({path, std::move(error)});
      return false;
    }
    const LedgerView& facts = process->facts;
    Place(ledger, *process);
    process->source = Source::kLedger;
    process->account_sources.clear();
    process->pid = facts.visible_pid != 0 ? facts.visible_pid : facts.identity.pid;
    process->parent_pid = ledger->parent_pid;
    process->user = ledger->user;
    process->place = ledger->place;
    process->has_buffers = level == ReadLevel::kAll;
    return true;
  }

  // Of a process without a ledger: what its list of buffers says, where there is one.
  static void AddListedExtents(const Process& process, Snapshot* snapshot) {
    if (!process.has_buffers) return;
    for (const LedgerAccount& account : process.facts.accounts) {
      const LedgerKind* kind = process.facts.kind(account.kind);
      if (kind == nullptr || !kind->overlaps) continue;
      if (const auto extent = ExtentOf(process.facts, account.index)) AddExtent(snapshot, process, account, *extent);
    }
  }

  void AddExtents(Snapshot* snapshot) {
    const uint64_t end = base::MonotonicNs() + kExtentBudgetNs;
    for (const Process& process : snapshot->processes) {
      if (process.facts.liveness != Liveness::kAlive) continue;
      const auto found = pool.ledgers().find(process.facts.path);
      if (found == pool.ledgers().end()) {
        AddListedExtents(process, snapshot);
        continue;
      }
      for (const LedgerAccount& account : process.facts.accounts) {
        const LedgerKind* kind = process.facts.kind(account.kind);
        if (kind == nullptr || !kind->overlaps || account.live.count == 0) continue;
        OpenLedger& ledger = found->second;
        OpenLedger::KnownExtent& known = ledger.extents[account.index];
        const bool is_new = known.allocated != account.allocated.count || known.freed != account.freed.count;
        if (process.has_buffers) {
          known = {account.allocated.count, account.freed.count, ExtentOf(process.facts, account.index)};
        } else if (is_new && base::MonotonicNs() < end) {
          LedgerError error;
          if (ledger.reader->Read(ReadLevel::kAccount, &scratch, &error, account.index)) {
            known = {account.allocated.count, account.freed.count, ExtentOf(scratch, account.index)};
          }
        }
        if (known.extent) AddExtent(snapshot, process, account, *known.extent);
      }
    }
  }

  Options options;
  LedgerPool pool;
  LegacySource legacy;
  PassiveSource passive;
  Host host;
  UserNames users;
  PeakMemory peaks;
  LedgerView scratch;
  bool discovered = false;
  std::optional<CleanUpResult> clean_up;
  std::shared_ptr<SpareSnapshots> spare = std::make_shared<SpareSnapshots>();
};

Collector::Collector() : Collector(Options{}) {}
Collector::Collector(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Collector::~Collector() = default;

void Collector::Discover() {
  State& state = *state_;
  if (state.options.clean_up) state.clean_up = CleanUpDeadLedgers();
  state.pool.Discover();
  state.discovered = true;
}

std::shared_ptr<const Snapshot> Collector::Take(const SnapshotRequest& request) {
  State& state = *state_;
  if (!state.discovered) Discover();
  std::unique_ptr<Snapshot> snapshot = state.spare->Get();
  snapshot->level = request.level;
  snapshot->host = state.host;
  snapshot->time_ns = base::MonotonicNs();
  snapshot->problems = state.pool.problems();
  snapshot->clean_up = state.clean_up;

  std::vector<Process>& processes = snapshot->processes;
  size_t count = 0;
  for (auto& [path, ledger] : state.pool.ledgers()) {
    if (count == processes.size()) processes.emplace_back();
    Process& process = processes[count];
    const bool all = request.level == Level::kEverything;
    if (!state.Read(path, &ledger, all ? ReadLevel::kAll : ReadLevel::kTotals, &process, &snapshot->problems)) continue;
    ++count;
    if (request.level != Level::kProcess || request.process != process.key()) continue;
    if (!state.Read(path, &ledger, ReadLevel::kAll, &process, &snapshot->problems)) --count;
  }
  processes.resize(count);
  state.legacy.AddTo(snapshot.get(), request.process);
  state.passive.AddTo(snapshot.get());
  std::sort(processes.begin(), processes.end(), ComesBefore);
  BuildDevices(snapshot.get(), &state.peaks);
  snapshot->disagreements.clear();
  state.legacy.Compare(snapshot.get());
  state.passive.Compare(snapshot.get());
  if (request.extents) state.AddExtents(snapshot.get());
  return {snapshot.release(), [spare = state.spare](const Snapshot* done) {
            spare->Put(std::unique_ptr<Snapshot>(const_cast<Snapshot*>(done)));
          }};
}

}  // namespace memtally::collect
