// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/client_process.hpp"

#include <algorithm>

#include <memtally/abi/ledger_format.h>
#include <memtally/abi/legacy_state.h>

namespace memtally::daemon {
namespace {

uint32_t BitOf(uint32_t generation) {
  switch (generation) {
    case MEMTALLY_LEGACY_72:
      return MEMTALLY_LEGACY_SPOKE_72;
    case MEMTALLY_LEGACY_112:
      return MEMTALLY_LEGACY_SPOKE_112;
    case MEMTALLY_LEGACY_128:
      return MEMTALLY_LEGACY_SPOKE_128;
    default:
      return MEMTALLY_LEGACY_SPOKE_144;
  }
}

}  // namespace

uint32_t ClientProcess::PlaceOf(int32_t device) {
  if (last_place_ < devices_.size() && devices_[last_place_] == device) return last_place_;
  const auto found = std::find(devices_.begin(), devices_.end(), device);
  if (found == devices_.end() && devices_.size() == kMostDevices) return kNone;
  last_place_ = static_cast<uint32_t>(found - devices_.begin());
  if (found == devices_.end()) devices_.push_back(device);
  return last_place_;
}

LegacyAccount* ClientProcess::AccountOf(int32_t device, uint8_t kind) {
  if (last_account_ < accounts_.size() && accounts_[last_account_].device == device &&
      accounts_[last_account_].kind == kind) {
    return &accounts_[last_account_];
  }
  const auto found = std::find_if(accounts_.begin(), accounts_.end(), [&](const LegacyAccount& account) {
    return account.device == device && account.kind == kind;
  });
  last_account_ = static_cast<size_t>(found - accounts_.begin());
  if (found != accounts_.end()) return &*found;
  const uint32_t place = PlaceOf(device);
  if (place == kNone) return nullptr;
  LegacyAccount& account = accounts_.emplace_back();
  account.device = device;
  account.device_place = static_cast<uint16_t>(place);
  account.kind = kind;
  return &account;
}

void ClientProcess::NoteMessage(const memtally_legacy_head& head, uint32_t generation) {
  ++counters_.messages;
  generations_ |= BitOf(generation);
  if (head.process_id == 0 || identity_.pid == 0) return;
  const auto claimed = static_cast<uint32_t>(head.process_id);
  if (claimed == identity_.pid) return;
  if (std::find(identity_.own_pids.begin(), identity_.own_pids.end(), claimed) != identity_.own_pids.end()) return;
  ++counters_.foreign_pids;
  claimed_pid_ = head.process_id;
}

AccountChange ClientProcess::Apply(const memtally_legacy_head& head, uint64_t now_ns, uint64_t most_buffers) {
  switch (head.type) {
    case MEMTALLY_LEGACY_ALLOC:
      return Allocate(head, Sort::kBuffer, memtally_legacy_kind(head.buffer_type), now_ns, most_buffers);
    case MEMTALLY_LEGACY_FREE:
      return Free(head, Sort::kBuffer);
    case MEMTALLY_LEGACY_CB_ALLOC:
      return Allocate(head, Sort::kCircularBuffer, MEMTALLY_KIND_CB, now_ns, most_buffers);
    case MEMTALLY_LEGACY_CB_FREE:
      return Free(head, Sort::kCircularBuffer);
    case MEMTALLY_LEGACY_KERNEL_LOAD:
      return Allocate(head, Sort::kKernel, MEMTALLY_KIND_KERNEL, now_ns, most_buffers);
    case MEMTALLY_LEGACY_KERNEL_UNLOAD:
      return Free(head, Sort::kKernel);
    default:
      return {};
  }
}

AccountChange ClientProcess::Allocate(const memtally_legacy_head& head, Sort sort, uint8_t kind, uint64_t now_ns,
                                      uint64_t most_buffers) {
  const uint32_t place = PlaceOf(head.device_id);
  if (place != kNone) {
    if (BufferEntry* known = buffers_.Find(sort, static_cast<uint16_t>(place), kind, head.buffer_id)) {
      ++known->references;
      ++counters_.repeated_allocations;
      return {};
    }
  }
  LegacyAccount* account = nullptr;
  if (most_buffers == 0 || buffers_.size() < most_buffers) account = AccountOf(head.device_id, kind);
  if (account == nullptr) {
    ++counters_.refused_buffers;
    counters_.refused_bytes += head.size;
    return {};
  }
  last_ns_ = std::max(now_ns, last_ns_ + 1);
  buffers_.Add(sort, {.id = head.buffer_id,
                      .size = head.size,
                      .time_ns = last_ns_,
                      .references = 1,
                      .device = account->device_place,
                      .kind = kind});
  ++account->allocated_count;
  account->allocated_bytes += head.size;
  ++account->live_count;
  account->live_bytes += head.size;
  account->peak_bytes = std::max(account->peak_bytes, account->live_bytes);
  return {head.device_id, kind, head.size, 1};
}

AccountChange ClientProcess::Free(const memtally_legacy_head& head, Sort sort) {
  const uint32_t place = PlaceOf(head.device_id);
  BufferTable::Match match;
  if (place != kNone) match = buffers_.FindAny(sort, static_cast<uint16_t>(place), head.buffer_id);
  if (match.newest == nullptr) {
    ++counters_.unknown_frees;
    counters_.unknown_free_bytes += head.size;
    return {};
  }
  if (match.count > 1) ++counters_.ambiguous_frees;
  if (--match.newest->references > 0) return {};
  const BufferEntry gone = *match.newest;
  buffers_.Erase(match.newest);
  LegacyAccount* account = AccountOf(head.device_id, gone.kind);
  ++account->freed_count;
  account->freed_bytes += gone.size;
  --account->live_count;
  account->live_bytes -= gone.size;
  return {head.device_id, gone.kind, ~gone.size + 1, ~uint64_t{0}};
}

void ClientProcess::Forget() {
  ++counters_.resynchronisations;
  buffers_.Clear();
  for (LegacyAccount& account : accounts_) {
    account.allocated_count -= account.live_count;
    account.allocated_bytes -= account.live_bytes;
    account.live_count = account.live_bytes = 0;
  }
}

bool ClientProcess::IsEvidence() const {
  const Counters& is = counters_;
  return buffers_.size() + is.unknown_frees + is.refused_buffers + is.damaged_messages + is.foreign_pids != 0;
}

}  // namespace memtally::daemon
