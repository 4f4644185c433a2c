// SPDX-License-Identifier: Apache-2.0
//
// Answer: what the server says to a client, in the generation that the client speaks.
#pragma once

#include <cstdint>
#include <vector>

#include <memtally/abi/legacy_protocol.h>

namespace memtally::daemon {

// All that any generation can say; what a generation has no place for is left out.
struct Answer {
  memtally_legacy_head head{};
  uint64_t cb_allocated = 0;
  uint64_t kernel_allocated = 0;
  memtally_legacy_device_facts device{};
  uint32_t programs = 0;
};

// Appends it to *bytes.
void AppendAnswer(const Answer& answer, uint32_t generation, std::vector<uint8_t>* bytes);

}  // namespace memtally::daemon
