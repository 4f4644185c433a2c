// SPDX-License-Identifier: Apache-2.0
//
// LeakReport: what processes did not give back, by tag and kind, in lists that mean different things.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"
#include "tools/suppressions.hpp"
#include "tools/tag_paths.hpp"

namespace memtally::tools {

enum class LeakList {
  kKilled,    // held by processes that were killed or crashed, or executed another program
  kExited,    // left by processes that ended normally without closing their device
  kReleased,  // released because the device was closed: nothing is lost
  kSuspects,  // held for long by processes that go on
};
inline constexpr size_t kLeakLists = 4;

// "killed", "exited", "released", "suspects".
const char* LeakListName(LeakList list);

struct LeakHolder {
  const collect::Process* process = nullptr;
  uint64_t buffers = 0;
  uint64_t bytes_reserved = 0;
};

// All buffers of one list, kind and tag.
struct LeakRow {
  std::string tag_path;
  std::string kind;
  bool adds_up = true;  // its bytes are device memory of their own: its buffers neither share addresses nor nest
  bool listed = true;   // false: buffers that a close released, and that the ledger only counts by now
  Amount amount;
  std::optional<uint64_t> oldest_ns;  // ages; none where nothing is known of them
  std::optional<uint64_t> newest_ns;
  std::vector<LeakHolder> holders;        // the one with most first
  std::optional<uint32_t> suppressed_by;  // line of the file
};

struct LeakFilter {
  std::string kind;                       // "" any
  std::unique_ptr<TagPattern> tag;        // null any
  std::optional<uint64_t> older_than_ns;  // of suspects; none: no suspects
};

class LeakReport {
 public:
  // `suppressions` may be null; counts their uses.  Points into the processes, which must outlive it.
  LeakReport(const collect::Snapshot& machine, const std::vector<const collect::Process*>& processes,
             const LeakFilter& filter, Suppressions* suppressions);

  // The largest first; suppressed ones, too.
  const std::vector<LeakRow>& rows(LeakList list) const { return rows_[static_cast<size_t>(list)]; }
  // Of the rows that are not suppressed: their buffers, and the bytes of those that add up.
  Amount Sum(LeakList list) const;
  // The same of the rows that are.
  Amount SuppressedSum() const;
  // Whether something leaked that is not suppressed.  What a close released and suspects are no leaks.
  bool HasLeaks() const;

 private:
  std::array<std::vector<LeakRow>, kLeakLists> rows_;
};

// Whether the report needs the buffers of the process.
bool MayHaveLeaked(const collect::Process& process, const LeakFilter& filter);

}  // namespace memtally::tools
