// SPDX-License-Identifier: Apache-2.0
//
// What the hook reads of a tt::tt_metal::Buffer, without its header: by the functions that the library exports and,
// where an older one has them inline, by a place in the object that was found by trying (see buffer_facts.cpp).
#pragma once

#include <cstdint>

namespace memtally::track::ttmetal {

// TT-Metal's BufferType.
enum class BufferType : uint32_t { kDram = 0, kL1 = 1, kSystemMemory = 2, kL1Small = 3, kTrace = 4 };

inline constexpr uint32_t kBufferTypes = 5;

// memtally's number of that kind.
uint32_t KindOf(BufferType type);

// Which buffer it is.
struct BufferKey {
  const void* device;  // a MeshDevice or a Device; null: could not be found
  BufferType type;
  uint64_t id;  // among the process's live buffers
};

struct BufferSize {
  uint64_t bytes_requested;
  uint64_t bytes_per_bank;
};

// `buffer`: a live tt::tt_metal::Buffer.  Any thread.  All of these need Reports().
BufferKey KeyOf(const void* buffer);
BufferSize SizeOf(const void* buffer);

// The offset in each bank.
uint64_t AddressOf(const void* buffer);

// Its Allocator, or null.
const void* AllocatorOf(const void* buffer);

}  // namespace memtally::track::ttmetal
