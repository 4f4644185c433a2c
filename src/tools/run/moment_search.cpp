// SPDX-License-Identifier: Apache-2.0
#include "tools/run/moment_search.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <memtally/abi/ledger_format.h>

namespace memtally::tools {
namespace {

constexpr size_t kMostShares = 200;

uint64_t BytesOf(const Amount& amount, bool by_requested) {
  return by_requested ? amount.bytes_requested : amount.bytes_reserved;
}

void Add(Amount* sum, const Amount& part) {
  sum->count += part.count;
  sum->bytes_requested += part.bytes_requested;
  sum->bytes_reserved += part.bytes_reserved;
}

}  // namespace

std::vector<EventUndo::Source> MomentSearch::UndoSources() const {
  std::vector<EventUndo::Source> sources;
  sources.reserve(sources_.size());
  for (const Source& source : sources_) sources.push_back({source.view, source.earlier});
  return sources;
}

// All sources back through time, as sums only.  The dead are not there until time has gone back to their end.
class MomentSearch::Timeline {
 public:
  Timeline(const std::vector<Source>& sources, const std::vector<Wish>& wishes,
           const std::vector<EventUndo::Source>& undo)
      : sources_(sources), wishes_(wishes), undo_(undo, false), peaks_(wishes.size()), sums_(wishes.size()) {
    for (const Source& source : sources_) there_.push_back(source.dead_from_ns == UINT64_MAX);
    for (size_t s = 0; s < sources_.size(); ++s) {
      if (there_[s]) read_from_ns_ = std::min(read_from_ns_, sources_[s].true_until_ns);
    }
    SortAccounts();
  }

  // Goes back as far as it is certain.
  void Run(const std::vector<Failure>& failures, std::vector<Stop>* failed) {
    for (size_t w = 0; w < wishes_.size(); ++w) Note(w, UINT64_MAX);
    for (std::optional<uint64_t> next_ns; (next_ns = undo_.NextNs());) {
      // The end of a process comes before its events.
      for (size_t s = 0; s < sources_.size(); ++s) {
        if (!there_[s] && sources_[s].true_until_ns >= *next_ns) Revive(s, sources_[s].true_until_ns);
      }
      undo_.StepBack();
      ++step_;
      const size_t s = undo_.source();
      if (!there_[s]) Revive(s, *next_ns);
      const LedgerEvent& event = undo_.event();
      if (event.operation == MEMTALLY_OP_ALLOC_FAILED) {
        for (size_t f = 0; f < failures.size(); ++f) {
          if (failures[f].source != s || failures[f].lane != event.lane || failures[f].event != event.number) continue;
          // One process is read at one instant, several one after the other.
          const bool together = sources_.size() == 1 || (event.time_ns <= read_from_ns_ && AllAreSure(event.time_ns));
          (*failed)[f] = {true, step_, event.time_ns, undo_.is_exact() && together, there_};
        }
      }
      if (undo_.changed()) {
        Update(s, *undo_.changed(), *next_ns);
      } else if (event.operation == MEMTALLY_OP_CLOSE) {
        for (size_t a = 0; a < held_[s].size(); ++a) Update(s, a, *next_ns);
      }
    }
  }

  const std::vector<Peak>& peaks() const { return peaks_; }
  const std::vector<bool>& there() const { return there_; }
  bool is_exact() const { return undo_.is_exact(); }

 private:
  struct Sum {
    uint64_t bytes = 0;
    size_t sources = 0;
    bool certain = true;
  };

  void SortAccounts() {
    wishes_of_.resize(sources_.size());
    held_.resize(sources_.size());
    for (size_t s = 0; s < sources_.size(); ++s) {
      const std::vector<AccountPlace>& accounts = *sources_[s].accounts;
      wishes_of_[s].resize(accounts.size());
      std::vector<bool> counted(wishes_.size());
      for (size_t a = 0; a < accounts.size(); ++a) {
        held_[s].push_back(undo_.Live(s, a));
        for (size_t w = 0; w < wishes_.size(); ++w) {
          if (accounts[a].kind_place != wishes_[w].place && accounts[a].memory_place != wishes_[w].place) continue;
          wishes_of_[s][a].push_back(w);
          if (!counted[w]) ++sums_[w].sources;
          counted[w] = true;
        }
      }
    }
    for (size_t s = 0; s < sources_.size(); ++s) {
      for (size_t a = 0; a < held_[s].size(); ++a) {
        for (const size_t w : wishes_of_[s][a]) {
          if (Counts(s, w)) sums_[w].bytes += BytesOf(held_[s][a], wishes_[w].by_requested);
        }
      }
    }
  }

  // What nobody else is in is looked at up to the very end of its process.
  bool Counts(size_t s, size_t w) const { return there_[s] || sums_[w].sources == 1; }

  void Revive(size_t s, uint64_t time_ns) {
    std::vector<size_t> touched;
    for (size_t a = 0; a < held_[s].size(); ++a) {
      for (const size_t w : wishes_of_[s][a]) {
        if (Counts(s, w)) continue;
        sums_[w].bytes += BytesOf(held_[s][a], wishes_[w].by_requested);
        touched.push_back(w);
      }
    }
    there_[s] = true;
    for (const size_t w : touched) Note(w, time_ns);
  }

  // Whether it is known of every dead process that holds something whether it lived then.
  bool AllAreSure(uint64_t time_ns) const {
    for (size_t s = 0; s < sources_.size(); ++s) {
      if (there_[s] || time_ns >= sources_[s].dead_from_ns) continue;
      for (const Amount& amount : held_[s]) {
        if (amount.count != 0) return false;
      }
    }
    return true;
  }

  void Update(size_t s, size_t a, uint64_t time_ns) {
    const Amount now = undo_.Live(s, a);
    for (const size_t w : wishes_of_[s][a]) {
      sums_[w].bytes += BytesOf(now, wishes_[w].by_requested) - BytesOf(held_[s][a], wishes_[w].by_requested);
      sums_[w].certain = sums_[w].certain && undo_.IsCertain(s, a);
    }
    held_[s][a] = now;
    for (const size_t w : wishes_of_[s][a]) Note(w, time_ns);
  }

  // The present state is that just before `time_ns`; UINT64_MAX: now.
  void Note(size_t w, uint64_t time_ns) {
    const Sum& sum = sums_[w];
    Peak& peak = peaks_[w];
    if (!sum.certain) return;
    bool consistent = undo_.is_exact();
    if (sum.sources > 1 && time_ns == UINT64_MAX) {
      consistent = false;  // read one after the other
    } else if (sum.sources > 1) {
      if (time_ns > read_from_ns_ || time_ns < wishes_[w].not_before_ns || !AllAreSure(time_ns)) return;
    }
    const auto rank = std::pair(sum.bytes, consistent);
    if (rank <= wishes_[w].above || (peak.found && rank <= std::pair(peak.bytes, peak.consistent))) return;
    peak = {{true, step_, time_ns, consistent, there_}, sum.bytes};
    if (sum.sources == 1) peak.there.assign(sources_.size(), true);
  }

  const std::vector<Source>& sources_;
  const std::vector<Wish>& wishes_;
  EventUndo undo_;
  std::vector<Peak> peaks_;
  std::vector<Sum> sums_;
  std::vector<bool> there_;
  uint64_t read_from_ns_ = UINT64_MAX;  // when the reading of the living began
  size_t step_ = 0;
  std::vector<std::vector<std::vector<size_t>>> wishes_of_;  // by source and account
  std::vector<std::vector<Amount>> held_;                    // by source and account
};

template <typename Accept>
Moment MomentSearch::Capture(const std::vector<EventUndo::Holding>& holdings, const std::vector<bool>& there,
                             const Accept& accept) const {
  Moment moment;
  std::map<std::tuple<size_t, std::string, std::string, bool>, Amount> by_tag;
  for (const EventUndo::Holding& holding : holdings) {
    const Source& source = sources_[holding.source];
    const AccountPlace& account = (*source.accounts)[holding.account];
    if (!there[holding.source] || !accept(account)) continue;
    const bool known = holding.tag != kUnknownTag;
    Add(&by_tag[{source.holder, account.kind, known ? source.view->tag_path(holding.tag) : "", known}], holding.amount);
    Add(&moment.total, holding.amount);
  }
  for (auto& [key, amount] : by_tag) {
    const auto& [holder, kind, tag, known] = key;
    moment.shares.push_back({holder, kind, tag, known, amount});
  }
  std::stable_sort(moment.shares.begin(), moment.shares.end(), [](const Share& a, const Share& b) {
    return std::tie(a.amount.bytes_reserved, a.amount.bytes_requested) >
           std::tie(b.amount.bytes_reserved, b.amount.bytes_requested);
  });
  while (moment.shares.size() > kMostShares) {
    Add(&moment.rest, moment.shares.back().amount);
    moment.shares.pop_back();
  }
  return moment;
}

void MomentSearch::Search(const std::vector<Wish>& wishes, const std::vector<Failure>& failures,
                          std::vector<std::optional<Moment>>* highest, std::vector<Moment>* at_failure) const {
  highest->assign(wishes.size(), std::nullopt);
  at_failure->assign(failures.size(), {});
  Timeline timeline(sources_, wishes, UndoSources());
  std::vector<Stop> failed(failures.size());
  // Where the way back does not reach: what is there now, and the process itself.
  for (size_t f = 0; f < failures.size(); ++f) {
    failed[f].there = timeline.there();
    failed[f].there[failures[f].source] = true;
  }
  timeline.Run(failures, &failed);

  struct Visit {
    const Stop* stop;
    bool is_failure;
    size_t index;
  };
  std::vector<Visit> visits;
  for (size_t w = 0; w < wishes.size(); ++w) {
    if (timeline.peaks()[w].found) visits.push_back({&timeline.peaks()[w], false, w});
  }
  for (size_t f = 0; f < failures.size(); ++f) visits.push_back({&failed[f], true, f});
  if (visits.empty()) return;
  std::sort(visits.begin(), visits.end(), [](const Visit& a, const Visit& b) { return a.stop->step < b.stop->step; });

  uint64_t now_ns = UINT64_MAX;
  for (const Source& source : sources_) now_ns = std::min(now_ns, source.true_until_ns);
  EventUndo undo(UndoSources(), true);
  size_t step = 0;
  std::vector<EventUndo::Holding> holdings = undo.Holdings();
  for (const Visit& visit : visits) {
    const Stop& stop = *visit.stop;
    if (step < stop.step) {
      while (step < stop.step && undo.StepBack()) ++step;
      holdings = undo.Holdings();
    }
    if (!visit.is_failure) {
      const size_t place = wishes[visit.index].place;
      Moment moment = Capture(holdings, stop.there, [place](const AccountPlace& account) {
        return account.kind_place == place || account.memory_place == place;
      });
      moment.time_ns = std::min(stop.time_ns, now_ns);
      moment.exact = stop.consistent;
      (*highest)[visit.index] = std::move(moment);
      continue;
    }
    const Failure& failure = failures[visit.index];
    const AccountPlace& asked = (*sources_[failure.source].accounts)[failure.account];
    Moment moment = Capture(holdings, stop.there, [&asked](const AccountPlace& account) {
      return account.device == asked.device && account.memory == asked.memory &&
             (asked.in_memory ? account.in_memory : account.kind == asked.kind);
    });
    bool certain = true;
    for (size_t s = 0; s < sources_.size(); ++s) {
      for (size_t a = 0; a < sources_[s].accounts->size(); ++a) {
        const AccountPlace& account = (*sources_[s].accounts)[a];
        if (account.device == asked.device && account.memory == asked.memory) certain = certain && undo.IsCertain(s, a);
      }
    }
    moment.time_ns = stop.found ? failure.time_ns : now_ns;
    moment.exact = stop.found && stop.consistent && certain;
    moment.distance_ns = stop.found || now_ns < failure.time_ns ? 0 : now_ns - failure.time_ns;
    (*at_failure)[visit.index] = std::move(moment);
  }
}

}  // namespace memtally::tools
