// SPDX-License-Identifier: Apache-2.0
//
// What one process's ledger must say, kept in the plainest way: maps of buffers and one list of events.
//
// A Model is fed with the same operations as the tracker, in the order in which they took effect.  It knows nothing of
// lanes, slots or undo.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

namespace memtally::model {

enum class Action : uint8_t {
  kAlloc,
  kFree,
  kFreeAnyKind,
  kFail,
  kMark,
  kClose,
  kReopen,
  kPushTag,
  kPopTag,
  kNoteAfterClose,  // part of an allocation on a closed device; never an operation of its own
};

// One call of the C API.
struct Operation {
  Action action = Action::kMark;
  uint32_t thread = 0;
  uint32_t device = 0;    // index in the ledger
  uint32_t reporter = 0;  // which of the device's reporters calls
  uint32_t kind = 0;
  uint64_t id = 0;
  uint64_t address = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
  uint64_t group = 0;
  uint32_t stack = 0;
  bool imported = false;
  const char* name = "";  // of a mark or a tag
};
std::string Describe(const Operation& operation);

struct Key {
  uint32_t device;
  uint32_t kind;
  uint64_t id;
  auto operator<=>(const Key&) const = default;
};

struct Buffer {
  uint64_t address = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
  uint64_t group = 0;
  uint32_t stack = 0;
  bool imported = false;
  std::string tag;     // path
  uint64_t order = 0;  // of allocation; not compared with a view
};

struct Account {
  uint32_t device = 0;
  uint32_t kind = 0;
  uint32_t banks = 1;
  uint64_t capacity_bytes = 0;
  uint64_t capacity_bytes_per_bank = 0;
  uint32_t reporter = 0;  // the owner
  Amount live, allocated, freed, released;
  uint64_t peak_requested = 0;
  uint64_t peak_reserved = 0;
  uint64_t failed_allocations = 0;
  uint64_t failed_requested = 0;
};

struct Event {
  uint32_t operation = 0;
  uint64_t id = 0;
  uint64_t address = 0;
  uint64_t bytes_requested = 0;  // cut to what an event holds
  uint64_t bytes_per_bank = 0;
  std::optional<std::pair<uint32_t, uint32_t>> account;  // device and kind
  std::string tag;
  uint32_t group_low = 0;
};

struct Anomaly {
  uint64_t count = 0;
  uint64_t bytes_requested = 0;
  std::deque<Event> last;  // at most 4
};

struct Device {
  bool closed = false;
  uint32_t closes = 0;
};

class Model {
 public:
  void AddDevice() { devices_.emplace_back(); }
  void AddAccount(uint32_t device, uint32_t kind, uint64_t capacity_bytes, uint32_t banks,
                  uint64_t capacity_bytes_per_bank, uint32_t reporter);

  // The steps that a call takes, each of which is seen whole or not at all; nearly always the call itself.
  std::vector<Operation> StepsOf(const Operation& operation) const;
  void ApplyStep(const Operation& step);
  void Apply(const Operation& operation) {
    for (const Operation& step : StepsOf(operation)) ApplyStep(step);
  }

  // Adds what another model of the same devices has, for threads that share no id.  Peaks and events are not merged.
  void MergeFrom(const Model& other);

  const std::map<Key, Buffer>& live() const { return live_; }
  const std::map<Key, Buffer>& released() const { return released_; }
  const std::map<std::pair<uint32_t, uint32_t>, Account>& accounts() const { return accounts_; }
  const std::vector<Device>& devices() const { return devices_; }
  const std::array<Anomaly, MEMTALLY_ANOMALIES>& anomalies() const { return anomalies_; }
  // The last events, at most kEventsKept, oldest first.
  const std::deque<Event>& events() const { return events_; }
  uint64_t event_count() const { return event_count_; }
  static constexpr size_t kEventsKept = 2 * MEMTALLY_RING_EVENTS_FIRST;

 private:
  Account& AccountOf(const Operation& operation);
  std::string TagOf(uint32_t thread) const;
  Event MakeEvent(uint32_t operation, const Operation& call) const;
  void Note(Event event);
  void Note(Event event, memtally_anomaly anomaly, uint64_t bytes_requested);
  void Alloc(const Operation& call);
  void Free(const Operation& call);
  void TakeOut(const Key& key, const Buffer& buffer);
  void Close(const Operation& call);

  std::vector<Device> devices_;
  std::map<std::pair<uint32_t, uint32_t>, Account> accounts_;
  std::map<Key, Buffer> live_;
  std::map<Key, Buffer> released_;  // of closed devices
  std::array<Anomaly, MEMTALLY_ANOMALIES> anomalies_;
  std::deque<Event> events_;
  uint64_t event_count_ = 0;
  uint64_t order_ = 0;
  std::map<uint32_t, std::vector<std::string>> tags_;  // of each thread
};

// What a comparison looks at besides buffers, sums and counters.
struct Wanted {
  enum class Peaks { kIgnore, kExact, kWithinSlack };
  enum class Events { kIgnore, kOneLane, kByTime };
  Peaks peaks = Peaks::kExact;
  // kOneLane: all lie in lane 0, in order.  kByTime: over all lanes, ordered by time; none may have been overwritten.
  Events events = Events::kOneLane;
  // A call that opens a device was interrupted: the list of what its closing released may be incomplete.
  bool released_may_be_missing = false;
  // A call that is the first to use a kind was interrupted: its account may be there, with nothing in it.
  bool empty_accounts_may_show = false;
};

// In words, at most a few; empty if the view says what the model says.
std::vector<std::string> Differences(const Model& model, const LedgerView& view, const Wanted& wanted = {});

// The events of one kernel thread in a view, by time and without the tracker's own, against a model that was fed with
// that thread's operations alone.  None may have been overwritten.
std::vector<std::string> EventDifferences(const Model& model, const LedgerView& view, uint32_t thread_id);
uint64_t EventsOf(const LedgerView& view, uint32_t thread_id);

// What must hold in any view with exact totals (and buffers), whatever the process did.
std::vector<std::string> BrokenInvariants(const LedgerView& view);

std::string Join(const std::vector<std::string>& lines);

}  // namespace memtally::model
