// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_check.hpp"

#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "collect/snapshot.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr size_t kMaxBufferDifferences = 10;  // of one account; the rest is counted

struct Sum {
  uint64_t count = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
};

std::string NameOf(const LedgerView& ledger, const LedgerAccount& account) {
  const int32_t chip = account.device < ledger.devices.size() ? ledger.devices[account.device].local_index : -1;
  const LedgerKind* kind = ledger.kind(account.kind);
  return fmt::format("chip {} {}", chip, kind ? TerminalText(kind->name, 40) : std::to_string(account.kind));
}

const LedgerAccount* FindAccount(const LedgerView& ledger, int32_t chip, const std::string& kind_name) {
  for (const LedgerAccount& account : ledger.accounts) {
    if (account.device >= ledger.devices.size() || ledger.devices[account.device].local_index != chip) continue;
    const LedgerKind* kind = ledger.kind(account.kind);
    if (kind && kind->name == kind_name) return &account;
  }
  return nullptr;
}

bool IsLive(const LedgerBuffer& buffer) { return !buffer.imported && !buffer.released; }

Sum SumOfBuffers(const LedgerView& ledger, uint32_t account) {
  Sum sum;
  for (const LedgerBuffer& buffer : ledger.buffers) {
    if (buffer.account != account || !IsLive(buffer)) continue;
    ++sum.count;
    sum.bytes_requested += buffer.bytes_requested;
    sum.bytes_per_bank += buffer.bytes_per_bank;
  }
  return sum;
}

class Comparison {
 public:
  Comparison(std::string subject, Differences* differences) : subject_(std::move(subject)), differences_(differences) {}

  void Equal(const char* what, uint64_t found, uint64_t expected) {
    if (found != expected) Say(fmt::format("{} is {}, expected {}", what, found, expected));
  }
  void Say(std::string_view text) { differences_->push_back(fmt::format("{}: {}", subject_, text)); }

 private:
  std::string subject_;
  Differences* differences_;
};

std::string Shown(const TraceModel::Buffer& buffer) {
  return fmt::format("address {}, {} bytes requested, {} a bank", buffer.address, buffer.bytes_requested,
                     buffer.bytes_per_bank);
}

// Names that a ledger cuts cannot be compared.
bool TagsAreWhole(const LedgerView& ledger, const Trace& trace) {
  if (ledger.counters.lost_tags != 0) return false;
  for (const std::string& tag : trace.tags) {
    if (tag.size() > 115) return false;
  }
  return true;
}

void CompareBuffers(const LedgerView& ledger, const LedgerAccount& account, const TraceModel& model,
                    const TraceModel::Account& expected, bool with_tags, Comparison* comparison) {
  size_t said = 0;
  const auto say = [&](const std::string& text) {
    if (said++ < kMaxBufferDifferences) comparison->Say(text);
  };
  std::unordered_map<uint64_t, const LedgerBuffer*> found;
  for (const LedgerBuffer& buffer : ledger.buffers) {
    if (buffer.account != account.index || !IsLive(buffer)) continue;
    if (!found.emplace(buffer.id, &buffer).second) say(fmt::format("buffer {} is there twice", buffer.id));
    if (!expected.live.contains(buffer.id)) say(fmt::format("buffer {} is live, but was freed", buffer.id));
  }
  for (const auto& [id, buffer] : expected.live) {
    const auto entry = found.find(id);
    if (entry == found.end()) {
      say(fmt::format("buffer {} is missing ({})", id, Shown(buffer)));
      continue;
    }
    const LedgerBuffer& there = *entry->second;
    const TraceModel::Buffer as_found{there.address, there.bytes_requested, there.bytes_per_bank, 0};
    if (Shown(as_found) != Shown(buffer)) {
      say(fmt::format("buffer {} has {}, expected {}", id, Shown(as_found), Shown(buffer)));
    } else if (with_tags && ledger.tag_path(there.tag) != model.tag_path(buffer.tag)) {
      say(fmt::format("buffer {} has the tag '{}', expected '{}'", id, TerminalText(ledger.tag_path(there.tag), 80),
                      TerminalText(model.tag_path(buffer.tag), 80)));
    }
  }
  if (said > kMaxBufferDifferences) comparison->Say(fmt::format("{} more such", said - kMaxBufferDifferences));
}

void ComparePeak(const char* what, uint64_t found, uint64_t slack, uint64_t expected, Comparison* comparison) {
  if (found <= expected && expected <= found + slack) return;
  comparison->Say(fmt::format("{} is {} with a slack of {}, expected {}", what, found, slack, expected));
}

void CompareAccount(const LedgerView& ledger, const LedgerAccount& account, const TraceModel& model,
                    const TraceModel::Account& expected, bool with_tags, Differences* differences) {
  Comparison comparison(NameOf(ledger, account), differences);
  comparison.Equal("banks", account.banks, expected.banks);
  comparison.Equal("capacity", account.capacity_bytes, expected.capacity_bytes);
  comparison.Equal("number of live buffers", account.live.count, expected.live_total.count);
  comparison.Equal("live requested", account.live.bytes_requested, expected.live_total.bytes_requested);
  comparison.Equal("live reserved", account.live.bytes_reserved, expected.live_total.bytes_per_bank * expected.banks);
  comparison.Equal("number of allocations", account.allocated.count, expected.allocated.count);
  comparison.Equal("allocated requested", account.allocated.bytes_requested, expected.allocated.bytes_requested);
  comparison.Equal("allocated reserved", account.allocated.bytes_reserved,
                   expected.allocated.bytes_per_bank * expected.banks);
  comparison.Equal("number of failed allocations", account.failed_allocations, expected.failed_allocations);
  comparison.Equal("failed requested", account.failed_requested, expected.failed_requested);
  ComparePeak("peak requested", account.peak_requested, account.peak_requested_slack, expected.peak_requested,
              &comparison);
  ComparePeak("peak reserved", account.peak_reserved, account.peak_reserved_slack, expected.peak_reserved, &comparison);
  CompareBuffers(ledger, account, model, expected, with_tags, &comparison);
}

}  // namespace

void CompareWithView(const LedgerView& ledger, const Trace& trace, const TraceView& view, Differences* differences) {
  for (const TraceView::Entry& entry : view.entries) {
    const std::string& kind_name = trace.kind_names[entry.kind];
    Comparison comparison(fmt::format("view {}, chip 0 {}", TerminalText(view.name, 40), TerminalText(kind_name, 40)),
                          differences);
    const LedgerAccount* account = FindAccount(ledger, 0, kind_name);
    if (!account) {
      comparison.Say("the ledger has no such device and kind");
      continue;
    }
    const Sum sum = SumOfBuffers(ledger, account->index);
    comparison.Equal("sum of live bytes a bank", sum.bytes_per_bank, entry.bytes_per_bank);
    comparison.Equal("banks", account->banks, entry.banks);
    comparison.Equal("live reserved", account->live.bytes_reserved, entry.bytes_per_bank * entry.banks);
    comparison.Equal("live requested", account->live.bytes_requested, sum.bytes_requested);
    comparison.Equal("number of live buffers", account->live.count, sum.count);
  }
}

void CompareWithAnomaly(const LedgerView& ledger, const TraceAnomaly& anomaly, Differences* differences) {
  Comparison comparison(fmt::format("anomaly {}", collect::AnomalyName(anomaly.anomaly)), differences);
  comparison.Equal("count", ledger.anomalies[anomaly.anomaly].count, anomaly.count);
}

void CompareWithModel(const LedgerView& ledger, const Trace& trace, const TraceModel& model, Differences* differences) {
  const bool with_tags = TagsAreWhole(ledger, trace);
  size_t known = 0;
  for (const auto& [key, expected] : model.accounts()) {
    const int32_t chip = trace.chips[key.first];
    const LedgerAccount* account = FindAccount(ledger, chip, trace.kind_names[key.second]);
    if (!account) {
      differences->push_back(fmt::format("chip {} {}: the ledger has no such device and kind", chip,
                                         TerminalText(trace.kind_names[key.second], 40)));
      continue;
    }
    ++known;
    CompareAccount(ledger, *account, model, expected, with_tags, differences);
  }
  if (known != ledger.accounts.size()) {
    differences->push_back(
        fmt::format("the ledger has {} devices and kinds, expected {}", ledger.accounts.size(), known));
  }
  for (uint32_t i = 0; i < MEMTALLY_ANOMALIES; ++i) {
    Comparison comparison(fmt::format("anomaly {}", collect::AnomalyName(i)), differences);
    comparison.Equal("count", ledger.anomalies[i].count, model.anomaly(i));
  }
}

void CheckConsistency(const LedgerView& ledger, Differences* differences) {
  if (!ledger.totals_exact) differences->push_back("the totals are marked inexact, though the process stands still");
  if (!ledger.buffers_exact) differences->push_back("the buffers are marked inexact, though the process stands still");
  for (const std::string& gap : ledger.gaps) differences->push_back("a gap: " + TerminalText(gap, 200));
  for (const LedgerAccount& account : ledger.accounts) {
    Comparison comparison(NameOf(ledger, account), differences);
    const Sum sum = SumOfBuffers(ledger, account.index);
    const Amount &live = account.live, &allocated = account.allocated, &freed = account.freed;
    comparison.Equal("sum of live buffers, requested,", sum.bytes_requested, live.bytes_requested);
    comparison.Equal("sum of live buffers, reserved,", sum.bytes_per_bank * account.banks, live.bytes_reserved);
    comparison.Equal("number of live buffers in the table", sum.count, live.count);
    comparison.Equal("allocated - freed, requested,", allocated.bytes_requested - freed.bytes_requested,
                     live.bytes_requested);
    comparison.Equal("allocated - freed, reserved,", allocated.bytes_reserved - freed.bytes_reserved,
                     live.bytes_reserved);
    comparison.Equal("allocations - frees", allocated.count - freed.count, live.count);
  }
  Comparison comparison("losses", differences);
  comparison.Equal("lost events", ledger.counters.lost_events, 0);
  comparison.Equal("lost registrations", ledger.counters.lost_registrations, 0);
  comparison.Equal("signal overflow", ledger.counters.signal_overflow, 0);
}

}  // namespace memtally::tools
