// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_model.hpp"

#include <algorithm>
#include <cassert>

namespace memtally::tools {
namespace {

void Add(TraceModel::Total* total, const TraceModel::Buffer& buffer) {
  ++total->count;
  total->bytes_requested += buffer.bytes_requested;
  total->bytes_per_bank += buffer.bytes_per_bank;
}

void Subtract(TraceModel::Total* total, const TraceModel::Buffer& buffer) {
  --total->count;
  total->bytes_requested -= buffer.bytes_requested;
  total->bytes_per_bank -= buffer.bytes_per_bank;
}

}  // namespace

TraceModel::TraceModel(const Trace& trace) : trace_(&trace), current_tag_(trace.threads.size() + 1, 0) {}

void TraceModel::AdvanceTo(size_t records) {
  assert(records >= records_ && records <= trace_->records.size());
  while (records_ < records) Apply(trace_->records[records_++]);
}

void TraceModel::Apply(const TraceRecord& record) {
  switch (record.operation) {
    case TraceOperation::kDevice:
      // Opened again: what the close released is gone for good.
      for (auto& [key, account] : accounts_) {
        if (key.first == record.chip) account.released.clear();
      }
      break;
    case TraceOperation::kKind: {
      const TraceKind& kind = trace_->kinds[record.item];
      Account& account = accounts_[{record.chip, record.kind}];
      account.banks = kind.banks;
      account.capacity_bytes = kind.capacity_bytes;
      break;
    }
    case TraceOperation::kAlloc:
      Allocate(record);
      break;
    case TraceOperation::kFree:
      Free(record);
      break;
    case TraceOperation::kFailed: {
      Account& account = accounts_[{record.chip, record.kind}];
      ++account.failed_allocations;
      account.failed_requested += record.bytes_requested;
      ++anomalies_[MEMTALLY_ANOMALY_FAILED_ALLOC];
      break;
    }
    case TraceOperation::kClose:
      for (auto& [key, account] : accounts_) {
        if (key.first != record.chip) continue;
        account.released.merge(account.live);
        account.live.clear();
        account.live_total = {};
      }
      break;
    case TraceOperation::kPushTag:
      PushTag(record);
      break;
    case TraceOperation::kPopTag:
      current_tag_[record.thread] = tag_nodes_[current_tag_[record.thread] - 1].first;
      break;
    case TraceOperation::kView:
    case TraceOperation::kAnomaly:
      break;
  }
}

void TraceModel::Allocate(const TraceRecord& record) {
  Account& account = accounts_[{record.chip, record.kind}];
  const Buffer buffer{record.address, record.bytes_requested, record.bytes_per_bank, current_tag_[record.thread]};
  const auto [entry, is_new] = account.live.emplace(record.id, buffer);
  if (!is_new) {
    ++anomalies_[MEMTALLY_ANOMALY_REPLACED];
    Subtract(&account.live_total, entry->second);
    entry->second = buffer;
  }
  Add(&account.live_total, buffer);
  Add(&account.allocated, buffer);
  account.peak_requested = std::max(account.peak_requested, account.live_total.bytes_requested);
  account.peak_reserved = std::max(account.peak_reserved, account.live_total.bytes_per_bank * account.banks);
}

void TraceModel::Free(const TraceRecord& record) {
  Account& account = accounts_[{record.chip, record.kind}];
  const auto found = account.live.find(record.id);
  if (found != account.live.end()) {
    Subtract(&account.live_total, found->second);
    account.live.erase(found);
  } else if (account.released.erase(record.id) != 0) {
    ++anomalies_[MEMTALLY_ANOMALY_AFTER_CLOSE];
  } else {
    ++anomalies_[MEMTALLY_ANOMALY_UNKNOWN_FREE];
  }
}

void TraceModel::PushTag(const TraceRecord& record) {
  uint32_t& current = current_tag_[record.thread];
  const std::pair<uint32_t, uint32_t> node{current, record.item};
  const auto [entry, is_new] = node_of_tag_.emplace(node, static_cast<uint32_t>(tag_nodes_.size() + 1));
  if (is_new) tag_nodes_.push_back(node);
  current = entry->second;
}

std::string TraceModel::tag_path(uint32_t tag) const {
  std::vector<const std::string*> names;
  for (; tag != 0; tag = tag_nodes_[tag - 1].first) names.push_back(&trace_->tags[tag_nodes_[tag - 1].second]);
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += " / ";
    path += **name;
  }
  return path;
}

}  // namespace memtally::tools
