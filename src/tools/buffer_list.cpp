// SPDX-License-Identifier: Apache-2.0
#include "tools/buffer_list.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

namespace memtally::tools {
namespace {

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
  if (!filter.kind.empty() && !SameLetters(collect::KindName(ledger, account.kind), filter.kind)) return false;
  if (!filter.device) return true;
  return account.device < ledger.devices.size() && ledger.devices[account.device].local_index == *filter.device;
}

}  // namespace

BufferList::BufferList(const std::vector<const collect::Process*>& processes, const BufferFilter& filter) {
  for (uint32_t i = 0; i < processes.size(); ++i) {
    const LedgerView& facts = processes[i]->facts;
    TagPaths& paths = *tag_paths_.emplace_back(std::make_unique<TagPaths>(facts, filter.tag.get()));
    for (const LedgerBuffer& buffer : facts.buffers) {
      if (buffer.released) continue;
      const LedgerAccount* account = collect::AccountAt(facts, buffer.account);
      if (account == nullptr || !IsWanted(facts, *account, filter) || !paths.Matches(buffer.tag)) continue;
      rows_.push_back(
          {i, &buffer, account, &paths.Of(buffer.tag), SaturatingProduct(buffer.bytes_per_bank, account->banks)});
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

std::vector<BufferSum> BufferList::Sums(Grouping grouping) const {
  std::map<std::tuple<uint32_t, uint32_t, uint64_t, std::string_view>, BufferSum> sums;
  for (const BufferRow& row : rows_) {
    const uint64_t size = grouping == Grouping::kSize ? row.buffer->bytes_requested : 0;
    const std::string_view tag = grouping == Grouping::kTag ? std::string_view(*row.tag_path) : std::string_view();
    BufferSum& sum = sums[{row.process, row.account->index, size, tag}];
    sum.process = row.process;
    sum.account = row.account;
    sum.tag_path = row.tag_path;
    sum.size = size;
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
  if (grouping != Grouping::kKind) {
    std::stable_sort(result.begin(), result.end(), [](const BufferSum& a, const BufferSum& b) {
      return std::tuple(a.process, ~a.bytes_reserved) < std::tuple(b.process, ~b.bytes_reserved);
    });
  }
  return result;
}

}  // namespace memtally::tools
