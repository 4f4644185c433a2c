// SPDX-License-Identifier: Apache-2.0
#include "tools/run/run_places.hpp"

#include <memtally/abi/ledger_format.h>

namespace memtally::tools {

size_t RunPlaces::DeviceOf(const LedgerView& view, uint32_t device, bool make) {
  if (device >= view.devices.size()) return kNoPlace;
  const LedgerDevice& facts = view.devices[device];
  const bool has_id = facts.id_scheme != MEMTALLY_ID_NONE;
  const std::array<uint8_t, 16> nothing{};
  const auto key = has_id ? std::tuple(facts.id_scheme, facts.id, nothing, 0u)
                          : std::tuple(facts.id_scheme, nothing, view.identity.run_id, device);
  const auto found = device_of_.find(key);
  if (found != device_of_.end()) return found->second;
  if (!make) return kNoPlace;
  device_of_.emplace(key, devices_.size());
  devices_.push_back({facts});
  return devices_.size() - 1;
}

size_t RunPlaces::PlaceOf(size_t device, const std::string& name, bool is_memory) {
  const auto [entry, is_new] = place_of_.emplace(std::tuple(device, name, is_memory), places_.size());
  if (is_new) {
    RunPlace& place = places_.emplace_back();
    place.device = device;
    place.name = name;
    place.is_memory = is_memory;
  }
  return entry->second;
}

std::vector<AccountPlace> RunPlaces::PlacesOf(const LedgerView& view, bool of_launch) {
  std::vector<AccountPlace> accounts;
  accounts.reserve(view.accounts.size());
  for (const LedgerAccount& account : view.accounts) {
    AccountPlace& out = accounts.emplace_back();
    const LedgerKind* kind = view.kind(account.kind);
    out.device = DeviceOf(view, account.device, of_launch);
    if (kind == nullptr || out.device == kNoPlace) continue;
    const LedgerKind* memory = view.kind(kind->memory);
    out.kind = kind->name;
    out.memory = memory != nullptr ? memory->name : kind->name;
    out.in_memory = !kind->overlaps && !kind->inside && !kind->on_host;
    if (!of_launch) continue;
    out.kind_place = PlaceOf(out.device, out.kind, false);
    RunPlace& place = places_[out.kind_place];
    place.overlaps = kind->overlaps;
    place.nested = kind->inside.has_value();
    place.on_host = kind->on_host;
    if (out.in_memory) out.memory_place = PlaceOf(out.device, out.memory, true);
  }
  return accounts;
}

}  // namespace memtally::tools
