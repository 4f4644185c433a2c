// SPDX-License-Identifier: Apache-2.0
//
// Places in the object.  Libraries before 0.81 export neither Buffer::device() nor Buffer::buffer_type().
//
// Type: the exported is_dram(), is_l1() and is_trace() depend on it alone.  They are asked about copies of an object's
// first bytes in which one 32-bit word was set to each type in turn; the type is at the one word where all answers are
// right.
//
// Device: the word that points to an object whose virtual table is MeshDevice's or Device's.  What may be no pointer is
// read by the kernel, not by us.
#include "track/hooks/ttmetal/buffer_facts.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include <memtally/track.h>

#include "ledger/writer/syscall_scope.hpp"
#include "track/hooks/ttmetal/devices.hpp"
#include "track/hooks/ttmetal/functions.hpp"

namespace memtally::track::ttmetal {

namespace {

using Number = uint64_t(const void* object);
using Truth = bool(const void* object);

// The functions that are called here, looked up once.
struct Getters {
  Number* address;
  Number* per_bank;
  Number* size;
  Number* pages;
  Number* page_size;
  Number* unique_id;
  uint32_t (*type)(const void* buffer);
  Truth* is_dram;
  Truth* is_l1;
  Truth* is_trace;
  const void* (*device)(const void* buffer);
  const void* (*allocator)(const void* buffer);
};

Getters getters;
std::atomic<bool> have_getters{false};

// Place of a word in the object, in bytes; kUnsought until it was looked for.
constexpr int32_t kUnsought = -1;
constexpr int32_t kNowhere = -2;
constexpr size_t kSearchedBytes = 64;
std::atomic<int32_t> type_place{kUnsought};
std::atomic<int32_t> device_place{kUnsought};

const Getters& Get() {
  // Two first calls at once write the same values.
  if (__builtin_expect(!have_getters.load(std::memory_order_acquire), 0)) {
    getters.address = RealAs<Number>(Function::kBufferAddress);
    getters.per_bank = RealAs<Number>(Function::kBufferPerBank);
    getters.size = RealAs<Number>(Function::kBufferSize);
    getters.pages = RealAs<Number>(Function::kBufferPages);
    getters.page_size = RealAs<Number>(Function::kBufferPageSize);
    getters.unique_id = RealAs<Number>(Function::kBufferUniqueId);
    getters.type = RealAs<uint32_t(const void*)>(Function::kBufferType);
    getters.is_dram = RealAs<Truth>(Function::kBufferIsDram);
    getters.is_l1 = RealAs<Truth>(Function::kBufferIsL1);
    getters.is_trace = RealAs<Truth>(Function::kBufferIsTrace);
    getters.device = RealAs<const void*(const void*)>(Function::kBufferDevice);
    getters.allocator = RealAs<const void*(const void*)>(Function::kBufferAllocator);
    have_getters.store(true, std::memory_order_release);
  }
  return getters;
}

uint32_t WordAt(const void* object, int32_t place) {
  uint32_t word = 0;
  memcpy(&word, static_cast<const char*>(object) + place, sizeof(word));
  return word;
}

const void* PointerAt(const void* object, int32_t place) {
  const void* pointer = nullptr;
  memcpy(&pointer, static_cast<const char*>(object) + place, sizeof(pointer));
  return pointer;
}

// Whether the getters take `word` at `place` of a copy for the type.
bool AnswersFollow(const Getters& get, const void* buffer, int32_t place) {
  alignas(16) char copy[kSearchedBytes];
  for (uint32_t type = 0; type < kBufferTypes; ++type) {
    memcpy(copy, buffer, sizeof(copy));
    memcpy(copy + place, &type, sizeof(type));
    const bool dram = type == uint32_t(BufferType::kDram) || type == uint32_t(BufferType::kTrace);
    const bool l1 = type == uint32_t(BufferType::kL1) || type == uint32_t(BufferType::kL1Small);
    if (get.is_dram(copy) != dram || get.is_l1(copy) != l1) return false;
    if (get.is_trace(copy) != (type == uint32_t(BufferType::kTrace))) return false;
  }
  return true;
}

int32_t FindTypePlace(const Getters& get, const void* buffer) {
  if (get.is_dram == nullptr || get.is_l1 == nullptr || get.is_trace == nullptr) return kNowhere;
  for (int32_t place = 0; place < int32_t(kSearchedBytes); place += 4) {
    // A pointer that a getter follows must not be broken, so only a word that holds a type now is tried.
    if (WordAt(buffer, place) < kBufferTypes && AnswersFollow(get, buffer, place)) return place;
  }
  return kNowhere;
}

int32_t FindDevicePlace(const void* buffer) {
  const writer::SyscallScope scope;
  for (int32_t place = 0; place < int32_t(kSearchedBytes); place += 8) {
    const void* pointer = PointerAt(buffer, place);
    if (pointer == nullptr || reinterpret_cast<uintptr_t>(pointer) % alignof(void*) != 0) continue;
    const void* table = nullptr;
    iovec to{&table, sizeof(table)};
    iovec from{const_cast<void*>(pointer), sizeof(table)};
    if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != ssize_t(sizeof(table))) continue;
    if (IsDeviceTable(table)) return place;
  }
  return kNowhere;
}

int32_t PlaceOf(std::atomic<int32_t>& known, int32_t (*find)(const void* buffer), const void* buffer) {
  int32_t place = known.load(std::memory_order_relaxed);
  if (place == kUnsought) {
    place = find(buffer);
    known.store(place, std::memory_order_relaxed);
  }
  return place;
}

BufferType TypeOf(const Getters& get, const void* buffer) {
  if (get.type != nullptr) return BufferType{get.type(buffer)};
  const int32_t place = PlaceOf(
      type_place, [](const void* object) { return FindTypePlace(Get(), object); }, buffer);
  if (place >= 0) {
    const uint32_t type = WordAt(buffer, place);
    if (type < kBufferTypes) return BufferType{type};
  }
  if (get.is_trace != nullptr && get.is_trace(buffer)) return BufferType::kTrace;
  return get.is_dram == nullptr || get.is_dram(buffer) ? BufferType::kDram : BufferType::kL1;
}

const void* DeviceOf(const Getters& get, const void* buffer) {
  if (get.device != nullptr) return get.device(buffer);
  const int32_t place = PlaceOf(device_place, FindDevicePlace, buffer);
  return place >= 0 ? PointerAt(buffer, place) : nullptr;
}

}  // namespace

uint32_t KindOf(BufferType type) {
  switch (type) {
    case BufferType::kDram:
      return MEMTALLY_KIND_DRAM;
    case BufferType::kL1:
      return MEMTALLY_KIND_L1;
    case BufferType::kSystemMemory:
      return MEMTALLY_KIND_SYSTEM_MEMORY;
    case BufferType::kL1Small:
      return MEMTALLY_KIND_L1_SMALL;
    case BufferType::kTrace:
      return MEMTALLY_KIND_TRACE;
  }
  return MEMTALLY_KIND_DRAM;
}

BufferKey KeyOf(const void* buffer) {
  const Getters& get = Get();
  const uint64_t id = get.unique_id != nullptr ? get.unique_id(buffer) : reinterpret_cast<uintptr_t>(buffer);
  return {DeviceOf(get, buffer), TypeOf(get, buffer), id};
}

BufferSize SizeOf(const void* buffer) {
  const Getters& get = Get();
  BufferSize size{0, get.per_bank(buffer)};
  if (get.size != nullptr) {
    size.bytes_requested = get.size(buffer);
  } else if (get.pages != nullptr && get.page_size != nullptr) {
    size.bytes_requested = get.pages(buffer) * get.page_size(buffer);  // a size is a whole number of pages
  }
  return size;
}

uint64_t AddressOf(const void* buffer) {
  const Getters& get = Get();
  return get.address != nullptr ? get.address(buffer) : 0;
}

const void* AllocatorOf(const void* buffer) {
  const Getters& get = Get();
  return get.allocator != nullptr ? get.allocator(buffer) : nullptr;
}

}  // namespace memtally::track::ttmetal
