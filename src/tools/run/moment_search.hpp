// SPDX-License-Identifier: Apache-2.0
//
// MomentSearch: who held what when a sum was highest, and when an allocation failed, as far as flight recorders reach
// back from now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "tools/run/event_undo.hpp"
#include "tools/run/run_facts.hpp"

namespace memtally::tools {

inline constexpr size_t kNoPlace = SIZE_MAX;

// What an account of a process is, seen from the machine.
struct AccountPlace {
  size_t device = kNoPlace;      // of RunFacts::devices
  size_t kind_place = kNoPlace;  // of RunFacts::places; none for processes outside the launch
  size_t memory_place = kNoPlace;
  std::string kind;
  std::string memory;
  bool in_memory = true;  // its bytes count in its memory: no overlapping, nested or host kind
};

class MomentSearch {
 public:
  // One process, read at ReadLevel::kAll.
  struct Source {
    const LedgerView* view = nullptr;
    const EarlierBuffers* earlier = nullptr;              // may be null
    const std::vector<AccountPlace>* accounts = nullptr;  // by place in view->accounts
    size_t holder = 0;
    uint64_t true_until_ns = 0;  // what the view shows was so until then at least: when its reading began, or its end
    uint64_t dead_from_ns = 0;   // it was dead from then on at the latest; UINT64_MAX: it lives
  };

  // A place whose highest sum is wanted.
  struct Wish {
    size_t place = 0;
    std::pair<uint64_t, bool> above;  // only if it was higher than that, or as high and, other than this, exact
    bool by_requested = false;        // by requested bytes instead of reserved ones
    uint64_t not_before_ns = 0;       // where several processes are in it: an earlier one has ended then
  };

  // An allocation that failed: the event in a flight recorder, if it is still there.
  struct Failure {
    size_t source = 0;
    uint32_t lane = 0;
    std::optional<uint64_t> event;  // its number
    size_t account = 0;             // by place in the source's accounts
    uint64_t time_ns = 0;
  };

  explicit MomentSearch(std::vector<Source> sources) : sources_(std::move(sources)) {}

  // For each wish the moment of the highest sum, if there was one above what was asked for.
  // For each failure what was held in the same memory of the same device: then, or now, which is not exact.
  void Search(const std::vector<Wish>& wishes, const std::vector<Failure>& failures,
              std::vector<std::optional<Moment>>* highest, std::vector<Moment>* at_failure) const;

 private:
  class Timeline;
  // A state of the timeline that is wanted.
  struct Stop {
    bool found = false;
    size_t step = 0;  // after so many events were taken back
    uint64_t time_ns = 0;
    bool consistent = false;  // it is of one instant
    std::vector<bool> there;  // which sources lived then
  };
  struct Peak : Stop {
    uint64_t bytes = 0;
  };
  template <typename Accept>
  Moment Capture(const std::vector<EventUndo::Holding>& holdings, const std::vector<bool>& there,
                 const Accept& accept) const;
  std::vector<EventUndo::Source> UndoSources() const;

  std::vector<Source> sources_;
};

}  // namespace memtally::tools
