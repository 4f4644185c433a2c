// SPDX-License-Identifier: Apache-2.0
//
// RunPlaces: the devices of a launch and what memories and kinds its processes use on them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "tools/run/moment_search.hpp"
#include "tools/run/run_facts.hpp"

namespace memtally::tools {

class RunPlaces {
 public:
  // What the accounts of a process are.  Makes the devices that are not known yet and, for a process of the launch, its
  // places; for another one only looks up, and leaves accounts on other devices without one.
  std::vector<AccountPlace> PlacesOf(const LedgerView& view, bool of_launch);

  const std::vector<RunDevice>& devices() const { return devices_; }
  std::vector<RunPlace>& places() { return places_; }
  const std::vector<RunPlace>& places() const { return places_; }

 private:
  size_t DeviceOf(const LedgerView& view, uint32_t device, bool make);
  size_t PlaceOf(size_t device, const std::string& name, bool is_memory);

  std::vector<RunDevice> devices_;
  std::vector<RunPlace> places_;
  // By id where there is one; else by process and number, since two processes' unknown devices are not the same.
  std::map<std::tuple<uint32_t, std::array<uint8_t, 16>, std::array<uint8_t, 16>, uint32_t>, size_t> device_of_;
  std::map<std::tuple<size_t, std::string, bool>, size_t> place_of_;
};

}  // namespace memtally::tools
