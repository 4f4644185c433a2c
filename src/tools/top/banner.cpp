// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/terminal_text.hpp"
#include "tools/top/model.hpp"

namespace memtally::tools::top {
namespace {

// Some processes, by name, as long as they are few.
class Names {
 public:
  void Add(const collect::Process& process) {
    constexpr size_t kMost = 3;
    ++count_;
    if (count_ > kMost) return;
    text_ +=
        fmt::format("{}{} {}", text_.empty() ? "" : ", ", TerminalText(process.facts.identity.comm, 16), process.pid);
    if (process.facts.liveness == Liveness::kDead) text_ += " (dead)";
  }
  bool empty() const { return count_ == 0; }
  std::string Text() const { return count_ <= 3 ? text_ : fmt::format("{} and {} more", text_, count_ - 3); }

 private:
  size_t count_ = 0;
  std::string text_;
};

// Counts by name, in the order in which they came.
class Counts {
 public:
  void Add(const char* name, uint64_t count) {
    if (count == 0) return;
    for (auto& [known, sum] : counts_) {
      if (known == name) {
        sum += count;
        return;
      }
    }
    counts_.emplace_back(name, count);
  }
  bool empty() const { return counts_.empty(); }
  std::string Text() const {
    std::string text;
    for (const auto& [name, sum] : counts_) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, sum);
    return text;
  }

 private:
  std::vector<std::pair<std::string, uint64_t>> counts_;
};

}  // namespace

std::vector<BannerLine> BuildBanner(const collect::Snapshot& snapshot) {
  Counts anomalies;
  Counts losses;
  Names with_anomalies;
  Names with_losses;
  Names with_failures;
  uint64_t failed = 0;
  bool only_after_close = true;
  for (const collect::Process& process : snapshot.processes) {
    const LedgerView& facts = process.facts;
    for (uint32_t i = 0; i < facts.anomalies.size(); ++i) {
      if (i == MEMTALLY_ANOMALY_FAILED_ALLOC) continue;
      anomalies.Add(collect::AnomalyName(i), facts.anomalies[i].count);
      // Many programs free at their end what the close of the device has already freed.
      if (i != MEMTALLY_ANOMALY_AFTER_CLOSE && facts.anomalies[i].count != 0) only_after_close = false;
    }
    if (Anomalies(facts) != 0) with_anomalies.Add(process);
    bool has_loss = !facts.gaps.empty();
    losses.Add("gaps", facts.gaps.size());
    for (const collect::NamedCount& loss : collect::Losses(facts.counters)) {
      losses.Add(loss.name, loss.count);
      has_loss = has_loss || loss.count != 0;
    }
    if (has_loss) with_losses.Add(process);
    const uint64_t failures = FailedAllocations(facts);
    failed += failures;
    if (failures != 0) with_failures.Add(process);
  }

  std::vector<BannerLine> banner;
  if (failed != 0) {
    banner.push_back({fmt::format("{} allocation{} failed: {}", failed, failed == 1 ? "" : "s", with_failures.Text()),
                      Role::kCritical});
  }
  if (!anomalies.empty()) {
    banner.push_back({fmt::format("anomalies: {}: {}", anomalies.Text(), with_anomalies.Text()),
                      only_after_close ? Role::kDim : Role::kWarning});
  }
  if (!losses.empty()) {
    banner.push_back({fmt::format("not recorded: {}: {}", losses.Text(), with_losses.Text()), Role::kWarning});
  }
  for (const collect::Problem& problem : snapshot.problems) {
    const size_t more = snapshot.problems.size() - 1;
    banner.push_back({fmt::format("cannot read: {}{}", TerminalText(problem.error.what, 200),
                                  more == 0 ? "" : fmt::format(" (and {} more)", more)),
                      Role::kWarning});
    break;
  }
  return banner;
}

}  // namespace memtally::tools::top
