// SPDX-License-Identifier: Apache-2.0
//
// ViewBuilder: who the process is, its devices, kinds and accounts, and what is summed for them.
#include <string.h>

#include <algorithm>
#include <iterator>

#include "ledger/reader/record_codec.hpp"
#include "ledger/reader/view_builder.hpp"

namespace memtally::reader {

namespace {

template <size_t N>
void AssignText(const char (&text)[N], std::string* out) {
  out->assign(text, strnlen(text, N));
}

template <typename T>
T EntryAs(const memtally_catalog_entry& entry) {
  static_assert(sizeof(T) == sizeof(entry));
  T typed;
  memcpy(&typed, &entry, sizeof(typed));
  return typed;
}

template <typename List>
void SortByIndex(List* list) {
  const auto by_index = [](const auto& a, const auto& b) { return a.index < b.index; };
  if (!std::is_sorted(list->begin(), list->end(), by_index)) std::sort(list->begin(), list->end(), by_index);
}

}  // namespace

void ViewBuilder::AddIdentity() {
  const memtally_ledger_header& header = copy_.header();
  Identity& identity = view_->identity;
  std::copy(std::begin(header.run_id), std::end(header.run_id), identity.run_id.begin());
  std::copy(std::begin(header.boot_id), std::end(header.boot_id), identity.boot_id.begin());
  std::copy(std::begin(header.machine_id), std::end(header.machine_id), identity.machine_id.begin());
  std::copy(std::begin(header.launch_id), std::end(header.launch_id), identity.launch_id.begin());
  identity.pid = header.pid;
  identity.uid = header.uid;
  identity.gid = header.gid;
  identity.parent_pid = header.parent_pid;
  identity.pid_namespace = header.pid_namespace;
  identity.process_start_ticks = header.process_start_ticks;
  identity.created_realtime_ns = header.created_realtime_ns;
  AssignText(header.comm, &identity.comm);
  AssignText(header.host_name, &identity.host_name);
  AssignText(header.executable, &identity.executable);
  AssignText(header.tracker_version, &identity.tracker_version);
  AssignText(header.cgroup, &identity.cgroup);
  AssignText(header.container, &identity.container);
  AssignText(header.pod, &identity.pod);
  AssignText(header.job, &identity.job);

  view_->exited_normally = header.end_state == MEMTALLY_EXITED;
  view_->end_time_ns.reset();
  if (header.end_time != 0) view_->end_time_ns = time_.Ns(header.end_time);
  view_->start_time_ns = header.clock_start_ns;
  if (!time_.believable()) gaps_.Add("nothing says how fast the ledger's clock runs: its times are a guess");
}

void ViewBuilder::AddCatalog() {
  view_->devices.clear();
  view_->kinds.clear();
  view_->accounts.clear();
  const std::vector<memtally_catalog_entry>& catalog = copy_.catalog();
  uint64_t unbelievable = 0;
  for (size_t i = 0; i < catalog.size(); ++i) {
    switch (catalog[i].type) {
      case MEMTALLY_CATALOG_DEVICE: {
        const auto device = EntryAs<memtally_catalog_device>(catalog[i]);
        const auto same = [&](const LedgerDevice& d) { return d.index == device.index; };
        if (device.index >= MEMTALLY_MAX_DEVICES || std::any_of(view_->devices.begin(), view_->devices.end(), same)) {
          ++unbelievable;
        } else {
          AddDevice(device, i + 1 < catalog.size() ? &catalog[i + 1] : nullptr);
        }
        break;
      }
      case MEMTALLY_CATALOG_KIND: {
        const auto kind = EntryAs<memtally_catalog_kind>(catalog[i]);
        if (view_->kind(kind.index) != nullptr || kind.index >= MEMTALLY_KIND_ANY ||
            view_->kinds.size() >= MEMTALLY_MAX_KINDS) {
          ++unbelievable;
          break;
        }
        LedgerKind& out = view_->kinds.emplace_back();
        out.number = kind.index;
        out.memory = kind.memory;
        if (kind.inside != MEMTALLY_NONE) out.inside = kind.inside;
        out.overlaps = (kind.flags & MEMTALLY_KIND_OVERLAPS) != 0;
        out.on_host = (kind.flags & MEMTALLY_KIND_ON_HOST) != 0;
        AssignText(kind.name, &out.name);
        break;
      }
      default:  // accounts come when all devices and kinds are known; other types are those of newer trackers
        break;
    }
  }
  uint64_t dangling = 0;
  for (LedgerDevice& device : view_->devices) {
    const auto is_parent = [&](const LedgerDevice& d) { return d.index == *device.parent; };
    if (device.parent &&
        (*device.parent == device.index || std::none_of(view_->devices.begin(), view_->devices.end(), is_parent))) {
      device.parent.reset();
      ++dangling;
    }
  }
  for (LedgerKind& kind : view_->kinds) {
    if (view_->kind(kind.memory) == nullptr) {
      kind.memory = kind.number;
      ++dangling;
    }
    if (kind.inside && (*kind.inside == kind.number || view_->kind(*kind.inside) == nullptr)) {
      kind.inside.reset();
      ++dangling;
    }
  }
  stored_.clear();
  for (const memtally_catalog_entry& entry : catalog) {
    if (entry.type != MEMTALLY_CATALOG_ACCOUNT) continue;
    const auto account = EntryAs<memtally_catalog_account>(entry);
    const auto of_device = [&](const LedgerDevice& d) { return d.index == account.device; };
    const auto device = std::find_if(view_->devices.begin(), view_->devices.end(), of_device);
    if (account.index >= kNoAccount || account_[account.index].known || device == view_->devices.end() ||
        view_->kind(account.kind) == nullptr) {
      ++unbelievable;
      continue;
    }
    account_[account.index] = {true, device->closed_at_ns.has_value()};
    stored_.push_back(account);
  }
  SortByIndex(&stored_);
  SortByIndex(&view_->devices);
  std::sort(view_->kinds.begin(), view_->kinds.end(),
            [](const LedgerKind& a, const LedgerKind& b) { return a.number < b.number; });
  for (const memtally_catalog_account& account : stored_) AddAccount(account);
  gaps_.Count(unbelievable, "entries of the catalog are double, or name what does not exist");
  gaps_.Count(dangling, "devices or kinds of the catalog name another that does not exist");
}

void ViewBuilder::AddDevice(const memtally_catalog_device& device, const memtally_catalog_entry* next) {
  LedgerDevice& out = view_->devices.emplace_back();
  out.index = device.index;
  std::copy(std::begin(device.id), std::end(device.id), out.id.begin());
  out.id_scheme = device.id_scheme;
  out.local_index = device.local_index;
  if (device.pci_address != MEMTALLY_NONE) out.pci_address = device.pci_address;
  if (device.parent != MEMTALLY_NONE) out.parent = device.parent;
  out.physical_bytes = device.physical_bytes;
  if (device.closed_at != 0) out.closed_at_ns = time_.Ns(device.closed_at - 1);
  out.closes = device.closes;
  if (next != nullptr && next->type == MEMTALLY_CATALOG_DEVICE_MORE && next->index == device.index) {
    const auto more = EntryAs<memtally_catalog_device_more>(*next);
    AssignText(more.vendor, &out.vendor);
    AssignText(more.architecture, &out.architecture);
  } else {
    gaps_.Add("device " + std::to_string(device.index) + " has no entry with its vendor and architecture");
  }
}

void ViewBuilder::AddAccount(const memtally_catalog_account& account) {
  LedgerAccount& out = view_->accounts.emplace_back();
  out.index = account.index;
  out.device = account.device;
  out.kind = account.kind;
  out.banks = std::max(account.banks, 1u);
  out.capacity_bytes = account.capacity_bytes;
  out.capacity_bytes_per_bank = account.capacity_bytes_per_bank;
}

void ViewBuilder::AddTotals() {
  for (size_t i = 0; i < view_->accounts.size(); ++i) {
    LedgerAccount& account = view_->accounts[i];
    const Amount held = AddSums(&account);

    // Peaks: of the one lane that has ever had allocations, or those that several lanes wrote down together.
    uint32_t lanes = 0;
    uint64_t requested = 0;
    uint64_t reserved = 0;
    uint64_t highest_requested = 0;  // of one lane
    uint64_t highest_reserved = 0;
    for (uint32_t k = 0; k < copy_.lane_count(); ++k) {
      if (!copy_.lane_usable(k)) continue;
      const memtally_sums sums = copy_.lane(k).Sums(account.index);
      if (sums.allocations == 0) continue;
      ++lanes;
      requested = AddUpTo(requested, sums.peak_requested);
      reserved = AddUpTo(reserved, sums.peak_reserved);
      highest_requested = std::max(highest_requested, sums.peak_requested);
      highest_reserved = std::max(highest_reserved, sums.peak_reserved);
    }
    if (lanes <= 1) {
      account.peak_requested = requested;
      account.peak_reserved = reserved;
    } else {
      account.peak_requested = std::max({stored_[i].peak_requested, held.bytes_requested, highest_requested});
      account.peak_reserved = std::max({stored_[i].peak_reserved, held.bytes_reserved, highest_reserved});
      account.peak_requested_slack =
          SubtractDownTo0(std::max(stored_[i].peak_requested_bound, requested), account.peak_requested);
      account.peak_reserved_slack =
          SubtractDownTo0(std::max(stored_[i].peak_reserved_bound, reserved), account.peak_reserved);
    }
  }
}

// Returns allocated - freed as stored: what is live or, with the device closed, what the close released.
Amount ViewBuilder::AddSums(LedgerAccount* account) {
  Amount stored_freed;
  for (uint32_t k = 0; k < copy_.lane_count(); ++k) {
    if (!copy_.lane_usable(k)) continue;
    const memtally_sums sums = copy_.lane(k).Sums(account->index);
    const memtally_more_sums more = copy_.lane(k).MoreSums(account->index);
    account->allocated.count = AddUpTo(account->allocated.count, sums.allocations);
    account->allocated.bytes_requested = AddUpTo(account->allocated.bytes_requested, sums.allocated_requested);
    account->allocated.bytes_reserved = AddUpTo(account->allocated.bytes_reserved, sums.allocated_reserved);
    stored_freed.count = AddUpTo(stored_freed.count, sums.frees);
    stored_freed.bytes_requested = AddUpTo(stored_freed.bytes_requested, sums.freed_requested);
    stored_freed.bytes_reserved = AddUpTo(stored_freed.bytes_reserved, sums.freed_reserved);
    account->released.count = AddUpTo(account->released.count, more.released);
    account->released.bytes_requested = AddUpTo(account->released.bytes_requested, more.released_requested);
    account->released.bytes_reserved = AddUpTo(account->released.bytes_reserved, more.released_reserved);
    account->failed_allocations = AddUpTo(account->failed_allocations, more.failed_allocations);
    account->failed_requested = AddUpTo(account->failed_requested, more.failed_requested);
    account->imported = AddUpTo(account->imported, more.imported);
    account->imported_requested = AddUpTo(account->imported_requested, more.imported_requested);
  }
  const Amount& allocated = account->allocated;
  Amount live;
  live.count = SubtractDownTo0(allocated.count, stored_freed.count);
  live.bytes_requested = SubtractDownTo0(allocated.bytes_requested, stored_freed.bytes_requested);
  live.bytes_reserved = SubtractDownTo0(allocated.bytes_reserved, stored_freed.bytes_reserved);
  if (copy_.exact() &&
      (allocated.count < stored_freed.count || allocated.bytes_requested < stored_freed.bytes_requested ||
       allocated.bytes_reserved < stored_freed.bytes_reserved)) {
    gaps_.Add("account " + std::to_string(account->index) +
              " has more freed than allocated: its sums are not to be believed");
  }
  if (!account_[account->index].closed) {
    account->live = live;
    account->freed = stored_freed;
    return live;
  }
  account->freed = allocated;
  account->released.count = AddUpTo(account->released.count, live.count);
  account->released.bytes_requested = AddUpTo(account->released.bytes_requested, live.bytes_requested);
  account->released.bytes_reserved = AddUpTo(account->released.bytes_reserved, live.bytes_reserved);
  account->imported = 0;
  account->imported_requested = 0;
  return live;
}

void ViewBuilder::AddCounters() {
  const memtally_ledger_header& header = copy_.header();
  LedgerCounters& counters = view_->counters;
  counters = {};
  counters.lost_events = header.lost_events;
  counters.lost_bytes = header.lost_bytes;
  counters.lost_tags = header.lost_tags;
  counters.lost_groups = header.lost_groups;
  counters.lost_registrations = header.lost_registrations;
  counters.signal_overflow = header.signal_overflow;
  counters.paused_events = header.paused_events;
  counters.refused_pages = header.refused_pages;
  counters.recorder_wait_ns = header.recorder_wait_ns;
  for (uint32_t i = 0; i < copy_.lane_count(); ++i) {
    if (!copy_.lane_usable(i)) continue;
    const LaneCopy& lane = copy_.lane(i);
    counters.events = AddUpTo(counters.events, lane.events());
    counters.dropped_events = AddUpTo(counters.dropped_events, lane.header().dropped_events);
    counters.unread_events = AddUpTo(counters.unread_events, lane.header().unread_events);
  }
}

void ViewBuilder::AddGaps() {
  gaps_.Count(without_account_, "buffers name an account that does not exist; left out");
  gaps_.Count(live_extensions_, "slots claim to be a buffer and the rest of one; left out");
  gaps_.Count(lost_extensions_, "buffers have lost the slot with their address, group and full sizes");
  view_->gaps.clear();
  copy_.gaps().AppendTo(&view_->gaps);
  gaps_.AppendTo(&view_->gaps);
}

}  // namespace memtally::reader
