// SPDX-License-Identifier: Apache-2.0
#include "region_peak.hpp"

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <utility>

#include <memtally/abi/ledger_format.h>

namespace memtally::python {
namespace {

constexpr int kTries = 3;  // of readings that are not of one instant

std::string Hex(const std::array<uint8_t, 16>& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    text += digits;
  }
  return text;
}

// The parent of a process, 0 if it is gone.
uint32_t ParentOf(uint32_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return 0;
  char text[512] = {};
  const size_t length = std::fread(text, 1, sizeof(text) - 1, file);
  std::fclose(file);
  const std::string stat(text, length);
  const size_t end = stat.rfind(')');  // the name may hold anything
  unsigned parent = 0;
  if (end == std::string::npos || std::sscanf(stat.c_str() + end + 1, " %*c %u", &parent) != 1) return 0;
  return parent;
}

bool DescendsFrom(uint32_t pid, uint32_t ancestor) {
  for (int depth = 0; depth < 64 && pid > 1; ++depth) {
    pid = ParentOf(pid);
    if (pid == ancestor) return true;
  }
  return false;
}

}  // namespace

struct RegionPeak::Account {
  PlaceKey key;
  int64_t requested = 0;
  int64_t reserved = 0;
  uint64_t start_peak = 0;  // of the ledger, before the region
};

struct RegionPeak::Source {
  std::string path;
  std::unique_ptr<LedgerReader> reader;
  LedgerView view;
  bool is_new = true;                       // not read yet
  bool is_late = false;                     // began within the region: all its events count
  bool is_gone = false;                     // cannot be read any more
  bool has_gap = false;                     // since the last reading
  std::map<uint32_t, uint64_t> next_event;  // by lane
  std::map<uint32_t, Account> accounts;     // by number
};

// A change of an account's sums.
struct RegionPeak::Step {
  uint64_t time_ns;
  Source* source;
  const LedgerEvent* event;
};

RegionPeak::RegionPeak(uint32_t own_pid, std::string launch_id, bool with_children)
    : own_pid_(own_pid),
      launch_id_(std::move(launch_id)),
      with_children_(with_children),
      memory_(std::make_shared<ReaderMemory>()) {}

RegionPeak::~RegionPeak() = default;

std::string RegionPeak::DeviceKey(const Source& source, uint32_t device) {
  for (const LedgerDevice& one : source.view.devices) {
    if (one.index == device && one.id_scheme != MEMTALLY_ID_NONE) return Hex(one.id);
  }
  return source.path + ":" + std::to_string(device);
}

void RegionPeak::FindChildren(const std::string& own_path) {
  for (const LedgerPlace& place : FindLedgers()) {
    if (place.path == own_path || looked_at_.count(place.path) != 0) continue;
    LedgerError error;
    std::unique_ptr<LedgerReader> reader = LedgerReader::Open(place.path, &error, memory_);
    LedgerView view;
    if (reader == nullptr || !reader->Read(ReadLevel::kTotals, &view, &error)) {
      if (error.code != LedgerError::Code::kBeingMade) looked_at_[place.path] = false;
      continue;
    }
    uint32_t pid = 0;
    const bool alive = reader->liveness(&pid) != Liveness::kDead;
    const bool is_launched = !launch_id_.empty() && Hex(view.identity.launch_id) == launch_id_;
    const bool is_child = is_launched || (started_ && view.identity.parent_pid == own_pid_) ||
                          (alive && DescendsFrom(pid != 0 ? pid : view.identity.pid, own_pid_));
    // What was dead before the region began is none of its business.
    looked_at_[place.path] = is_child;
    if (!is_child || (!started_ && !alive)) continue;
    auto source = std::make_unique<Source>();
    source->path = place.path;
    source->reader = std::move(reader);
    source->is_late = started_;
    child_paths_.push_back(place.path);
    sources_.push_back(std::move(source));
  }
}

bool RegionPeak::ReadSource(Source* source) {
  LedgerError error;
  for (int i = 0; i < kTries; ++i) {
    LedgerView view;
    if (source->reader == nullptr) source->reader = LedgerReader::Open(source->path, &error, memory_);
    if (source->reader == nullptr || !source->reader->Read(ReadLevel::kAll, &view, &error)) return false;
    source->view = std::move(view);
    if (source->view.totals_exact && source->view.buffers_exact) return true;
  }
  source->has_gap = true;
  return true;
}

void RegionPeak::Collect(Source* source, std::vector<Step>* steps) {
  const LedgerView& view = source->view;
  const bool counts = !source->is_new || source->is_late;
  for (const LedgerAccount& account : view.accounts) {
    const auto [at, is_new] = source->accounts.try_emplace(account.index);
    if (!is_new) continue;
    const LedgerKind* kind = view.kind(account.kind);
    const LedgerKind* memory = kind != nullptr ? view.kind(kind->memory) : nullptr;
    at->second.key = {DeviceKey(*source, account.device), kind != nullptr ? kind->name : "?"};
    PlacePeak& place = kinds_[at->second.key];
    if (place.memory.empty()) {
      place.memory = memory != nullptr ? memory->name : "?";
      place.is_summed = kind != nullptr && !kind->overlaps && !kind->inside && !kind->on_host;
      for (const LedgerDevice& device : view.devices) {
        if (device.index != account.device) continue;
        place.device_name =
            (device.vendor.empty() ? "device" : device.vendor) + ":" + std::to_string(device.local_index);
      }
    }
    if (!counts) {
      at->second.start_peak = account.peak_reserved;
      at->second.requested = static_cast<int64_t>(account.live.bytes_requested);
      at->second.reserved = static_cast<int64_t>(account.live.bytes_reserved);
      Change(at->second.key, at->second.requested, at->second.reserved);
      place.start_reserved += account.live.bytes_reserved;
    }
  }
  uint64_t events = 0;
  double fullest = 0;
  for (size_t begin = 0; begin < view.events.size();) {
    const uint32_t lane = view.events[begin].lane;
    size_t end = begin;
    uint64_t fresh = 0;
    uint64_t& next = source->next_event[lane];
    for (; end < view.events.size() && view.events[end].lane == lane; ++end) {
      const LedgerEvent& event = view.events[end];
      if (!counts) {
        next = event.number + 1;
        continue;
      }
      if (event.number < next) continue;
      if (event.number > next) source->has_gap = true;
      next = event.number + 1;
      ++fresh;
      steps->push_back({event.time_ns, source, &event});
    }
    if (end - begin > 100) fullest = std::max(fullest, static_cast<double>(fresh) / static_cast<double>(end - begin));
    events += next;
    begin = end;
  }
  if (events != view.counters.events) source->has_gap = true;
  fullness_ = std::max(fullness_, fullest);
}

void RegionPeak::Change(const PlaceKey& kind, int64_t requested, int64_t reserved) {
  PlacePeak& place = kinds_[kind];
  place.live_requested += static_cast<uint64_t>(requested);
  place.live_reserved += static_cast<uint64_t>(reserved);
  if (!place.is_summed) return;
  PlacePeak& memory = memories_[{kind.device, place.memory}];
  memory.memory = place.memory;
  memory.device_name = place.device_name;
  memory.live_requested += static_cast<uint64_t>(requested);
  memory.live_reserved += static_cast<uint64_t>(reserved);
  total_ += static_cast<uint64_t>(reserved);
}

void RegionPeak::NotePeaks(const PlaceKey& kind) {
  const auto note = [](PlacePeak* place) {
    place->peak_requested = std::max(place->peak_requested, place->live_requested);
    place->peak_reserved = std::max(place->peak_reserved, place->live_reserved);
  };
  PlacePeak& place = kinds_[kind];
  note(&place);
  if (place.is_summed) note(&memories_[{kind.device, place.memory}]);
  total_peak_ = std::max(total_peak_, total_);
}

void RegionPeak::Apply(const Step& step) {
  const LedgerEvent& event = *step.event;
  Source& source = *step.source;
  if (event.operation == MEMTALLY_OP_CLOSE) {
    for (const LedgerAccount& account : source.view.accounts) {
      if (account.device != event.id) continue;
      Account& mine = source.accounts[account.index];
      Change(mine.key, -mine.requested, -mine.reserved);
      mine.requested = mine.reserved = 0;
    }
    return;
  }
  if (!event.account || event.imported) return;
  const auto found = source.accounts.find(*event.account);
  if (found == source.accounts.end()) return;
  uint64_t banks = 1;
  for (const LedgerAccount& account : source.view.accounts) {
    if (account.index == *event.account) banks = account.banks;
  }
  int64_t sign = 0;
  switch (event.operation) {
    case MEMTALLY_OP_ALLOC:
      sign = 1;
      break;
    case MEMTALLY_OP_FREE:
    case MEMTALLY_OP_AMBIGUOUS_FREE:
      sign = -1;
      break;
    case MEMTALLY_OP_REPLACE:  // it does not say what it replaced
      source.has_gap = true;
      return;
    default:
      return;
  }
  Account& account = found->second;
  const int64_t requested = sign * static_cast<int64_t>(event.bytes_requested);
  const int64_t reserved = sign * static_cast<int64_t>(event.bytes_per_bank * banks);
  if (account.reserved + reserved < 0 || account.requested + requested < 0) {
    source.has_gap = true;  // of a buffer whose allocation was not seen
    return;
  }
  account.requested += requested;
  account.reserved += reserved;
  Change(account.key, requested, reserved);
  NotePeaks(account.key);
}

// The sums become those of the ledger. Where replaying led elsewhere, the ledger's own peak says what may be missing.
void RegionPeak::Settle(Source* source) {
  for (const LedgerAccount& account : source->view.accounts) {
    Account& mine = source->accounts[account.index];
    const int64_t requested = static_cast<int64_t>(account.live.bytes_requested) - mine.requested;
    const int64_t reserved = static_cast<int64_t>(account.live.bytes_reserved) - mine.reserved;
    if (requested != 0 || reserved != 0) {
      source->has_gap = true;
      mine.requested += requested;
      mine.reserved += reserved;
      Change(mine.key, requested, reserved);
    }
    NotePeaks(mine.key);
  }
  if (!source->has_gap) return;
  source->has_gap = false;
  for (const LedgerAccount& account : source->view.accounts) {
    const Account& mine = source->accounts[account.index];
    PlacePeak& place = kinds_[mine.key];
    // Bytes of other processes that share the device, if any, come on top of what this account had.
    const uint64_t others = place.live_reserved - static_cast<uint64_t>(mine.reserved);
    const uint64_t reached = account.peak_reserved;
    if (reached > mine.start_peak) place.peak_reserved = std::max(place.peak_reserved, reached);
    const uint64_t bound = reached + account.peak_reserved_slack + others;
    place.bound = std::max(place.bound, bound);
    if (place.is_summed) {
      PlacePeak& memory = memories_[{mine.key.device, place.memory}];
      memory.peak_reserved = std::max(memory.peak_reserved, place.peak_reserved);
      total_peak_ = std::max(total_peak_, place.peak_reserved);
    }
  }
  // A memory's peak is at most the sum of those of its kinds.
  uint64_t all_bounds = 0;
  for (auto& [key, memory] : memories_) {
    uint64_t bound = 0;
    for (const auto& [kind_key, kind] : kinds_) {
      if (kind_key.device == key.device && kind.memory == key.kind && kind.is_summed)
        bound += std::max(kind.peak_reserved, kind.bound);
    }
    memory.bound = std::max(memory.bound, bound);
    all_bounds += bound;
  }
  total_bound_ = std::max(total_bound_, all_bounds);
}

void RegionPeak::Advance(const std::string& own_path) {
  ++readings_;
  fullness_ = 0;
  if (!own_path.empty()) {
    const auto same = [&](const auto& source) { return source->path == own_path; };
    if (std::none_of(sources_.begin(), sources_.end(), same)) {
      auto source = std::make_unique<Source>();
      source->path = own_path;
      source->is_late = started_;
      sources_.push_back(std::move(source));
    }
  }
  if (with_children_) FindChildren(own_path);
  std::vector<Step> steps;
  for (const auto& source : sources_) {
    if (source->is_gone) continue;
    if (!ReadSource(source.get())) {
      source->is_gone = true;
      for (auto& [number, account] : source->accounts) {
        Change(account.key, -account.requested, -account.reserved);
        account.requested = account.reserved = 0;
      }
      lost_a_ledger_ = true;
      continue;
    }
    Collect(source.get(), &steps);
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.time_ns < b.time_ns; });
  for (const Step& step : steps) Apply(step);
  for (const auto& source : sources_) {
    if (source->is_gone) continue;
    Settle(source.get());
    source->is_new = false;
    if (!source->reader) continue;
    if (source->reader->liveness() == Liveness::kDead) {
      // It holds nothing any more; what it left is said elsewhere.
      for (auto& [number, account] : source->accounts) Change(account.key, -account.requested, -account.reserved);
      source->accounts.clear();
      source->is_gone = true;
    }
  }
  started_ = true;
}

bool RegionPeak::is_exact() const {
  const auto is_open = [](const auto& entry) { return entry.second.slack() != 0; };
  return !lost_a_ledger_ && total_slack() == 0 && std::none_of(kinds_.begin(), kinds_.end(), is_open) &&
         std::none_of(memories_.begin(), memories_.end(), is_open);
}

}  // namespace memtally::python
