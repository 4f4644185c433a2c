// SPDX-License-Identifier: Apache-2.0
#include "tools/leak_report.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>

#include "collect/snapshot_json.hpp"

namespace memtally::tools {
namespace {

void AddUp(const Amount& amount, Amount* sum) {
  const auto add = [](uint64_t more, uint64_t* to) {
    if (__builtin_add_overflow(*to, more, to)) *to = UINT64_MAX;
  };
  add(amount.count, &sum->count);
  add(amount.bytes_requested, &sum->bytes_requested);
  add(amount.bytes_reserved, &sum->bytes_reserved);
}

// Buffers count, whatever they are; bytes only if they are bytes of a memory.
void AddRow(const LeakRow& row, Amount* sum) { AddUp(row.adds_up ? row.amount : Amount{row.amount.count, 0, 0}, sum); }

uint64_t Minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

// The list of a process's live buffers; none if they are no concern.
std::optional<LeakList> ListOf(const LedgerView& facts, const LeakFilter& filter) {
  if (facts.liveness == Liveness::kAlive) {
    if (!filter.older_than_ns) return std::nullopt;
    return LeakList::kSuspects;
  }
  return facts.liveness == Liveness::kDead && facts.exited_normally ? LeakList::kExited : LeakList::kKilled;
}

// Rows in the making.
class Sorter {
 public:
  using Key = std::tuple<LeakList, std::string, std::string, bool>;  // kind, tag, listed

  Sorter(const collect::Snapshot& machine, const LeakFilter& filter) : machine_(machine), filter_(filter) {}

  void Add(const collect::Process& process) {
    const LedgerView& facts = process.facts;
    const std::optional<LeakList> live_list = ListOf(facts, filter_);
    TagPaths paths(facts, filter_.tag.get());
    std::map<uint32_t, Amount> released;  // that are still listed, by account
    for (const LedgerBuffer& buffer : facts.buffers) {
      const LedgerAccount* account = collect::AccountAt(facts, buffer.account);
      if (account == nullptr || buffer.imported) continue;
      const Amount amount = {1, buffer.bytes_requested, collect::ReservedBytes(account, buffer.bytes_per_bank)};
      if (buffer.released) AddUp(amount, &released[account->index]);
      const std::optional<LeakList> list = buffer.released ? LeakList::kReleased : live_list;
      if (!list || !IsWanted(collect::KindName(facts, account->kind)) || !paths.Matches(buffer.tag)) continue;
      const std::optional<uint64_t> age_ns = collect::AgeNs(machine_, facts, buffer.time_ns);
      if (list == LeakList::kSuspects && (!age_ns || *age_ns < *filter_.older_than_ns)) continue;
      Put({*list, collect::KindName(facts, account->kind), paths.Of(buffer.tag), true}, process, *account, amount,
          age_ns);
    }
    if (filter_.tag == nullptr) AddUnlisted(process, released);
  }

  std::array<std::vector<LeakRow>, kLeakLists> Take() {
    std::array<std::vector<LeakRow>, kLeakLists> lists;
    for (auto& [key, row] : rows_) {
      std::stable_sort(row.holders.begin(), row.holders.end(),
                       [](const LeakHolder& a, const LeakHolder& b) { return a.bytes_reserved > b.bytes_reserved; });
      lists[static_cast<size_t>(std::get<0>(key))].push_back(std::move(row));
    }
    for (std::vector<LeakRow>& list : lists) {
      std::stable_sort(list.begin(), list.end(), [](const LeakRow& a, const LeakRow& b) {
        if (a.amount.bytes_reserved != b.amount.bytes_reserved) {
          return a.amount.bytes_reserved > b.amount.bytes_reserved;
        }
        return strverscmp(a.tag_path.c_str(), b.tag_path.c_str()) < 0;
      });
    }
    return lists;
  }

 private:
  bool IsWanted(const std::string& kind) const { return filter_.kind.empty() || kind == filter_.kind; }

  // What closes released of which the buffers are not in the ledger any more.
  void AddUnlisted(const collect::Process& process, const std::map<uint32_t, Amount>& released) {
    for (const LedgerAccount& account : process.facts.accounts) {
      const auto found = released.find(account.index);
      const Amount listed = found == released.end() ? Amount() : found->second;
      const Amount rest = {Minus(account.released.count, listed.count),
                           Minus(account.released.bytes_requested, listed.bytes_requested),
                           Minus(account.released.bytes_reserved, listed.bytes_reserved)};
      const std::string kind = collect::KindName(process.facts, account.kind);
      if (rest.count == 0 || !IsWanted(kind)) continue;
      Put({LeakList::kReleased, kind, "", false}, process, account, rest, std::nullopt);
    }
  }

  void Put(Key key, const collect::Process& process, const LedgerAccount& account, const Amount& amount,
           std::optional<uint64_t> age_ns) {
    const auto [entry, is_new] = rows_.try_emplace(std::move(key));
    LeakRow& row = entry->second;
    if (is_new) {
      row.kind = std::get<1>(entry->first);
      row.tag_path = std::get<2>(entry->first);
      row.listed = std::get<3>(entry->first);
    }
    const LedgerKind* kind = process.facts.kind(account.kind);
    row.adds_up = row.adds_up && (kind == nullptr || (!kind->overlaps && !kind->inside));
    AddUp(amount, &row.amount);
    if (age_ns) {
      row.oldest_ns = std::max(row.oldest_ns.value_or(*age_ns), *age_ns);
      row.newest_ns = std::min(row.newest_ns.value_or(*age_ns), *age_ns);
    }
    // Processes come one after the other.
    if (row.holders.empty() || row.holders.back().process != &process) row.holders.push_back({&process, 0, 0});
    row.holders.back().buffers += amount.count;
    row.holders.back().bytes_reserved += amount.bytes_reserved;
  }

  const collect::Snapshot& machine_;
  const LeakFilter& filter_;
  std::map<Key, LeakRow> rows_;
};

}  // namespace

const char* LeakListName(LeakList list) {
  constexpr const char* kNames[kLeakLists] = {"killed", "exited", "released", "suspects"};
  return kNames[static_cast<size_t>(list)];
}

LeakReport::LeakReport(const collect::Snapshot& machine, const std::vector<const collect::Process*>& processes,
                       const LeakFilter& filter, Suppressions* suppressions) {
  Sorter sorter(machine, filter);
  for (const collect::Process* process : processes) sorter.Add(*process);
  rows_ = sorter.Take();
  if (suppressions == nullptr) return;
  suppressions->ForgetUses();
  for (std::vector<LeakRow>& list : rows_) {
    for (LeakRow& row : list) {
      Suppressions::Entry* entry = row.listed ? suppressions->Find(row.tag_path) : nullptr;
      if (entry == nullptr) continue;
      row.suppressed_by = entry->line;
      entry->buffers += row.amount.count;
      entry->bytes_reserved += row.amount.bytes_reserved;
    }
  }
}

Amount LeakReport::Sum(LeakList list) const {
  Amount sum;
  for (const LeakRow& row : rows(list)) {
    if (!row.suppressed_by) AddRow(row, &sum);
  }
  return sum;
}

Amount LeakReport::SuppressedSum() const {
  Amount sum;
  for (const std::vector<LeakRow>& list : rows_) {
    for (const LeakRow& row : list) {
      if (row.suppressed_by) AddRow(row, &sum);
    }
  }
  return sum;
}

bool LeakReport::HasLeaks() const { return Sum(LeakList::kKilled).count + Sum(LeakList::kExited).count != 0; }

bool MayHaveLeaked(const collect::Process& process, const LeakFilter& filter) {
  const LedgerView& facts = process.facts;
  const bool released = std::any_of(facts.accounts.begin(), facts.accounts.end(),
                                    [](const LedgerAccount& account) { return account.released.count != 0; });
  return released || (ListOf(facts, filter) && collect::LiveBuffers(facts) != 0);
}

}  // namespace memtally::tools
