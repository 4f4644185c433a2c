// SPDX-License-Identifier: Apache-2.0
#include "tools/legacy_replay.hpp"

#include <string>

#include <memtally/abi/legacy_protocol.h>
#include <memtally/allocation_client.hpp>

namespace memtally::tools {

using tt::tt_metal::AllocationClient;

LegacyReplay::LegacyReplay(const Trace& trace, int32_t first_device) : trace_(trace), first_device_(first_device) {
  for (const std::string& name : trace.kind_names) {
    Kind kind;
    if (name == "dram") kind = {Call::kBuffer, MEMTALLY_LEGACY_DRAM};
    if (name == "l1") kind = {Call::kBuffer, MEMTALLY_LEGACY_L1};
    if (name == "l1_small") kind = {Call::kBuffer, MEMTALLY_LEGACY_L1_SMALL};
    if (name == "trace") kind = {Call::kBuffer, MEMTALLY_LEGACY_TRACE};
    if (name == "system_memory") kind = {Call::kBuffer, MEMTALLY_LEGACY_SYSTEM_MEMORY};
    if (name == "cb" || name == "dfb") kind = {Call::kCircularBuffer, 0};
    if (name == "kernel") kind = {Call::kKernel, 0};
    kinds_.push_back(kind);
  }
}

void LegacyReplay::Free(const Key& key, uint64_t size) const {
  const auto& [chip, kind, id] = key;
  const int device = trace_.chips[chip] + first_device_;
  switch (kinds_[kind].call) {
    case Call::kBuffer:
      return AllocationClient::report_deallocation(device, id);
    case Call::kCircularBuffer:
      return AllocationClient::report_cb_deallocation(device, size, id);
    case Call::kKernel:
      return AllocationClient::report_kernel_unload(device, size, id);
    case Call::kNone:
      break;
  }
}

void LegacyReplay::Report(const TraceRecord& record) {
  const Key key{record.chip, record.kind, record.id};
  if (record.operation == TraceOperation::kClose) {
    const auto end = live_.lower_bound({static_cast<uint16_t>(record.chip + 1), 0, 0});
    for (auto at = live_.lower_bound({record.chip, 0, 0}); at != end; at = live_.erase(at)) Free(at->first, at->second);
    return;
  }
  if (record.operation != TraceOperation::kAlloc && record.operation != TraceOperation::kFree) return;
  const Kind& kind = kinds_[record.kind];
  if (kind.call == Call::kNone) return;
  if (const auto known = live_.find(key); known != live_.end()) {
    Free(key, known->second);
    live_.erase(known);
  }
  if (record.operation == TraceOperation::kFree) return;
  live_[key] = record.bytes_requested;
  const int device = trace_.chips[record.chip] + first_device_;
  switch (kind.call) {
    case Call::kBuffer:
      return AllocationClient::report_allocation(device, record.bytes_requested, kind.buffer_type, record.id);
    case Call::kCircularBuffer:
      return AllocationClient::report_cb_allocation(device, record.bytes_requested, record.id);
    case Call::kKernel:
      return AllocationClient::report_kernel_load(device, record.bytes_requested, record.id, 0);
    case Call::kNone:
      break;
  }
}

}  // namespace memtally::tools
