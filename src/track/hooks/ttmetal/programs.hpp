// SPDX-License-Identifier: Apache-2.0
//
// The programs of the process and the circular and dataflow buffers that each has on each device.  TT-Metal reports
// these without the program, or not at all, so the hook keeps the list itself.
#pragma once

#include <cstdint>

#include <memtally/track.h>

#include "track/hooks/ttmetal/devices.hpp"

namespace memtally::track::ttmetal {

// Corners of a rectangle of cores, both included.
struct CoreRange {
  uint64_t x0;
  uint64_t y0;
  uint64_t x1;
  uint64_t y1;
};

// What is allocated for a program: part of the identity of a buffer's owner.
struct ProgramScope {
  const void* program;  // ProgramImpl
  const void* device;   // MeshDevice or Device; only compared
  uint32_t kind;
  uint64_t pass;  // number of the call that allocates; for DropBuffers unused
};

// `object`: a ProgramImpl.  Remembers the name of one of its kernels, for the program's name.
void AddKernelName(const void* object, const char* name, uint64_t length);

// What the program has of that kind on the device is freed.
void DropBuffers(const ProgramScope& scope);

// Reports a buffer on `cores` cores of each chip, `bytes` on each.  What an earlier pass allocated is freed.
void AddBuffer(const ProgramScope& scope, const Device& device, uint64_t address, uint64_t bytes, uint64_t cores,
               const CoreRange& range);

// The group of what the program has; 0 if it never had anything.
uint64_t GroupOf(const void* object);

// The program ends: all that it had is freed.
void DropProgram(const void* object);

// Forgets, without a report, what lies on a chip that was closed.
void ForgetChip(memtally_device chip);

}  // namespace memtally::track::ttmetal
