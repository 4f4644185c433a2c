// SPDX-License-Identifier: Apache-2.0
//
// EventList: the flight recorders of some processes, merged in time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "collect/snapshot.hpp"
#include "tools/tag_paths.hpp"

namespace memtally::tools {

struct EventFilter {
  std::unique_ptr<TagPattern> tag;      // null any
  std::string kind;                     // "" any
  std::vector<std::string> operations;  // none: all that are of interest to people
};

// The names of all operations.
const std::vector<std::string>& OperationNames();

struct EventRow {
  const collect::Process* process = nullptr;
  uint32_t process_index = 0;  // of the processes that the list was made of
  const LedgerEvent* event = nullptr;
  const std::string* tag_path = nullptr;
  uint64_t missed = 0;  // of its lane, between this and the last event that was seen of it
};

// Remembers what has been seen, so that the next list has only what is new.
class EventCursor {
 public:
  // How many events before it were overwritten before they could be seen; UINT64_MAX if `event` itself has been seen.
  // REQUIRES: of each lane in the order of their numbers.
  uint64_t Advance(const collect::ProcessKey& process, const LedgerEvent& event);

 private:
  std::map<std::pair<collect::ProcessKey, uint32_t>, uint64_t> next_;  // by lane; number
};

// Points into the processes, which must outlive it.
class EventList {
 public:
  // With a `cursor`, of those events that it has not seen yet; it has seen all of them then.
  EventList(const std::vector<const collect::Process*>& processes, const EventFilter& filter,
            EventCursor* cursor = nullptr);

  // The oldest first.
  const std::vector<EventRow>& rows() const { return rows_; }

 private:
  std::vector<EventRow> rows_;
  std::vector<std::unique_ptr<TagPaths>> tag_paths_;  // by process
};

}  // namespace memtally::tools
