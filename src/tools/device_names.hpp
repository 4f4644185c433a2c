// SPDX-License-Identifier: Apache-2.0
//
// DeviceNames: short names of a machine's devices for screens, each one different.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"

namespace memtally::tools {

class DeviceNames {
 public:
  explicit DeviceNames(const collect::Snapshot& snapshot);

  // By index in Snapshot::devices: "0:wormhole_b0"; where several would be called so, with what tells them apart: the
  // PCI address "0:wormhole_b0@01:00.0", the end of the id "0:wormhole_b0#3e9", or "0:wormhole_b0#2" if they have none.
  const std::string& of(uint32_t machine_device) const;
  // Of a process's device, by its index there.
  const std::string& of(const collect::Process& process, uint32_t device) const;

 private:
  std::vector<std::string> names_;
  std::string unknown_ = "?";
};

// "0:wormhole_b0"; the number is the program's own.
std::string PlainDeviceName(int32_t local_index, const std::string& vendor, const std::string& architecture);

// "0000:01:00.0".
std::string PciText(uint32_t pci_address);

}  // namespace memtally::tools
