// SPDX-License-Identifier: Apache-2.0
#include "tools/run/watched_process.hpp"

#include <algorithm>
#include <string>
#include <tuple>

#include <memtally/abi/ledger_format.h>

#include "base/proc.hpp"

namespace memtally::tools {

bool WatchedProcess::ReadTotals(RunPlaces* places) {
  const uint64_t begin_ns = base::MonotonicNs();
  LedgerError error;
  if (!reader_->Read(ReadLevel::kTotals, &view_, &error)) return false;
  After(places, begin_ns);
  return true;
}

bool WatchedProcess::ReadFully(RunPlaces* places) {
  const uint64_t begin_ns = base::MonotonicNs();
  LedgerError error;
  if (!reader_->Read(ReadLevel::kAll, &view_, &error)) return false;
  After(places, begin_ns);
  events_at_full_ = view_.counters.events;
  return true;
}

void WatchedProcess::After(RunPlaces* places, uint64_t begin_ns) {
  settled_ = view_.counters.events == events_before_;
  events_before_ = view_.counters.events;
  if (!is_dead()) alive_until_ns_ = begin_ns;
  if (is_dead() && dead_from_ns_ == UINT64_MAX) dead_from_ns_ = base::MonotonicNs();
  if (accounts_.size() != view_.accounts.size()) accounts_ = places->PlacesOf(view_, of_launch_);
}

void WatchedProcess::Forget() {
  earlier_ = EarlierBuffers(view_);
  view_.buffers = {};
  view_.events = {};
  view_.groups = {};
}

bool WatchedProcess::UsesPlace(size_t place) const {
  return std::any_of(accounts_.begin(), accounts_.end(), [place](const AccountPlace& account) {
    return account.kind_place == place || account.memory_place == place;
  });
}

MomentSearch::Source WatchedProcess::AsSource() const {
  if (!is_dead()) return {&view_, &earlier_, &accounts_, holder, alive_until_ns_, UINT64_MAX};
  if (view_.exited_normally && view_.end_time_ns) {
    return {&view_, &earlier_, &accounts_, holder, *view_.end_time_ns, *view_.end_time_ns};
  }
  return {&view_, &earlier_, &accounts_, holder, alive_until_ns_, dead_from_ns_};
}

std::vector<WatchedProcess::Failure> WatchedProcess::TakeFailures() {
  const LedgerAnomaly& failed = view_.anomalies[MEMTALLY_ANOMALY_FAILED_ALLOC];
  // Each lane numbers its own.
  std::map<uint32_t, uint64_t> count;
  for (const LedgerEvent& sample : failed.last) count[sample.lane] = std::max(count[sample.lane], sample.number + 1);
  std::map<std::pair<uint32_t, uint64_t>, Failure> found;
  const auto add = [&](const LedgerEvent& event, uint64_t occurrence, std::optional<uint64_t> number) {
    if (!event.account || occurrence < told_of_lane_[event.lane]) return;
    for (size_t place = 0; place < view_.accounts.size(); ++place) {
      if (view_.accounts[place].index == *event.account) found[{event.lane, occurrence}] = {event, number, place};
    }
  };
  for (const LedgerEvent& sample : failed.last) add(sample, sample.number, std::nullopt);
  if (view_.totals_exact) {
    std::map<uint32_t, uint64_t> later;  // those of a lane that come after
    for (auto event = view_.events.rbegin(); event != view_.events.rend(); ++event) {
      if (event->operation != MEMTALLY_OP_ALLOC_FAILED) continue;
      const uint64_t back = ++later[event->lane];
      if (back <= count[event->lane]) add(*event, count[event->lane] - back, event->number);
    }
  }
  for (const auto& [lane, all] : count) told_of_lane_[lane] = all;
  failures_told_ = failed.count;
  std::vector<Failure> failures;
  failures.reserve(found.size());
  for (const auto& [key, failure] : found) failures.push_back(failure);
  std::stable_sort(failures.begin(), failures.end(),
                   [](const Failure& a, const Failure& b) { return a.event.time_ns < b.event.time_ns; });
  return failures;
}

std::vector<TagSum> WatchedProcess::Left(bool released) const {
  std::map<std::pair<size_t, std::string>, TagSum> sums;
  std::map<uint32_t, size_t> place_of;
  for (size_t place = 0; place < view_.accounts.size(); ++place) place_of[view_.accounts[place].index] = place;
  for (const LedgerBuffer& buffer : view_.buffers) {
    const auto place = place_of.find(buffer.account);
    if (buffer.imported || buffer.released != released || place == place_of.end()) continue;
    const std::string tag = view_.tag_path(buffer.tag);
    TagSum& sum = sums[{accounts_[place->second].kind_place, tag}];
    sum.place = accounts_[place->second].kind_place;
    sum.tag = tag;
    ++sum.amount.count;
    sum.amount.bytes_requested += buffer.bytes_requested;
    sum.amount.bytes_reserved += buffer.bytes_per_bank * view_.accounts[place->second].banks;
    if (sum.oldest_ns == 0 || buffer.time_ns < sum.oldest_ns) sum.oldest_ns = buffer.time_ns;
  }
  std::vector<TagSum> list;
  list.reserve(sums.size());
  for (auto& [key, sum] : sums) list.push_back(std::move(sum));
  std::stable_sort(list.begin(), list.end(), [](const TagSum& a, const TagSum& b) {
    return std::tie(a.amount.bytes_reserved, a.amount.bytes_requested) >
           std::tie(b.amount.bytes_reserved, b.amount.bytes_requested);
  });
  return list;
}

}  // namespace memtally::tools
