// SPDX-License-Identifier: Apache-2.0
//
// The live buffers of submeshes.  Closing one releases its buffers without a word, and its chips stay open for the rest
// of the mesh: so they have to be freed one by one.
#pragma once

#include <cstdint>

#include "track/hooks/ttmetal/devices.hpp"

namespace memtally::track::ttmetal {

// Any thread.  `device` is a part of a mesh.
void AddPartBuffer(const Device* device, uint32_t kind, uint64_t id);
void RemovePartBuffer(const Device* device, uint32_t kind, uint64_t id);

// Reports as freed, on each of the device's chips, what was added and not removed.
void FreePartBuffers(const Device* device);

}  // namespace memtally::track::ttmetal
