// SPDX-License-Identifier: Apache-2.0
#include "tools/run/launch_observer.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include <memtally/abi/ledger_format.h>

#include "base/proc.hpp"
#include "ledger/reader/ledger_clean_up.hpp"
#include "tools/run/place_sums.hpp"

namespace memtally::tools {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kLookEveryNs = 10 * kMs;
constexpr uint64_t kLookEveryWhenIdleNs = 25 * kMs;
constexpr uint64_t kIdleAfterNs = 1000 * kMs;
constexpr uint64_t kScanEveryNs = 1000 * kMs;
constexpr uint64_t kLookShare = 50;         // looks take at most a 50th of the time,
constexpr uint64_t kSearchShare = 25;       // full readings and searches a 25th
constexpr uint64_t kEventsBehind = 256;     // half of what the smallest flight recorder holds
constexpr size_t kMostFailures = 100;       // with details
constexpr uint64_t kPatienceNs = 50 * kMs;  // with processes that are about to end with the command

uint64_t ThreadCpuNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

LaunchObserver::LaunchObserver(std::string ledger_directory, const LaunchId& launch)
    : directory_(std::move(ledger_directory)), watch_(directory_, launch) {}

LaunchObserver::~LaunchObserver() { StopLooking(); }

void LaunchObserver::Prepare() {
  watch_.Listen();
  stop_event_ = base::Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void LaunchObserver::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void LaunchObserver::StopLooking() {
  if (!thread_.joinable()) return;
  stop_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t woken = write(stop_event_.get(), &one, sizeof(one));
  thread_.join();
}

void LaunchObserver::Loop() {
  while (!stop_) {
    const uint64_t begin_ns = base::MonotonicNs();
    Look();
    const uint64_t now_ns = base::MonotonicNs();
    look_cost_ns_ = now_ns - begin_ns;
    uint64_t pause_ns = kScanEveryNs;  // nobody there: only news count
    if (std::any_of(processes_.begin(), processes_.end(), [](const auto& process) { return !process->ended; })) {
      pause_ns = now_ns - last_event_ns_ > kIdleAfterNs ? kLookEveryWhenIdleNs : kLookEveryNs;
    }
    pause_ns = std::max(pause_ns, look_cost_ns_ * kLookShare);
    pollfd wake[2] = {{stop_event_.get(), POLLIN, 0}, {watch_.descriptor(), POLLIN, 0}};
    const timespec timeout{static_cast<time_t>(pause_ns / 1'000'000'000u),
                           static_cast<long>(pause_ns % 1'000'000'000u)};
    ppoll(wake, 2, &timeout, nullptr);
    if ((wake[1].revents & POLLIN) != 0 && !stop_) {
      // A ledger that is being made is complete a moment later.
      const timespec moment{0, 500'000};
      nanosleep(&moment, nullptr);
    }
  }
  cost_.cpu_ns = ThreadCpuNs();
}

size_t LaunchObserver::HolderOf(const LedgerView& view, bool of_launch) {
  const auto [entry, is_new] = holder_of_.emplace(view.identity.run_id, holders_.size());
  if (is_new) {
    holders_.push_back({view.identity.run_id, view.visible_pid != 0 ? view.visible_pid : view.identity.pid,
                        view.identity.comm, of_launch});
  }
  return entry->second;
}

size_t LaunchObserver::IndexOf(const WatchedProcess* process) const {
  const auto found =
      std::find_if(processes_.begin(), processes_.end(), [process](const auto& one) { return one.get() == process; });
  return static_cast<size_t>(found - processes_.begin());
}

void LaunchObserver::AddNew() {
  const uint64_t now_ns = base::MonotonicNs();
  if (now_ns >= next_scan_ns_) {
    watch_.Scan(false);
    next_scan_ns_ = now_ns + kScanEveryNs;
  }
  for (std::unique_ptr<LedgerReader>& reader : watch_.TakeNew()) {
    auto process = std::make_unique<WatchedProcess>(std::move(reader), true);
    if (!process->ReadTotals(&places_)) continue;
    process->holder = HolderOf(process->view(), true);
    processes_.push_back(std::move(process));
    results_.emplace_back();
  }
}

void LaunchObserver::Look() {
  ++cost_.looks;
  AddNew();
  std::vector<WatchedProcess*> dead;
  std::vector<WatchedProcess*> failed;
  for (const auto& process : processes_) {
    if (process->ended) continue;
    if (!process->ReadTotals(&places_)) continue;
    if (!process->is_settled()) last_event_ns_ = base::MonotonicNs();
    if (process->is_dead()) {
      dead.push_back(process.get());
    } else if (process->HasNewFailures()) {
      failed.push_back(process.get());
    }
  }
  SampleSums();
  if (!dead.empty()) {
    ReadAndSearch(dead);
    for (WatchedProcess* process : dead) End(process);
  }
  if (!failed.empty() && failures_.size() < kMostFailures && base::MonotonicNs() >= next_search_ns_) {
    ReadAndSearch(failed);
  }
  ReadWhatIsBehind();
}

void LaunchObserver::SampleSums() {
  place_state_.resize(places_.places().size());
  std::vector<Amount> now(place_state_.size());
  for (const auto& process : processes_) {
    if (process->ended) continue;
    const LedgerView& view = process->view();
    const bool holds = view.liveness == Liveness::kAlive;
    for (size_t i = 0; i < process->accounts().size(); ++i) {
      const LedgerAccount& account = view.accounts[i];
      for (const size_t place : {process->accounts()[i].kind_place, process->accounts()[i].memory_place}) {
        if (place == kNoPlace) continue;
        PlaceState& state = place_state_[place];
        if (state.by_requested && account.peak_reserved != 0) {
          state = {};
        } else if (state.wanted == 0 && account.peak_reserved == 0 && account.peak_requested != 0) {
          state.by_requested = true;
        }
        state.wanted = std::max(state.wanted, state.by_requested ? account.peak_requested : account.peak_reserved);
        if (!holds) continue;
        now[place].bytes_reserved += account.live.bytes_reserved;
        now[place].bytes_requested += account.live.bytes_requested;
      }
    }
  }
  for (size_t place = 0; place < now.size(); ++place) {
    PlaceState& state = place_state_[place];
    state.sampled_reserved = std::max(state.sampled_reserved, now[place].bytes_reserved);
    state.sampled_requested = std::max(state.sampled_requested, now[place].bytes_requested);
    state.wanted = std::max(state.wanted, state.by_requested ? state.sampled_requested : state.sampled_reserved);
  }
}

// Looks for the parts of sums that are higher than any of which the parts are known: when a flight recorder is about to
// forget, or when there is time.
void LaunchObserver::ReadWhatIsBehind() {
  if (base::MonotonicNs() < next_search_ns_) return;
  std::vector<WatchedProcess*> behind;
  for (const auto& process : processes_) {
    if (process->ended || process->view().liveness != Liveness::kAlive) continue;
    if (!process->is_settled() && process->events_behind() < kEventsBehind) continue;
    for (size_t place = 0; place < place_state_.size(); ++place) {
      const PlaceState& state = place_state_[place];
      if (state.wanted <= state.best || state.wanted <= state.tried || !process->UsesPlace(place)) continue;
      behind.push_back(process.get());
      break;
    }
  }
  if (!behind.empty()) ReadAndSearch(behind);
}

void LaunchObserver::ReadAndSearch(std::vector<WatchedProcess*> processes) {
  const uint64_t begin_ns = base::MonotonicNs();
  // All that share a place with one of them are needed to know its sum.
  const size_t asked = processes.size();
  for (const auto& other : processes_) {
    if (other->ended || other->view().liveness != Liveness::kAlive) continue;
    if (std::find(processes.begin(), processes.end(), other.get()) != processes.end()) continue;
    bool shares = false;
    for (size_t i = 0; i < asked && !shares; ++i) {
      for (const AccountPlace& account : processes[i]->accounts()) {
        shares = shares || (account.kind_place != kNoPlace && other->UsesPlace(account.kind_place)) ||
                 (account.memory_place != kNoPlace && other->UsesPlace(account.memory_place));
      }
    }
    if (shares) processes.push_back(other.get());
  }
  std::erase_if(processes, [this](WatchedProcess* process) {
    ++cost_.full_readings;
    return !process->ReadFully(&places_);
  });
  place_state_.resize(places_.places().size());
  Search(processes);
  for (const auto& process : processes) {
    if (!process->is_dead()) process->Forget();
  }
  const uint64_t now_ns = base::MonotonicNs();
  next_search_ns_ = now_ns + (now_ns - begin_ns) * kSearchShare;
}

void LaunchObserver::Search(const std::vector<WatchedProcess*>& processes) {
  std::vector<MomentSearch::Source> sources;
  std::vector<MomentSearch::Failure> wanted_failures;
  std::vector<FailedAllocation> failures;
  const bool any_failures = std::any_of(processes.begin(), processes.end(),
                                        [](const WatchedProcess* process) { return process->HasNewFailures(); });
  for (WatchedProcess* process : processes) {
    for (const WatchedProcess::Failure& failure : process->TakeFailures()) {
      if (failures_.size() + failures.size() >= kMostFailures) break;
      const AccountPlace& account = process->accounts()[failure.account];
      const LedgerEvent& event = failure.event;
      wanted_failures.push_back({sources.size(), event.lane, failure.number, failure.account, event.time_ns});
      failures.push_back({IndexOf(process),
                          account.device,
                          account.kind,
                          account.memory,
                          event.time_ns,
                          event.bytes_requested,
                          event.thread_id,
                          process->view().tag_path(event.tag),
                          process->view().accounts[failure.account].capacity_bytes,
                          {}});
    }
    sources.push_back(process->AsSource());
  }

  std::vector<MomentSearch::Wish> wishes;
  for (size_t place = 0; place < place_state_.size(); ++place) {
    PlaceState& state = place_state_[place];
    const auto uses = [place](const WatchedProcess* process) { return process->UsesPlace(place); };
    if (std::none_of(processes.begin(), processes.end(), uses)) continue;
    const bool all = std::all_of(processes_.begin(), processes_.end(), [&](const auto& process) {
      return process->ended || !uses(process.get()) || process->view().liveness == Liveness::kDetached ||
             std::find(processes.begin(), processes.end(), process.get()) != processes.end();
    });
    if (!all) continue;
    state.tried = state.wanted;
    wishes.push_back(
        {place, {state.best, !state.moment || state.moment->exact}, state.by_requested, state.not_before_ns});
  }

  std::vector<std::optional<Moment>> highest;
  std::vector<Moment> at_failure;
  MomentSearch(sources).Search(wishes, {}, &highest, &at_failure);
  for (size_t i = 0; i < wishes.size(); ++i) {
    if (!highest[i]) continue;
    PlaceState& state = place_state_[wishes[i].place];
    state.best = state.by_requested ? highest[i]->total.bytes_requested : highest[i]->total.bytes_reserved;
    state.moment = std::move(highest[i]);
  }
  if (!any_failures || failures.empty()) return;

  // Processes outside the launch may be what the memory was gone to.
  const std::vector<WatchedProcess*> others = ReadOtherHolders(processes);
  for (const WatchedProcess* other : others) sources.push_back(other->AsSource());
  MomentSearch(sources).Search({}, wanted_failures, &highest, &at_failure);
  for (size_t i = 0; i < failures.size(); ++i) {
    failures[i].held = std::move(at_failure[i]);
    failures_.push_back(std::move(failures[i]));
  }
  for (WatchedProcess* other : others) other->Forget();
}

std::vector<WatchedProcess*> LaunchObserver::ReadOtherHolders(const std::vector<WatchedProcess*>& processes) {
  std::vector<WatchedProcess*> found;
  for (const LedgerPlace& place : FindLedgers()) {
    const auto is_here = [&place](const auto& process) { return process->path() == place.path; };
    if (std::any_of(processes_.begin(), processes_.end(), is_here)) continue;
    auto known = std::find_if(others_.begin(), others_.end(), is_here);
    if (known == others_.end()) {
      LedgerError error;
      std::unique_ptr<LedgerReader> reader = LedgerReader::Open(place.path, &error);
      if (!reader || reader->liveness() != Liveness::kAlive) continue;
      others_.push_back(std::make_unique<WatchedProcess>(std::move(reader), false));
      known = others_.end() - 1;
    }
    WatchedProcess* other = known->get();
    if (!other->ReadTotals(&places_) || other->view().liveness != Liveness::kAlive) continue;
    const bool shares = std::any_of(other->accounts().begin(), other->accounts().end(), [&](const AccountPlace& mine) {
      return mine.device != kNoPlace && std::any_of(processes.begin(), processes.end(), [&](const auto* process) {
               return std::any_of(process->accounts().begin(), process->accounts().end(),
                                  [&](const AccountPlace& theirs) { return theirs.device == mine.device; });
             });
    });
    if (!shares || !other->ReadFully(&places_)) continue;
    other->holder = HolderOf(other->view(), false);
    found.push_back(other);
  }
  return found;
}

// It is dead, and everything was read.
void LaunchObserver::End(WatchedProcess* process) {
  RunProcess& result = results_[IndexOf(process)];
  result.holder = process->holder;
  result.seen_dead_ns = base::MonotonicNs();
  const LedgerView& last = process->view();
  const uint64_t end_ns = last.exited_normally ? last.end_time_ns.value_or(*result.seen_dead_ns) : *result.seen_dead_ns;
  result.left = process->Left(false);
  result.released = process->Left(true);
  for (const AccountPlace& account : process->accounts()) {
    for (const size_t place : {account.kind_place, account.memory_place}) {
      if (place == kNoPlace) continue;
      place_state_[place].not_before_ns = std::max(place_state_[place].not_before_ns, end_ns);
    }
  }
  process->ended = true;
  process->Forget();
  result.facts = process->view();
  result.facts.tags = {};
  reader::RemoveIfWithoutEvidence(process->path());
}

void LaunchObserver::Finish(RunFacts* facts) {
  StopLooking();
  watch_.Scan(true);
  const uint64_t begin_ns = base::MonotonicNs();
  next_search_ns_ = 0;
  for (;;) {
    Look();
    const bool any_alive =
        std::any_of(processes_.begin(), processes_.end(), [](const auto& process) { return !process->ended; });
    if (!any_alive || base::MonotonicNs() - begin_ns > kPatienceNs) break;
    const timespec pause{0, 5'000'000};
    nanosleep(&pause, nullptr);
  }
  std::vector<WatchedProcess*> alive;
  for (const auto& process : processes_) {
    if (!process->ended) alive.push_back(process.get());
  }
  if (!alive.empty()) ReadAndSearch(alive);
  for (WatchedProcess* process : alive) {
    RunProcess& result = results_[IndexOf(process)];
    result.holder = process->holder;
    if (process->is_dead() && process->ReadFully(&places_)) {
      End(process);
      continue;
    }
    result.goes_on = true;
    result.facts = process->view();
    result.facts.tags = {};
  }

  facts->holders = std::move(holders_);
  facts->devices = places_.devices();
  facts->places = std::move(places_.places());
  facts->processes = std::move(results_);
  for (const RunProcess& process : facts->processes) {
    facts->failures_without_details += process.facts.anomalies[MEMTALLY_ANOMALY_FAILED_ALLOC].count;
  }
  facts->failures_without_details -= std::min<uint64_t>(facts->failures_without_details, failures_.size());
  std::stable_sort(failures_.begin(), failures_.end(),
                   [](const FailedAllocation& a, const FailedAllocation& b) { return a.time_ns < b.time_ns; });
  facts->failures = std::move(failures_);
  facts->foreign_ledgers = watch_.foreign();
  facts->observer = cost_;
  std::vector<SampledPlace> sampled;
  for (PlaceState& state : place_state_) {
    sampled.push_back(
        {state.sampled_reserved, state.sampled_requested, state.best, state.by_requested, std::move(state.moment)});
  }
  std::vector<std::vector<AccountPlace>> accounts;
  accounts.reserve(processes_.size());
  for (const auto& process : processes_) accounts.push_back(process->accounts());
  SumPlaces(accounts, std::move(sampled), facts);
}

}  // namespace memtally::tools
