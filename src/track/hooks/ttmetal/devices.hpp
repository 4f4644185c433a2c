// SPDX-License-Identifier: Apache-2.0
//
// The devices of the process: which chips a MeshDevice or Device stands for, registered with memtally when they are
// first seen.
#pragma once

#include <cstdint>

#include <memtally/track.h>

#include "track/hooks/ttmetal/buffer_facts.hpp"

namespace memtally::track::ttmetal {

// One MeshDevice or Device.  Lives as long as the process.
struct Device {
  const void* object;  // null once it is closed
  const void* allocator;
  uint64_t alignment;  // to which the allocator rounds what a buffer takes in a bank; a power of two
  bool part;           // of a mesh that was open when it was
  uint32_t chip_count;
  const uint32_t* chips;  // numbers of the table below
  Device* next;
};

// Whether this is the first word of a MeshDevice or a Device.
bool IsDeviceTable(const void* table);

// What `object`, a live MeshDevice or Device, stands for; null if its chips cannot be told.  `buffer`: one of its
// buffers, to ask for the allocator and so for capacities; null: none at hand.  Any thread.
const Device* FindDevice(const void* object, const void* buffer);

// memtally's number of a chip.
memtally_device HandleOf(uint32_t chip);

// The device that was found for `object`, if it is open; null otherwise.  Does not look into the object.
const Device* FindOpenDevice(const void* object);

// To be called after TT-Metal has closed a device.  Says through `closed` which chips no open MeshDevice has any more,
// at most `room`; returns how many.
uint32_t AfterClose(const void* object, memtally_device* closed, uint32_t room);

}  // namespace memtally::track::ttmetal
