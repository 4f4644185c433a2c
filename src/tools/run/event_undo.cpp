// SPDX-License-Identifier: Apache-2.0
#include "tools/run/event_undo.hpp"

#include <algorithm>
#include <tuple>

#include <memtally/abi/ledger_format.h>

namespace memtally::tools {
namespace {

// Sizes in events are cut to these widths.
constexpr uint64_t kMostRequested = (uint64_t{1} << MEMTALLY_REQUESTED_BITS) - 1;
constexpr uint64_t kMostPerBank = (uint64_t{1} << MEMTALLY_PER_BANK_BITS) - 1;

BufferMemory MemoryOf(const LedgerEvent& event) {
  return {event.tag, event.imported, event.bytes_requested, event.bytes_per_bank};
}

bool IsCut(const LedgerEvent& event) {
  return event.bytes_requested >= kMostRequested || event.bytes_per_bank >= kMostPerBank;
}

uint64_t TagKey(uint32_t place, uint32_t tag) { return uint64_t{place} << 32 | tag; }

bool Contains(const Amount& amount, const Amount& part) {
  return amount.count >= part.count && amount.bytes_requested >= part.bytes_requested &&
         amount.bytes_reserved >= part.bytes_reserved;
}

void AddTo(Amount* amount, const Amount& part) {
  amount->count += part.count;
  amount->bytes_requested += part.bytes_requested;
  amount->bytes_reserved += part.bytes_reserved;
}

void TakeFrom(Amount* amount, const Amount& part) {
  amount->count -= part.count;
  amount->bytes_requested -= part.bytes_requested;
  amount->bytes_reserved -= part.bytes_reserved;
}

bool FreesABuffer(uint32_t operation) {
  return operation == MEMTALLY_OP_FREE || operation == MEMTALLY_OP_AMBIGUOUS_FREE ||
         operation == MEMTALLY_OP_AFTER_CLOSE || operation == MEMTALLY_OP_REPLACE;
}

// A buffer's, within its process.
struct Key {
  uint32_t account;
  uint64_t id;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  size_t operator()(const Key& key) const { return (key.id ^ uint64_t{key.account} << 40) * 0x9e3779b97f4a7c15u; }
};

}  // namespace

EarlierBuffers::EarlierBuffers(const LedgerView& view) {
  if (!view.buffers_exact) return;
  entries_.reserve(view.buffers.size());
  for (const LedgerBuffer& buffer : view.buffers) {
    entries_.push_back(
        {buffer.id, buffer.account, {buffer.tag, buffer.imported, buffer.bytes_requested, buffer.bytes_per_bank}});
  }
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.account, a.id) < std::tie(b.account, b.id); });
  for (const LedgerEvent& event : view.events) {
    if (event.lane >= lane_events_.size()) lane_events_.resize(size_t{event.lane} + 1);
    lane_events_[event.lane] = event.number + 1;
  }
}

std::optional<BufferMemory> EarlierBuffers::Find(uint32_t account, uint64_t id, uint32_t lane,
                                                 uint64_t first_event) const {
  if (first_event > (lane < lane_events_.size() ? lane_events_[lane] : 0)) return std::nullopt;
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), std::pair(account, id),
                       [](const Entry& entry, const auto& key) { return std::pair(entry.account, entry.id) < key; });
  if (found == entries_.end() || found->account != account || found->id != id) return std::nullopt;
  return found->memory;
}

EventUndo::EventUndo(const std::vector<Source>& sources, bool with_tags) : sources_(sources), with_tags_(with_tags) {
  state_.reserve(sources_.size());
  for (size_t i = 0; i < sources_.size(); ++i) {
    AddState(sources_[i]);
    AddStreams(i);
  }
}

void EventUndo::AddState(const Source& source) {
  const LedgerView& view = *source.view;
  State& state = state_.emplace_back();
  for (const LedgerDevice& device : view.devices) state.closed.push_back(device.closed_at_ns.has_value());
  for (const LedgerAccount& account : view.accounts) {
    state.place_of.emplace(account.index, static_cast<uint32_t>(state.accounts.size()));
    state.accounts.push_back(
        {account.live, Amount{}, account.banks, account.device, account.released.count != 0, true});
  }
  if (!view.buffers_exact || !view.totals_exact) {
    is_exact_ = false;
    ended_ = true;
  }
  for (const LedgerBuffer& buffer : view.buffers) {
    const auto place = state.place_of.find(buffer.account);
    if (buffer.imported || place == state.place_of.end()) continue;
    if (!with_tags_ && !buffer.released) continue;
    Account& account = state.accounts[place->second];
    const Amount amount{1, buffer.bytes_requested, buffer.bytes_per_bank * account.banks};
    if (buffer.released) AddTo(&account.released, amount);
    if (with_tags_) AddTo(&(buffer.released ? state.released : state.live)[TagKey(place->second, buffer.tag)], amount);
  }
}

void EventUndo::AddStreams(size_t source) {
  const LedgerView& view = *sources_[source].view;
  const std::vector<LedgerEvent>& events = view.events;
  uint64_t newest = 0;  // over all lanes: how many events there were
  for (size_t begin = 0; begin < events.size();) {
    size_t end = begin + 1;
    while (end < events.size() && events[end].lane == events[begin].lane) ++end;
    // Nothing before an event that is missing is of any use.
    size_t first = end - 1;
    while (first > begin && events[first - 1].number + 1 == events[first].number) --first;
    streams_.push_back({source, first, end});
    FindGone(source, first, end);
    newest += events[end - 1].number + 1;
    begin = end;
  }
  if (newest != view.counters.events) ended_ = true;  // some of the last ones were not kept
}

// Which buffer each event freed: the one that an earlier event of the lane allocated, or that an earlier reading found.
void EventUndo::FindGone(size_t source, size_t begin, size_t end) {
  const std::vector<LedgerEvent>& events = sources_[source].view->events;
  State& state = state_[source];
  std::unordered_map<Key, BufferMemory, KeyHash> known;
  for (size_t i = begin; i < end; ++i) {
    const LedgerEvent& event = events[i];
    if (!event.account) continue;
    const Key key{*event.account, event.id};
    if (FreesABuffer(event.operation)) {
      // A replacement says nothing of what it replaced, and a free not under which tag it was allocated.
      if (const auto found = known.find(key); found != known.end()) {
        state.gone.emplace(i, found->second);
        known.erase(found);
      } else if (sources_[source].earlier != nullptr) {
        const auto earlier = sources_[source].earlier->Find(key.account, key.id, event.lane, events[begin].number);
        if (earlier) state.gone.emplace(i, *earlier);
      }
    }
    if (event.operation == MEMTALLY_OP_ALLOC || event.operation == MEMTALLY_OP_REPLACE) known[key] = MemoryOf(event);
  }
}

const EventUndo::Stream* EventUndo::Latest() const {
  const Stream* latest = nullptr;
  uint64_t latest_ns = 0;
  for (const Stream& stream : streams_) {
    if (ended_ || stream.begin == stream.end) continue;
    const uint64_t time_ns = sources_[stream.source].view->events[stream.end - 1].time_ns;
    if (latest == nullptr || time_ns > latest_ns) {
      latest = &stream;
      latest_ns = time_ns;
    }
  }
  return latest;
}

std::optional<uint64_t> EventUndo::NextNs() const {
  const Stream* latest = Latest();
  if (latest == nullptr) return std::nullopt;
  return sources_[latest->source].view->events[latest->end - 1].time_ns;
}

bool EventUndo::StepBack() {
  auto* latest = const_cast<Stream*>(Latest());
  if (latest == nullptr) return false;
  --latest->end;
  last_source_ = latest->source;
  const LedgerView& view = *sources_[last_source_].view;
  last_event_ = &view.events[latest->end];
  changed_.reset();
  Undo(&state_[last_source_], view, latest->end);
  // With the lane's first known event taken back, when the one before it was is not known.
  if (latest->begin == latest->end && last_event_->number != 0) ended_ = true;
  return true;
}

void EventUndo::Undo(State* state, const LedgerView& view, size_t index) {
  const LedgerEvent& event = view.events[index];
  if (event.operation == MEMTALLY_OP_CLOSE) {
    UndoClose(state, static_cast<uint32_t>(std::min<uint64_t>(event.id, UINT32_MAX)));
    return;
  }
  const auto place = event.account ? state->place_of.find(*event.account) : state->place_of.end();
  if (place == state->place_of.end()) return;
  const auto gone = state->gone.find(index);
  const bool known = gone != state->gone.end();
  Account& account = state->accounts[place->second];
  const bool closed = account.device < state->closed.size() && state->closed[account.device];
  switch (event.operation) {
    case MEMTALLY_OP_ALLOC:
    case MEMTALLY_OP_REPLACE:
      if (IsCut(event)) account.certain = false;
      Take(state, place->second, MemoryOf(event));
      if (event.operation == MEMTALLY_OP_ALLOC) break;
      if (known) {
        Give(state, place->second, gone->second);
      } else {
        account.certain = false;
      }
      break;
    case MEMTALLY_OP_AFTER_CLOSE:
      if (!closed) break;  // an allocation on a closed device, which opened it; or a free of what is in no sum any more
      [[fallthrough]];
    case MEMTALLY_OP_FREE:
    case MEMTALLY_OP_AMBIGUOUS_FREE: {
      BufferMemory buffer = MemoryOf(event);
      buffer.tag = known ? gone->second.tag : kUnknownTag;
      if (IsCut(event)) {
        if (known) {
          buffer = gone->second;
        } else {
          account.certain = false;
        }
      }
      Give(state, place->second, buffer);
      break;
    }
    default:
      return;
  }
  changed_ = place->second;
}

// The buffer is there again.
void EventUndo::Give(State* state, uint32_t place, const BufferMemory& buffer) {
  if (buffer.imported) return;
  Account& account = state->accounts[place];
  const bool closed = account.device < state->closed.size() && state->closed[account.device];
  const Amount amount{1, buffer.bytes_requested, buffer.bytes_per_bank * account.banks};
  AddTo(closed ? &account.released : &account.live, amount);
  if (with_tags_) AddTo(&(closed ? state->released : state->live)[TagKey(place, buffer.tag)], amount);
}

// The buffer is not there yet.
void EventUndo::Take(State* state, uint32_t place, const BufferMemory& buffer) {
  if (buffer.imported) return;
  Account& account = state->accounts[place];
  const bool closed = account.device < state->closed.size() && state->closed[account.device];
  const Amount amount{1, buffer.bytes_requested, buffer.bytes_per_bank * account.banks};
  Amount& sum = closed ? account.released : account.live;
  if (!Contains(sum, amount)) {
    account.certain = false;  // the file contradicts itself
    return;
  }
  TakeFrom(&sum, amount);
  if (!with_tags_) return;
  ByTag& by_tag = closed ? state->released : state->live;
  // What was freed later without its tag being known lies under "unknown".
  for (const uint32_t tag : {buffer.tag, kUnknownTag}) {
    const auto found = by_tag.find(TagKey(place, tag));
    if (found == by_tag.end() || !Contains(found->second, amount)) continue;
    TakeFrom(&found->second, amount);
    if (found->second.count == 0) by_tag.erase(found);
    return;
  }
  account.certain = false;
}

void EventUndo::UndoClose(State* state, uint32_t device) {
  if (device >= state->closed.size()) return;
  if (!state->closed[device]) {
    // It was opened again since, and what this close released is not in the ledger any more.
    for (Account& account : state->accounts) {
      if (account.device == device && account.ever_released) account.certain = false;
    }
    return;
  }
  state->closed[device] = false;
  for (Account& account : state->accounts) {
    if (account.device != device) continue;
    AddTo(&account.live, account.released);
    account.released = {};
  }
  for (auto entry = state->released.begin(); entry != state->released.end();) {
    if (state->accounts[entry->first >> 32].device != device) {
      ++entry;
      continue;
    }
    AddTo(&state->live[entry->first], entry->second);
    entry = state->released.erase(entry);
  }
}

std::vector<EventUndo::Holding> EventUndo::Holdings() const {
  std::vector<Holding> holdings;
  for (size_t source = 0; source < state_.size(); ++source) {
    for (const auto& [key, amount] : state_[source].live) {
      const size_t place = key >> 32;
      if (state_[source].accounts[place].certain) {
        holdings.push_back({source, place, static_cast<uint32_t>(key), amount});
      }
    }
  }
  return holdings;
}

}  // namespace memtally::tools
