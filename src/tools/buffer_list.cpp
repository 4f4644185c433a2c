// SPDX-License-Identifier: Apache-2.0
#include "tools/buffer_list.hpp"

#include <regex.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace memtally::tools {
namespace {

// Deeper or longer is nobody's tag; a hostile ledger must not cost more.
constexpr size_t kMaxTagPathBytes = 64 << 10;

uint64_t SaturatingProduct(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

uint64_t SaturatingSum(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

bool SameLetters(const std::string& a, const std::string& b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool IsWanted(const LedgerView& ledger, const LedgerAccount& account, const BufferFilter& filter) {
  if (!filter.kind.empty() && !SameLetters(KindName(ledger, account.kind), filter.kind)) return false;
  if (!filter.device) return true;
  return account.device < ledger.devices.size() && ledger.devices[account.device].local_index == *filter.device;
}

}  // namespace

struct TagPattern::State {
  regex_t expression{};
  bool compiled = false;
};

TagPattern::TagPattern() : state_(std::make_unique<State>()) {}

TagPattern::~TagPattern() {
  if (state_->compiled) regfree(&state_->expression);
}

std::unique_ptr<TagPattern> TagPattern::Compile(const std::string& expression, std::string* error) {
  std::unique_ptr<TagPattern> pattern(new TagPattern);
  State& state = *pattern->state_;
  const int code = regcomp(&state.expression, expression.c_str(), REG_EXTENDED | REG_NOSUB);
  if (code != 0) {
    char text[256];
    regerror(code, &state.expression, text, sizeof(text));
    *error = text;
    return nullptr;
  }
  state.compiled = true;
  return pattern;
}

bool TagPattern::Matches(const std::string& text) const {
  return regexec(&state_->expression, text.c_str(), 0, nullptr, 0) == 0;
}

BufferList::BufferList(const LedgerSurvey& survey, const BufferFilter& filter) {
  tag_paths_.resize(survey.ledgers.size());
  for (uint32_t process = 0; process < survey.ledgers.size(); ++process) {
    const LedgerView& ledger = survey.ledgers[process];
    std::vector<std::unique_ptr<const std::string>>& paths = tag_paths_[process];
    paths.resize(ledger.tags.size() + 1);  // the last for what is no tag of this ledger
    std::vector<signed char> matches(paths.size(), -1);
    for (const LedgerBuffer& buffer : ledger.buffers) {
      if (buffer.released) continue;
      const LedgerAccount* account = AccountAt(ledger, buffer.account);
      if (!account || !IsWanted(ledger, *account, filter)) continue;
      const size_t tag = std::min<size_t>(buffer.tag, ledger.tags.size());
      if (!paths[tag]) {
        std::string path = ledger.tag_path(buffer.tag);
        if (path.size() > kMaxTagPathBytes) path.resize(kMaxTagPathBytes);
        paths[tag] = std::make_unique<const std::string>(std::move(path));
      }
      if (filter.tag && matches[tag] < 0) matches[tag] = filter.tag->Matches(*paths[tag]) ? 1 : 0;
      if (filter.tag && matches[tag] == 0) continue;
      rows_.push_back(
          {process, &buffer, account, paths[tag].get(), SaturatingProduct(buffer.bytes_per_bank, account->banks)});
    }
  }
}

void BufferList::Sort(BufferOrder order) {
  const auto sort_by = [this](auto key) {
    std::stable_sort(rows_.begin(), rows_.end(),
                     [&](const BufferRow& a, const BufferRow& b) { return key(a) < key(b); });
  };
  switch (order) {
    case BufferOrder::kSize:
      return sort_by([](const BufferRow& row) { return ~row.bytes_reserved; });
    case BufferOrder::kAge:
      return sort_by([](const BufferRow& row) { return row.buffer->time_ns; });
    case BufferOrder::kId:
      return sort_by([](const BufferRow& row) { return row.buffer->id; });
    case BufferOrder::kAddress:
      return sort_by([](const BufferRow& row) {
        return std::tuple(row.process, row.account->device, row.account->kind, row.buffer->address);
      });
  }
}

std::vector<BufferSum> BufferList::Sums(bool by_tag) const {
  std::map<std::tuple<uint32_t, uint32_t, std::string>, BufferSum> sums;
  for (const BufferRow& row : rows_) {
    BufferSum& sum = sums[{row.process, row.account->index, by_tag ? *row.tag_path : std::string()}];
    sum.process = row.process;
    sum.account = row.account;
    sum.tag_path = row.tag_path;
    if (row.buffer->imported) {
      ++sum.imported;
      continue;
    }
    ++sum.count;
    sum.bytes_requested = SaturatingSum(sum.bytes_requested, row.buffer->bytes_requested);
    sum.bytes_reserved = SaturatingSum(sum.bytes_reserved, row.bytes_reserved);
    sum.lowest_address = std::min(sum.lowest_address, row.buffer->address);
    sum.highest_end = std::max(sum.highest_end, SaturatingSum(row.buffer->address, row.buffer->bytes_per_bank));
  }
  std::vector<BufferSum> result;
  result.reserve(sums.size());
  for (const auto& [key, sum] : sums) result.push_back(sum);
  if (by_tag) {
    std::stable_sort(result.begin(), result.end(), [](const BufferSum& a, const BufferSum& b) {
      return std::tuple(a.process, ~a.bytes_reserved) < std::tuple(b.process, ~b.bytes_reserved);
    });
  }
  return result;
}

}  // namespace memtally::tools
