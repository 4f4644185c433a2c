// SPDX-License-Identifier: Apache-2.0
//
// Model: what a snapshot means under what a person has chosen; made once, drawn often.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"
#include "tools/top/detail_table.hpp"
#include "tools/top/process_list.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

// A line that stands above everything else, because nobody should overlook it.
struct BannerLine {
  std::string text;
  Role role = Role::kWarning;
};

class Model {
 public:
  // Makes what has changed, and puts the cursors of *state onto lines that are there.
  void Update(std::shared_ptr<const collect::Snapshot> snapshot, TopState* state);

  // REQUIRES: after the first Update.
  const collect::Snapshot& snapshot() const { return *snapshot_; }
  const ProcessList& list() const { return list_; }
  const std::vector<BannerLine>& banner() const { return banner_; }
  // Of the opened process; null if none is opened, or it is not there any more.
  const collect::Process* opened() const { return opened_; }
  const DetailTable& detail() const { return detail_; }

 private:
  struct DetailKey {
    std::optional<collect::ProcessKey> process;
    Tab tab = Tab::kTags;
    TagFolds folds;
    bool operator==(const DetailKey&) const = default;
  };

  std::shared_ptr<const collect::Snapshot> snapshot_;
  ProcessList list_;
  std::vector<BannerLine> banner_;
  const collect::Process* opened_ = nullptr;
  DetailTable detail_;
  DetailKey detail_key_;
};

// What went wrong in any process, shown or not, and what could not be read.
std::vector<BannerLine> BuildBanner(const collect::Snapshot& snapshot);

// The process on which the cursor of the list stands; null on a heading or an empty list.
const ProcessRow* SelectedRow(const Model& model, const TopState& state);

}  // namespace memtally::tools::top
