// SPDX-License-Identifier: Apache-2.0
#include "reference_model.hpp"

#include <algorithm>
#include <sstream>

namespace memtally::model {

namespace {

constexpr size_t kMostDifferences = 12;
constexpr uint64_t kMostRequested = (uint64_t{1} << MEMTALLY_REQUESTED_BITS) - 1;
constexpr uint64_t kMostPerBank = (uint64_t{1} << MEMTALLY_PER_BANK_BITS) - 1;

const char* NameOf(Action action) {
  switch (action) {
    case Action::kAlloc:
      return "alloc";
    case Action::kFree:
      return "free";
    case Action::kFreeAnyKind:
      return "free of any kind";
    case Action::kFail:
      return "fail";
    case Action::kMark:
      return "mark";
    case Action::kClose:
      return "close";
    case Action::kReopen:
      return "reopen";
    case Action::kPushTag:
      return "push tag";
    case Action::kPopTag:
      return "pop tag";
    case Action::kNoteAfterClose:
      return "note of after close";
  }
  return "?";
}

std::string Text(const Amount& amount) {
  return std::to_string(amount.count) + " buffers, " + std::to_string(amount.bytes_requested) + " requested, " +
         std::to_string(amount.bytes_reserved) + " reserved";
}

std::string Text(const Key& key) {
  std::ostringstream out;
  out << "device " << key.device << " kind " << key.kind << " id 0x" << std::hex << key.id;
  return out.str();
}

std::string Text(const Buffer& b) {
  std::ostringstream out;
  out << "address 0x" << std::hex << b.address << std::dec << " requested " << b.bytes_requested << " per bank "
      << b.bytes_per_bank << " group " << b.group << " stack " << b.stack << " imported " << b.imported << " tag '"
      << b.tag << "'";
  return out.str();
}

std::string Text(const Event& e) {
  std::ostringstream out;
  out << "operation " << e.operation << " id 0x" << std::hex << e.id << " address 0x" << e.address << std::dec
      << " requested " << e.bytes_requested << " per bank " << e.bytes_per_bank << " account ";
  if (e.account) {
    out << e.account->first << "/" << e.account->second;
  } else {
    out << "none";
  }
  out << " tag '" << e.tag << "' group " << e.group_low;
  return out.str();
}

bool Same(const Buffer& a, const Buffer& b) {
  return a.address == b.address && a.bytes_requested == b.bytes_requested && a.bytes_per_bank == b.bytes_per_bank &&
         a.group == b.group && a.stack == b.stack && a.imported == b.imported && a.tag == b.tag;
}

bool Same(const Event& a, const Event& b) {
  return a.operation == b.operation && a.id == b.id && a.address == b.address &&
         a.bytes_requested == b.bytes_requested && a.bytes_per_bank == b.bytes_per_bank && a.account == b.account &&
         a.tag == b.tag && a.group_low == b.group_low;
}

// Collects differences and stops at a readable number.
class Report {
 public:
  template <typename T, typename U>
  void Expect(const std::string& what, const T& model, const U& view) {
    if (!(model == view)) Add(what + ": model " + std::to_string(model) + ", view " + std::to_string(view));
  }
  void Expect(const std::string& what, const Amount& model, const Amount& view) {
    if (!(model == view)) Add(what + ": model " + Text(model) + "; view " + Text(view));
  }
  void Add(std::string line) {
    if (lines_.size() < kMostDifferences) lines_.push_back(std::move(line));
  }
  bool full() const { return lines_.size() == kMostDifferences; }
  std::vector<std::string> Take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

// The path of each tag of a view, worked out once.
class TagPaths {
 public:
  explicit TagPaths(const LedgerView& view) {
    for (size_t i = 0; i < view.tags.size(); ++i) paths_.push_back(view.tag_path(static_cast<uint32_t>(i)));
  }
  std::string Of(uint32_t tag) const { return tag < paths_.size() ? paths_[tag] : "tag that is not there"; }

 private:
  std::vector<std::string> paths_;
};

Event FromView(const LedgerEvent& event, const LedgerView& view, const TagPaths& paths) {
  Event out;
  out.operation = event.operation;
  out.id = event.id;
  out.address = event.address;
  out.bytes_requested = event.bytes_requested;
  out.bytes_per_bank = event.bytes_per_bank;
  out.tag = paths.Of(event.tag);
  out.group_low = event.group_low;
  for (const LedgerAccount& account : view.accounts) {
    if (event.account == account.index) out.account = {account.device, account.kind};
  }
  return out;
}

void CompareBuffers(const Model& model, const LedgerView& view, const TagPaths& paths, const Wanted& wanted,
                    Report* report) {
  std::vector<Key> key_of_account(MEMTALLY_MAX_ACCOUNTS, Key{});
  for (const LedgerAccount& account : view.accounts) key_of_account[account.index] = {account.device, account.kind, 0};
  std::map<Key, Buffer> live;
  std::map<Key, Buffer> released;
  for (const LedgerBuffer& b : view.buffers) {
    Key key = key_of_account[b.account];
    key.id = b.id;
    Buffer buffer{b.address, b.bytes_requested, b.bytes_per_bank, b.group, b.stack, b.imported, paths.Of(b.tag), 0};
    if (!(b.released ? released : live).emplace(key, std::move(buffer)).second) {
      report->Add("twice in the view: " + Text(key));
    }
  }
  const auto compare = [&](const char* what, const std::map<Key, Buffer>& expected, const std::map<Key, Buffer>& found,
                           bool may_be_missing) {
    for (const auto& [key, buffer] : expected) {
      const auto at = found.find(key);
      if (at == found.end()) {
        if (!may_be_missing) report->Add(std::string(what) + " buffer not in the view: " + Text(key));
      } else if (!Same(buffer, at->second)) {
        report->Add(std::string(what) + " buffer " + Text(key) + ": model " + Text(buffer) + "; view " +
                    Text(at->second));
      }
      if (report->full()) return;
    }
    for (const auto& [key, buffer] : found) {
      if (!expected.contains(key)) report->Add(std::string(what) + " buffer only in the view: " + Text(key));
      if (report->full()) return;
    }
  };
  compare("live", model.live(), live, false);
  compare("released", model.released(), released, wanted.released_may_be_missing);
}

void CompareAccounts(const Model& model, const LedgerView& view, const Wanted& wanted, Report* report) {
  if (!wanted.empty_accounts_may_show) {
    report->Expect("number of accounts", model.accounts().size(), view.accounts.size());
  }
  for (const LedgerAccount& found : view.accounts) {
    const std::string name = "device " + std::to_string(found.device) + " kind " + std::to_string(found.kind) + " ";
    const auto at = model.accounts().find({found.device, found.kind});
    if (at == model.accounts().end() && !wanted.empty_accounts_may_show) {
      report->Add("account only in the view: " + name);
      continue;
    }
    const Account expected = at != model.accounts().end() ? at->second : Account{};
    report->Expect(name + "banks", expected.banks, found.banks);
    report->Expect(name + "capacity", expected.capacity_bytes, found.capacity_bytes);
    report->Expect(name + "capacity per bank", expected.capacity_bytes_per_bank, found.capacity_bytes_per_bank);
    report->Expect(name + "live", expected.live, found.live);
    report->Expect(name + "allocated", expected.allocated, found.allocated);
    report->Expect(name + "freed", expected.freed, found.freed);
    report->Expect(name + "released", expected.released, found.released);
    report->Expect(name + "failed allocations", expected.failed_allocations, found.failed_allocations);
    report->Expect(name + "failed bytes", expected.failed_requested, found.failed_requested);
    uint64_t imported = 0;
    uint64_t imported_requested = 0;
    for (const auto& [key, buffer] : model.live()) {
      if (key.device != found.device || key.kind != found.kind || !buffer.imported) continue;
      ++imported;
      imported_requested += buffer.bytes_requested;
    }
    report->Expect(name + "imported", imported, found.imported);
    report->Expect(name + "imported bytes", imported_requested, found.imported_requested);
    if (wanted.peaks == Wanted::Peaks::kExact) {
      report->Expect(name + "peak requested", expected.peak_requested, found.peak_requested);
      report->Expect(name + "peak reserved", expected.peak_reserved, found.peak_reserved);
      report->Expect(name + "slack", uint64_t{0}, found.peak_requested_slack + found.peak_reserved_slack);
    } else if (wanted.peaks == Wanted::Peaks::kWithinSlack) {
      if (found.peak_requested > expected.peak_requested ||
          found.peak_requested + found.peak_requested_slack < expected.peak_requested) {
        report->Add(name + "peak requested: true " + std::to_string(expected.peak_requested) + ", view " +
                    std::to_string(found.peak_requested) + " and slack " + std::to_string(found.peak_requested_slack));
      }
      if (found.peak_reserved > expected.peak_reserved ||
          found.peak_reserved + found.peak_reserved_slack < expected.peak_reserved) {
        report->Add(name + "peak reserved: true " + std::to_string(expected.peak_reserved) + ", view " +
                    std::to_string(found.peak_reserved) + " and slack " + std::to_string(found.peak_reserved_slack));
      }
    }
  }
}

// The last events of a model against `events`, which are in order.
void CompareTail(const Model& model, std::vector<LedgerEvent> events, const LedgerView& view, const TagPaths& paths,
                 bool all, Report* report) {
  std::erase_if(events, [](const LedgerEvent& e) { return e.operation == MEMTALLY_OP_BOOKKEEPING; });
  if (events.size() > model.event_count()) {
    report->Add("events: model " + std::to_string(model.event_count()) + ", view " + std::to_string(events.size()));
    return;
  }
  if (all) report->Expect("events", model.event_count(), events.size());
  const size_t count = std::min(events.size(), model.events().size());
  for (size_t i = 1; i <= count; ++i) {
    const Event& expected = model.events()[model.events().size() - i];
    const Event found = FromView(events[events.size() - i], view, paths);
    if (Same(expected, found)) continue;
    report->Add("event " + std::to_string(i) + " from the end: model " + Text(expected) + "; view " + Text(found));
    if (report->full()) return;
  }
}

std::vector<LedgerEvent> ByTime(std::vector<LedgerEvent> events) {
  std::stable_sort(events.begin(), events.end(),
                   [](const LedgerEvent& a, const LedgerEvent& b) { return a.time_ns < b.time_ns; });
  return events;
}

std::vector<LedgerEvent> OfThread(const LedgerView& view, uint32_t thread_id) {
  std::vector<LedgerEvent> events = view.events;
  std::erase_if(
      events, [&](const LedgerEvent& e) { return e.thread_id != thread_id || e.operation == MEMTALLY_OP_BOOKKEEPING; });
  return ByTime(std::move(events));
}

void CompareEvents(const Model& model, const LedgerView& view, const TagPaths& paths, const Wanted& wanted,
                   Report* report) {
  std::vector<LedgerEvent> events = view.events;
  std::map<uint32_t, uint64_t> next;  // number expected in each lane
  for (const LedgerEvent& event : events) {
    const auto [at, is_first] = next.emplace(event.lane, event.number);
    if (!is_first && at->second != event.number) {
      report->Add("lane " + std::to_string(event.lane) + ": event " + std::to_string(event.number) + " instead of " +
                  std::to_string(at->second));
    }
    at->second = event.number + 1;
  }
  if (wanted.events == Wanted::Events::kOneLane) {
    const uint64_t kept =
        std::min<uint64_t>(view.counters.events, MEMTALLY_RING_EVENTS_FIRST - (view.interrupted ? 1 : 0));
    report->Expect("events in the recorder", kept, events.size());
    if (!events.empty()) report->Expect("number after the last event", view.counters.events, events.back().number + 1);
  } else {
    report->Expect("events in the recorders", view.counters.events, events.size());
    events = ByTime(std::move(events));
  }
  CompareTail(model, events, view, paths, wanted.events == Wanted::Events::kByTime, report);
}

}  // namespace

std::string Join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::string Describe(const Operation& o) {
  std::ostringstream out;
  out << NameOf(o.action) << " thread " << o.thread << " device " << o.device << "/" << o.reporter << " kind " << o.kind
      << " id 0x" << std::hex << o.id << std::dec << " requested " << o.bytes_requested << " per bank "
      << o.bytes_per_bank << " group " << o.group << " imported " << o.imported << " '" << o.name << "'";
  return out.str();
}

void Model::AddAccount(uint32_t device, uint32_t kind, uint64_t capacity_bytes, uint32_t banks,
                       uint64_t capacity_bytes_per_bank, uint32_t reporter) {
  Account account;
  account.device = device;
  account.kind = kind;
  account.banks = banks;
  account.capacity_bytes = capacity_bytes;
  account.capacity_bytes_per_bank = capacity_bytes_per_bank;
  account.reporter = reporter;
  accounts_.emplace(std::pair{device, kind}, account);
}

std::vector<Operation> Model::StepsOf(const Operation& operation) const {
  if (operation.action != Action::kAlloc || !devices_[operation.device].closed) return {operation};
  const auto at = accounts_.find({operation.device, operation.kind});
  if (at != accounts_.end() && at->second.reporter != operation.reporter) return {operation};
  std::vector<Operation> steps(3, operation);
  steps[0].action = Action::kNoteAfterClose;
  steps[1].action = Action::kReopen;
  return steps;
}

void Model::ApplyStep(const Operation& step) {
  switch (step.action) {
    case Action::kAlloc:
      return Alloc(step);
    case Action::kFree:
    case Action::kFreeAnyKind:
      return Free(step);
    case Action::kFail: {
      Account& account = AccountOf(step);
      Operation seen = step;
      seen.id = seen.address = 0;
      if (account.reporter != step.reporter) {
        Event event = MakeEvent(MEMTALLY_OP_DUPLICATE_REPORTER, seen);
        event.account.reset();
        return Note(event, MEMTALLY_ANOMALY_DUPLICATE_REPORTER, step.bytes_requested);
      }
      ++account.failed_allocations;
      account.failed_requested += step.bytes_requested;
      return Note(MakeEvent(MEMTALLY_OP_ALLOC_FAILED, seen), MEMTALLY_ANOMALY_FAILED_ALLOC, step.bytes_requested);
    }
    case Action::kMark: {
      Event event;
      event.operation = MEMTALLY_OP_MARK;
      event.tag = step.name;
      return Note(event);
    }
    case Action::kClose:
      return Close(step);
    case Action::kReopen:
      devices_[step.device].closed = false;
      std::erase_if(released_, [&](const auto& item) { return item.first.device == step.device; });
      return;
    case Action::kPushTag:
      tags_[step.thread].push_back(step.name);
      return;
    case Action::kPopTag:
      if (!tags_[step.thread].empty()) tags_[step.thread].pop_back();
      return;
    case Action::kNoteAfterClose:
      AccountOf(step);
      return Note(MakeEvent(MEMTALLY_OP_AFTER_CLOSE, step), MEMTALLY_ANOMALY_AFTER_CLOSE, step.bytes_requested);
  }
}

Account& Model::AccountOf(const Operation& operation) {
  const auto at = accounts_.find({operation.device, operation.kind});
  if (at != accounts_.end()) return at->second;
  AddAccount(operation.device, operation.kind, 0, 1, 0, operation.reporter);
  return accounts_.at({operation.device, operation.kind});
}

std::string Model::TagOf(uint32_t thread) const {
  const auto at = tags_.find(thread);
  if (at == tags_.end()) return "";
  std::string path;
  for (const std::string& name : at->second) path += path.empty() ? name : " / " + name;
  return path;
}

Event Model::MakeEvent(uint32_t operation, const Operation& call) const {
  Event event;
  event.operation = operation;
  event.id = call.id;
  event.address = call.address;
  event.bytes_requested = std::min(call.bytes_requested, kMostRequested);
  event.bytes_per_bank = std::min(call.bytes_per_bank, kMostPerBank);
  event.account = {call.device, call.kind};
  event.tag = TagOf(call.thread);
  if (operation != MEMTALLY_OP_REPLACE) event.group_low = static_cast<uint32_t>(call.group);
  return event;
}

void Model::Note(Event event) {
  ++event_count_;
  events_.push_back(std::move(event));
  if (events_.size() > kEventsKept) events_.pop_front();
}

void Model::Note(Event event, memtally_anomaly anomaly, uint64_t bytes_requested) {
  Anomaly& counted = anomalies_[anomaly];
  ++counted.count;
  counted.bytes_requested += bytes_requested;
  counted.last.push_back(event);
  if (counted.last.size() > MEMTALLY_ANOMALY_SAMPLES) counted.last.pop_front();
  Note(std::move(event));
}

// A live buffer is no longer live; the sums say so.
void Model::TakeOut(const Key& key, const Buffer& buffer) {
  if (buffer.imported) return;
  Account& account = accounts_.at({key.device, key.kind});
  const uint64_t reserved = buffer.bytes_per_bank * account.banks;
  account.freed.count += 1;
  account.freed.bytes_requested += buffer.bytes_requested;
  account.freed.bytes_reserved += reserved;
  account.live.count -= 1;
  account.live.bytes_requested -= buffer.bytes_requested;
  account.live.bytes_reserved -= reserved;
}

void Model::Alloc(const Operation& call) {
  Account& account = AccountOf(call);
  if (account.reporter != call.reporter) {
    Event event = MakeEvent(MEMTALLY_OP_DUPLICATE_REPORTER, call);
    event.account.reset();
    return Note(event, MEMTALLY_ANOMALY_DUPLICATE_REPORTER, call.bytes_requested);
  }
  const Key key{call.device, call.kind, call.id};
  const auto old = live_.find(key);
  if (old != live_.end()) {
    const Buffer replaced = old->second;
    TakeOut(key, replaced);
    live_.erase(old);
    Note(MakeEvent(MEMTALLY_OP_REPLACE, call), MEMTALLY_ANOMALY_REPLACED, replaced.bytes_requested);
  } else {
    Note(MakeEvent(MEMTALLY_OP_ALLOC, call));
  }
  live_[key] = {call.address, call.bytes_requested, call.bytes_per_bank, call.group,
                call.stack,   call.imported,        TagOf(call.thread),  ++order_};
  if (call.imported) return;
  const uint64_t reserved = call.bytes_per_bank * account.banks;
  account.allocated.count += 1;
  account.allocated.bytes_requested += call.bytes_requested;
  account.allocated.bytes_reserved += reserved;
  account.live.count += 1;
  account.live.bytes_requested += call.bytes_requested;
  account.live.bytes_reserved += reserved;
  account.peak_requested = std::max(account.peak_requested, account.live.bytes_requested);
  account.peak_reserved = std::max(account.peak_reserved, account.live.bytes_reserved);
}

void Model::Free(const Operation& call) {
  Event unknown;
  unknown.operation = MEMTALLY_OP_UNKNOWN_FREE;
  unknown.id = call.id;
  unknown.tag = TagOf(call.thread);

  std::vector<Key> candidates;
  if (call.action == Action::kFree) {
    if (AccountOf(call).reporter != call.reporter) {
      unknown.operation = MEMTALLY_OP_DUPLICATE_REPORTER;
      return Note(unknown, MEMTALLY_ANOMALY_DUPLICATE_REPORTER, 0);
    }
    unknown.account = {call.device, call.kind};
    candidates = {Key{call.device, call.kind, call.id}};
  } else {
    for (const auto& [name, account] : accounts_) {
      if (name.first == call.device && account.reporter == call.reporter) {
        candidates.push_back({name.first, name.second, call.id});
      }
    }
  }
  std::map<Key, Buffer>& buffers = devices_[call.device].closed ? released_ : live_;
  auto newest = buffers.end();
  int matches = 0;
  for (const Key& key : candidates) {
    const auto at = buffers.find(key);
    if (at == buffers.end()) continue;
    ++matches;
    if (newest == buffers.end() || at->second.order > newest->second.order) newest = at;
  }
  if (matches == 0) return Note(unknown, MEMTALLY_ANOMALY_UNKNOWN_FREE, 0);

  const Key key = newest->first;
  const Buffer buffer = newest->second;
  Operation freed = call;
  freed.kind = key.kind;
  freed.address = buffer.address;
  freed.bytes_requested = buffer.bytes_requested;
  freed.bytes_per_bank = buffer.bytes_per_bank;
  freed.group = buffer.group;
  buffers.erase(newest);
  if (devices_[call.device].closed) {
    return Note(MakeEvent(MEMTALLY_OP_AFTER_CLOSE, freed), MEMTALLY_ANOMALY_AFTER_CLOSE, buffer.bytes_requested);
  }
  TakeOut(key, buffer);
  if (matches > 1) {
    return Note(MakeEvent(MEMTALLY_OP_AMBIGUOUS_FREE, freed), MEMTALLY_ANOMALY_AMBIGUOUS, buffer.bytes_requested);
  }
  Note(MakeEvent(MEMTALLY_OP_FREE, freed));
}

void Model::Close(const Operation& call) {
  Device& device = devices_[call.device];
  if (device.closed) return;
  device.closed = true;
  ++device.closes;
  Event event;
  event.operation = MEMTALLY_OP_CLOSE;
  event.id = call.device;
  event.tag = TagOf(call.thread);
  Note(event);
  for (auto at = live_.begin(); at != live_.end();) {
    const auto& [key, buffer] = *at;
    if (key.device != call.device) {
      ++at;
      continue;
    }
    if (!buffer.imported) {
      Account& account = accounts_.at({key.device, key.kind});
      account.released.count += 1;
      account.released.bytes_requested += buffer.bytes_requested;
      account.released.bytes_reserved += buffer.bytes_per_bank * account.banks;
    }
    TakeOut(key, buffer);
    released_.insert(*at);
    at = live_.erase(at);
  }
}

void Model::MergeFrom(const Model& other) {
  const auto add = [](Amount* to, const Amount& from) {
    to->count += from.count;
    to->bytes_requested += from.bytes_requested;
    to->bytes_reserved += from.bytes_reserved;
  };
  for (const auto& [name, account] : other.accounts_) {
    const auto [at, is_new] = accounts_.emplace(name, account);
    if (is_new) continue;
    add(&at->second.live, account.live);
    add(&at->second.allocated, account.allocated);
    add(&at->second.freed, account.freed);
    add(&at->second.released, account.released);
    at->second.failed_allocations += account.failed_allocations;
    at->second.failed_requested += account.failed_requested;
  }
  live_.insert(other.live_.begin(), other.live_.end());
  released_.insert(other.released_.begin(), other.released_.end());
  for (size_t k = 0; k < anomalies_.size(); ++k) {
    anomalies_[k].count += other.anomalies_[k].count;
    anomalies_[k].bytes_requested += other.anomalies_[k].bytes_requested;
  }
  event_count_ += other.event_count_;
}

std::vector<std::string> Differences(const Model& model, const LedgerView& view, const Wanted& wanted) {
  Report report;
  for (const std::string& gap : view.gaps) report.Add("gap: " + gap);
  if (!view.totals_exact) report.Add("the view's totals are not exact");
  if (!view.buffers_exact) report.Add("the view's buffers are not exact");
  const TagPaths paths(view);
  CompareAccounts(model, view, wanted, &report);
  CompareBuffers(model, view, paths, wanted, &report);

  report.Expect("number of devices", model.devices().size(), view.devices.size());
  for (const LedgerDevice& device : view.devices) {
    if (device.index >= model.devices().size()) continue;
    const Device& expected = model.devices()[device.index];
    const std::string name = "device " + std::to_string(device.index) + " ";
    report.Expect(name + "closed", expected.closed, device.closed_at_ns.has_value());
    report.Expect(name + "closes", expected.closes, device.closes);
  }
  for (size_t k = 0; k < view.anomalies.size(); ++k) {
    const Anomaly& expected = model.anomalies()[k];
    const LedgerAnomaly& found = view.anomalies[k];
    const std::string name = "anomaly " + std::to_string(k) + " ";
    report.Expect(name + "count", expected.count, found.count);
    report.Expect(name + "bytes", expected.bytes_requested, found.bytes_requested);
    if (wanted.events != Wanted::Events::kOneLane) continue;
    report.Expect(name + "samples", expected.last.size(), found.last.size());
    for (size_t i = 0; i < std::min(expected.last.size(), found.last.size()); ++i) {
      const Event sample = FromView(found.last[i], view, paths);
      if (!Same(expected.last[i], sample)) {
        report.Add(name + "sample " + std::to_string(i) + ": model " + Text(expected.last[i]) + "; view " +
                   Text(sample));
      }
    }
  }
  const LedgerCounters& c = view.counters;
  report.Expect("losses", uint64_t{0},
                c.lost_events + c.lost_bytes + c.lost_tags + c.lost_groups + c.lost_registrations + c.signal_overflow +
                    c.paused_events + c.refused_pages + c.dropped_events + c.unread_events);
  if (c.events < model.event_count()) {
    report.Add("events: model " + std::to_string(model.event_count()) + ", view " + std::to_string(c.events));
  }
  if (wanted.events != Wanted::Events::kIgnore) CompareEvents(model, view, paths, wanted, &report);
  return report.Take();
}

std::vector<std::string> EventDifferences(const Model& model, const LedgerView& view, uint32_t thread_id) {
  Report report;
  CompareTail(model, OfThread(view, thread_id), view, TagPaths(view), true, &report);
  return report.Take();
}

uint64_t EventsOf(const LedgerView& view, uint32_t thread_id) { return OfThread(view, thread_id).size(); }

std::vector<std::string> BrokenInvariants(const LedgerView& view) {
  Report report;
  // Buffers that were copied at different moments may not fit together.
  if (view.totals_exact && (view.buffers_exact || view.buffers.empty())) {
    for (const std::string& gap : view.gaps) report.Add("gap: " + gap);
  }
  std::vector<Amount> listed(MEMTALLY_MAX_ACCOUNTS);
  std::vector<uint64_t> imported(MEMTALLY_MAX_ACCOUNTS);
  std::vector<uint32_t> banks(MEMTALLY_MAX_ACCOUNTS, 1);
  for (const LedgerAccount& account : view.accounts) banks[account.index] = account.banks;
  for (const LedgerBuffer& buffer : view.buffers) {
    if (buffer.released) continue;
    if (buffer.imported) {
      ++imported[buffer.account];
      continue;
    }
    Amount& sum = listed[buffer.account];
    sum.count += 1;
    sum.bytes_requested += buffer.bytes_requested;
    sum.bytes_reserved += buffer.bytes_per_bank * banks[buffer.account];
  }
  for (const LedgerAccount& a : view.accounts) {
    const std::string name = "device " + std::to_string(a.device) + " kind " + std::to_string(a.kind) + " ";
    if (view.totals_exact) {
      const Amount difference{a.allocated.count - a.freed.count, a.allocated.bytes_requested - a.freed.bytes_requested,
                              a.allocated.bytes_reserved - a.freed.bytes_reserved};
      report.Expect(name + "allocated - freed = live", difference, a.live);
      if (a.peak_requested + a.peak_requested_slack < a.live.bytes_requested ||
          a.peak_reserved + a.peak_reserved_slack < a.live.bytes_reserved) {
        report.Add(name + "peak below what is live");
      }
    }
    if (view.totals_exact && view.buffers_exact) {
      report.Expect(name + "sum of the buffers = live", listed[a.index], a.live);
      report.Expect(name + "imported buffers", imported[a.index], a.imported);
    }
  }
  return report.Take();
}

}  // namespace memtally::model
