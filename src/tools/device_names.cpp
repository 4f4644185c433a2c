// SPDX-License-Identifier: Apache-2.0
#include "tools/device_names.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr size_t kNameColumns = 32;

// The id as a number in hex, its zeros before it left out: chips are numbered from low bytes on.
std::string IdDigits(const collect::Device& device) {
  std::string digits;
  for (size_t i = device.id.size(); i-- > 0;) digits += fmt::format("{:02x}", device.id[i]);
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

// How many of the last digits tell all of these apart.
size_t DigitsNeeded(const std::vector<std::string>& ids) {
  for (size_t count = 3; count < 32; ++count) {
    std::set<std::string> ends;
    for (const std::string& id : ids) ends.insert(id.substr(id.size() - std::min(id.size(), count)));
    if (ends.size() == ids.size()) return count;
  }
  return 32;
}

// Appends to the names of devices that have the same what tells them apart.
void TellApart(const std::vector<collect::Device>& devices, const std::vector<uint32_t>& same,
               std::vector<std::string>* names) {
  std::set<uint32_t> addresses;
  std::vector<std::string> ids;
  for (const uint32_t index : same) {
    if (devices[index].pci_address) addresses.insert(*devices[index].pci_address);
    if (devices[index].id_scheme != MEMTALLY_ID_NONE) ids.push_back(IdDigits(devices[index]));
  }
  const size_t digits = DigitsNeeded(ids);
  size_t nameless = 0;
  for (const uint32_t index : same) {
    const std::string id = IdDigits(devices[index]);
    if (addresses.size() == same.size()) {
      (*names)[index] += "@" + PciText(*devices[index].pci_address);
    } else if (devices[index].id_scheme != MEMTALLY_ID_NONE && !id.empty()) {
      (*names)[index] += "#" + id.substr(id.size() - std::min(id.size(), digits));
    } else {
      (*names)[index] += fmt::format("#?{}", ++nameless);
    }
  }
}

}  // namespace

DeviceNames::DeviceNames(const collect::Snapshot& snapshot) {
  std::map<std::string, std::vector<uint32_t>> by_name;
  for (const collect::Device& device : snapshot.devices) {
    names_.push_back(PlainDeviceName(device.local_index, device.vendor, device.architecture));
    by_name[names_.back()].push_back(static_cast<uint32_t>(names_.size() - 1));
  }
  for (const auto& [name, same] : by_name) {
    if (same.size() > 1) TellApart(snapshot.devices, same, &names_);
  }
}

const std::string& DeviceNames::of(uint32_t machine_device) const {
  return machine_device < names_.size() ? names_[machine_device] : unknown_;
}

const std::string& DeviceNames::of(const collect::Process& process, uint32_t device) const {
  return device < process.machine_device.size() ? of(process.machine_device[device]) : unknown_;
}

std::string PlainDeviceName(int32_t local_index, const std::string& vendor, const std::string& architecture) {
  const std::string& name = architecture.empty() ? vendor : architecture;
  if (name.empty()) return std::to_string(local_index);
  return fmt::format("{}:{}", local_index, TerminalText(name, kNameColumns));
}

std::string PciText(uint32_t pci_address) {
  return fmt::format("{:04x}:{:02x}:{:02x}.{}", pci_address >> 16, pci_address >> 8 & 0xff, pci_address >> 3 & 0x1f,
                     pci_address & 7);
}

}  // namespace memtally::tools
