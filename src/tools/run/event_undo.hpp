// SPDX-License-Identifier: Apache-2.0
//
// EventUndo: what processes held a moment ago.
//
// It starts from the state that ledgers show and takes the events of their flight recorders back, the newest first:
// within a lane in their order, across lanes and processes by time.  After each step the state is one that there really
// was, until a recorder ends; then nothing before is certain, and no further step is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include <memtally/ledger_reader.hpp>

namespace memtally::tools {

// The tag of a buffer that was freed, and whose allocation nobody saw.
inline constexpr uint32_t kUnknownTag = UINT32_MAX;

// What is known of a buffer beside its key.
struct BufferMemory {
  uint32_t tag = kUnknownTag;
  bool imported = false;
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
};

// Live buffers of a process as an earlier reading found them: says what an event that frees one of them does not.
class EarlierBuffers {
 public:
  EarlierBuffers() = default;
  explicit EarlierBuffers(const LedgerView& view);

  // What was known of a buffer, if its lane's events from then on until `first_event` were all seen.
  std::optional<BufferMemory> Find(uint32_t account, uint64_t id, uint32_t lane, uint64_t first_event) const;

 private:
  struct Entry {
    uint64_t id;
    uint32_t account;
    BufferMemory memory;
  };
  std::vector<Entry> entries_;         // by account, then id
  std::vector<uint64_t> lane_events_;  // that had happened then
};

class EventUndo {
 public:
  struct Source {
    const LedgerView* view = nullptr;         // read at ReadLevel::kAll
    const EarlierBuffers* earlier = nullptr;  // may be null
  };

  // `with_tags`: keeps what is held by tag, too, which costs more.  The views outlive this.
  EventUndo(const std::vector<Source>& sources, bool with_tags);

  // When the event happened that StepBack will take back; nothing if there is none.
  std::optional<uint64_t> NextNs() const;

  // Takes the next older event back.  False: nothing before the present state is certain.
  bool StepBack();

  // Whether all views are of one instant each.  If not, no step can be made.
  bool is_exact() const { return is_exact_; }

  // ---- the event that the last StepBack took back
  size_t source() const { return last_source_; }
  const LedgerEvent& event() const { return *last_event_; }
  // By place among the view's accounts: whose live sum it changed, and whether that sum was certain before.
  std::optional<size_t> changed() const { return changed_; }

  // ---- the present state
  // False: a close, or a damaged event, hides what this account (by place) held before.
  bool IsCertain(size_t source, size_t account) const { return state_[source].accounts[account].certain; }
  const Amount& Live(size_t source, size_t account) const { return state_[source].accounts[account].live; }

  struct Holding {
    size_t source = 0;
    size_t account = 0;  // by place
    uint32_t tag = 0;
    Amount amount;
  };
  // REQUIRES: with_tags.  Of certain accounts; in no particular order.
  std::vector<Holding> Holdings() const;

 private:
  struct Account {
    Amount live;
    Amount released;
    uint64_t banks = 1;
    uint32_t device = 0;
    bool ever_released = false;
    bool certain = true;
  };
  using ByTag = std::unordered_map<uint64_t, Amount>;  // key: place << 32 | tag
  struct State {
    std::vector<Account> accounts;                    // by place
    std::unordered_map<uint32_t, uint32_t> place_of;  // of an account's number
    std::vector<bool> closed;                         // by device; as of the present state
    std::unordered_map<size_t, BufferMemory> gone;    // by event: the buffer that it freed, where something is known
    ByTag live;
    ByTag released;  // of closed devices
  };
  struct Stream {  // the events of one lane, not yet taken back
    size_t source;
    size_t begin;
    size_t end;
  };

  const Stream* Latest() const;
  void AddState(const Source& source);
  void AddStreams(size_t source);
  void FindGone(size_t source, size_t begin, size_t end);
  void Undo(State* state, const LedgerView& view, size_t index);
  void Give(State* state, uint32_t place, const BufferMemory& buffer);
  void Take(State* state, uint32_t place, const BufferMemory& buffer);
  void UndoClose(State* state, uint32_t device);

  std::vector<Source> sources_;
  bool with_tags_;
  std::vector<State> state_;
  std::vector<Stream> streams_;
  bool is_exact_ = true;
  bool ended_ = false;
  size_t last_source_ = 0;
  const LedgerEvent* last_event_ = nullptr;
  std::optional<size_t> changed_;
};

}  // namespace memtally::tools
