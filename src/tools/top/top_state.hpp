// SPDX-License-Identifier: Apache-2.0
//
// TopState: what a person has chosen to look at.  Changed by keys alone (key_handler.hpp); drawing only reads it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "collect/snapshot.hpp"
#include "tools/top/history.hpp"
#include "tools/top/line_editor.hpp"
#include "tools/top/process_list.hpp"
#include "tools/top/row_filter.hpp"
#include "tools/top/tag_tree.hpp"

namespace memtally::tools::top {

enum class View : uint8_t { kMachine, kProcess };

// What is shown of one process.
enum class Tab : uint8_t { kTags, kKinds, kSizes, kLargest, kOldest, kAnomalies, kFailed, kEvents };
inline constexpr size_t kTabs = 8;
inline constexpr std::array<const char*, kTabs> kTabNames = {"Tags",   "Kinds",     "Sizes",  "Largest",
                                                             "Oldest", "Anomalies", "Failed", "Events"};

enum class Question : uint8_t { kNone, kFilter, kFile, kKill };

// A process and what to send it, as the person was asked.
struct KillOrder {
  collect::ProcessKey process{};
  std::string ledger;        // its file
  uint32_t pid = 0;          // in this process's namespace
  uint64_t start_ticks = 0;  // 0 unknown
  std::string command;       // safe for a terminal
  size_t signal = 0;         // index into kKillSignals
};

// A place in a list that is longer than the screen.
struct ListPlace {
  size_t cursor = 0;
  size_t first = 0;  // the first line that is shown
};

struct TopState {
  // Set at the start.
  std::set<int32_t> devices;  // only these, by the programs' own numbers; empty: all
  bool read_only = false;     // nothing is sent to any process
  uint64_t refresh_ms = 500;

  // The machine.
  View view = View::kMachine;
  SortOrder sort;
  bool tree = false;
  bool by_memory = false;  // a column for each memory
  bool all_dead = false;
  bool show_path = false;
  std::shared_ptr<const RowFilter> filter;
  std::optional<collect::ProcessKey> selected;  // follows its process; none until the person moves
  ListPlace list;                               // lines of the ProcessList; cursor: where `selected` was last
  size_t first_device_line = 0;

  // One process.
  std::optional<collect::ProcessKey> opened;
  Tab tab = Tab::kTags;
  std::array<ListPlace, kTabs> places;
  TagFolds folds;

  // Over both.
  bool help = false;
  ListPlace help_place;
  bool paused = false;
  Question question = Question::kNone;
  LineEditor line;  // the answer
  KillOrder kill;
  std::string message;  // until the next key; safe for a terminal
  bool message_is_bad = false;

  History history;
};

}  // namespace memtally::tools::top
