// SPDX-License-Identifier: Apache-2.0
//
// The functions that stand in front of TT-Metal's.  Each calls the real one with the same arguments and returns what it
// returned; exceptions pass.  Symbols are bound to them because the library is preloaded.
#include <atomic>
#include <cstdint>

#include <memtally/track.h>

#include "class_return.hpp"
#include "track/hooks/ttmetal/buffer_facts.hpp"
#include "track/hooks/ttmetal/devices.hpp"
#include "track/hooks/ttmetal/failure_guard.hpp"
#include "track/hooks/ttmetal/failure_report.hpp"
#include "track/hooks/ttmetal/functions.hpp"
#include "track/hooks/ttmetal/part_buffers.hpp"
#include "track/hooks/ttmetal/programs.hpp"

namespace memtally::track::ttmetal {

namespace {

// A mesh's buffer is one record a chip, tied by this and the buffer's id.
constexpr uint64_t kMeshBufferGroup = uint64_t{0x7474'6d62} << 32;

constexpr uint32_t kMaxClosed = 256;

// What this thread is inside of.
struct Inside {
  const void* allocating;  // Buffer
  const void* validating;  // ProgramImpl
  ProgramScope program;    // of allocate_circular_buffers and its like
};
__thread Inside inside;

std::atomic<uint64_t> passes{0};

// What the allocator takes in each bank for `bytes`.
uint64_t Rounded(uint64_t bytes, const Device& device) {
  return (bytes + device.alignment - 1) & ~(device.alignment - 1);
}

void ReportAllocation(const void* buffer, uint64_t address) {
  const BufferKey key = KeyOf(buffer);
  if (key.device == nullptr) return;
  const Device* device = FindDevice(key.device, buffer);
  if (device == nullptr) return;
  const BufferSize size = SizeOf(buffer);
  const uint64_t bytes_per_bank = Rounded(size.bytes_per_bank, *device);
  const uint32_t kind = KindOf(key.type);
  if (device->part) AddPartBuffer(device, kind, key.id);
  if (__builtin_expect(device->chip_count == 1, 1)) {
    memtally_alloc(HandleOf(device->chips[0]), kind, key.id, address, size.bytes_requested, bytes_per_bank);
    return;
  }
  memtally_buffer record{};
  record.size = sizeof(record);
  record.kind = kind;
  record.id = key.id;
  record.address = address;
  record.bytes_requested = size.bytes_requested;
  record.bytes_per_bank = bytes_per_bank;
  record.group = kMeshBufferGroup ^ key.id;
  for (uint32_t i = 0; i < device->chip_count; ++i) {
    record.device = HandleOf(device->chips[i]);
    memtally_alloc_buffer(&record);
  }
}

void ReportFree(const void* buffer) {
  const BufferKey key = KeyOf(buffer);
  if (key.device == nullptr) return;
  const Device* device = FindDevice(key.device, nullptr);
  if (device == nullptr) return;
  if (device->part) RemovePartBuffer(device, KindOf(key.type), key.id);
  for (uint32_t i = 0; i < device->chip_count; ++i) {
    memtally_free(HandleOf(device->chips[i]), KindOf(key.type), key.id);
  }
}

void ReportFailure(const void* buffer) {
  const BufferKey key = KeyOf(buffer);
  if (key.device == nullptr) return;
  const Device* device = FindDevice(key.device, buffer);
  if (device == nullptr) return;
  const BufferSize size = SizeOf(buffer);
  for (uint32_t i = 0; i < device->chip_count; ++i) {
    memtally_alloc_failed(HandleOf(device->chips[i]), KindOf(key.type), size.bytes_requested,
                          Rounded(size.bytes_per_bank, *device));
  }
}

uint64_t CoresIn(const CoreRange& range) {
  if (range.x1 < range.x0 || range.y1 < range.y0) return 0;
  return (range.x1 - range.x0 + 1) * (range.y1 - range.y0 + 1);
}

// A buffer of the program that this thread is allocating for.
void ReportProgramBuffer(const void* device, uint64_t address, uint64_t bytes, uint64_t cores, const CoreRange& range) {
  const Device* found = FindDevice(device, nullptr);
  if (found == nullptr) return;
  const ProgramScope scope{inside.program.program, device, inside.program.kind, inside.program.pass};
  AddBuffer(scope, *found, address, bytes, cores, range);
}

// Runs `real`, in which `kind` of the program is allocated for the device.
void AllocateFor(const void* program, const void* device, uint32_t kind, Function function) {
  auto* real = RealAs<void(const void*, const void*)>(function);
  const Inside before = inside;
  inside.program = {program, device, kind, passes.fetch_add(1, std::memory_order_relaxed)};
  real(program, device);
  inside = before;
}

// Runs the real function that throws if buffers of the program cannot be where they are.
void Validate(const void* program, const void* device, Function function) {
  auto* real = RealAs<void(const void*, const void*)>(function);
  const Inside before = inside;
  inside.validating = program;
  real(program, device);
  inside = before;
}

// Runs the real function that closes `device`: what nobody else has open is then closed with memtally, too.
bool Close(const void* device, Function function, const void* receiver, const void* argument) {
  auto* real = RealAs<bool(const void*, const void*)>(function);
  if (!Reports()) return real(receiver, argument);
  const Device* open = FindOpenDevice(device);
  const bool result = real(receiver, argument);
  if (open != nullptr && open->part) FreePartBuffers(open);
  memtally_device closed[kMaxClosed];
  const uint32_t count = AfterClose(device, closed, kMaxClosed);
  for (uint32_t i = 0; i < count; ++i) {
    ForgetChip(closed[i]);
    memtally_close_device(closed[i]);
  }
  return result;
}

void ConstructAllocator(void* allocator, const void* config, Function function) {
  Reports();  // a device is being opened: what cannot be watched is said now
  RealAs<void(void*, const void*)>(function)(allocator, config);
}

void DestroyProgram(void* program, Function function) {
  RealAs<void(void*)>(function)(program);
  if (Reports()) DropProgram(program);
}

// A std::string.
struct String {
  char* text;
  uint64_t length;
  char inside[16];
};

// Remembers the name of a kernel for its program's.
void ReportKernel(const void* program, const void* kernel) {
  alignas(16) char room[kClassRoom] = {};
  void* function = Real(Function::kKernelName);
  if (function == nullptr) return;
  if (!CallForClass(function, kernel, room)) {
    Disown(Function::kKernelName);
    return;
  }
  auto* name = reinterpret_cast<String*>(room);
  AddKernelName(program, name->text, name->length);
  if (name->text != name->inside) RealAs<void(void*)>(Function::kOperatorDelete)(name->text);
}

}  // namespace

void OnFailure() {
  const Inside was = inside;
  inside = {};
  if (was.allocating != nullptr && Reports()) {
    ReportFailure(was.allocating);
    ReportFailureNow(FailureSort::kOutOfMemory, 0);
  } else if (was.validating != nullptr && Reports()) {
    memtally_mark("a program's circular or dataflow buffers do not fit beside L1 buffers");
    ReportFailureNow(FailureSort::kClash, GroupOf(was.validating));
  }
}

extern "C" {

#define MEMTALLY_TT_FRONT(symbol) __asm__(symbol) __attribute__((visibility("default"), used))

uint64_t memtally_tt_allocate(void* allocator, void* buffer) MEMTALLY_TT_FRONT(MEMTALLY_TT_ALLOCATE);
void memtally_tt_deallocate(void* allocator, void* buffer) MEMTALLY_TT_FRONT(MEMTALLY_TT_DEALLOCATE);
void memtally_tt_allocator_c1(void* allocator, const void* config) MEMTALLY_TT_FRONT(MEMTALLY_TT_ALLOCATOR_C1);
void memtally_tt_allocator_c2(void* allocator, const void* config) MEMTALLY_TT_FRONT(MEMTALLY_TT_ALLOCATOR_C2);
void memtally_tt_track_allocate(void* tracker, const void* buffer) MEMTALLY_TT_FRONT(MEMTALLY_TT_TRACK_ALLOCATE);
void memtally_tt_track_deallocate(void* tracker, void* buffer) MEMTALLY_TT_FRONT(MEMTALLY_TT_TRACK_DEALLOCATE);
void memtally_tt_track_allocate_cb(void* tracker, const CoreRange* const* cores, uint64_t address, uint64_t bytes,
                                   bool global, const void* device) MEMTALLY_TT_FRONT(MEMTALLY_TT_TRACK_ALLOCATE_CB);
void memtally_tt_track_deallocate_cb(void* tracker, const void* device)
    MEMTALLY_TT_FRONT(MEMTALLY_TT_TRACK_DEALLOCATE_CB);
void memtally_tt_allocate_cbs(void* program, const void* device) MEMTALLY_TT_FRONT(MEMTALLY_TT_ALLOCATE_CBS);
void memtally_tt_deallocate_cbs(void* program) MEMTALLY_TT_FRONT(MEMTALLY_TT_DEALLOCATE_CBS);
void memtally_tt_allocate_dfbs(void* program, const void* device) MEMTALLY_TT_FRONT(MEMTALLY_TT_ALLOCATE_DFBS);
void memtally_tt_allocate_scratchpads(void* program, const void* device)
    MEMTALLY_TT_FRONT(MEMTALLY_TT_ALLOCATE_SCRATCHPADS);
void memtally_tt_validate_cbs(void* program, const void* device) MEMTALLY_TT_FRONT(MEMTALLY_TT_VALIDATE_CBS);
void memtally_tt_validate_dfbs(void* program, const void* device) MEMTALLY_TT_FRONT(MEMTALLY_TT_VALIDATE_DFBS);
void memtally_tt_mark_address(const CoreRange* allocator, uint64_t address, uint64_t bytes, uint64_t base)
    MEMTALLY_TT_FRONT(MEMTALLY_TT_MARK_ADDRESS);
uint32_t memtally_tt_add_kernel(void* program, const void* const* kernel, const void* core_type)
    MEMTALLY_TT_FRONT(MEMTALLY_TT_ADD_KERNEL);
void memtally_tt_program_d1(void* program) MEMTALLY_TT_FRONT(MEMTALLY_TT_PROGRAM_D1);
void memtally_tt_program_d2(void* program) MEMTALLY_TT_FRONT(MEMTALLY_TT_PROGRAM_D2);
bool memtally_tt_close(void* mesh) MEMTALLY_TT_FRONT(MEMTALLY_TT_CLOSE);
bool memtally_tt_close_impl(void* implementation, void* mesh) MEMTALLY_TT_FRONT(MEMTALLY_TT_CLOSE_IMPL);
bool memtally_tt_close_chip(void* device) MEMTALLY_TT_FRONT(MEMTALLY_TT_CLOSE_CHIP);

// Tells of a success after it, of a failure while its exception passes.
uint64_t memtally_tt_allocate(void* allocator, void* buffer) {
  MEMTALLY_TT_FAILURE_GUARD();
  auto* real = RealAs<uint64_t(void*, void*)>(Function::kAllocate);
  if (!Reports()) return real(allocator, buffer);
  inside.allocating = buffer;
  const uint64_t address = real(allocator, buffer);
  inside.allocating = nullptr;
  ReportAllocation(buffer, address);
  return address;
}

void memtally_tt_deallocate(void* allocator, void* buffer) {
  if (Reports()) ReportFree(buffer);
  RealAs<void(void*, void*)>(Function::kDeallocate)(allocator, buffer);
}

void memtally_tt_allocator_c1(void* allocator, const void* config) {
  ConstructAllocator(allocator, config, Function::kAllocatorC1);
}

void memtally_tt_allocator_c2(void* allocator, const void* config) {
  ConstructAllocator(allocator, config, Function::kAllocatorC2);
}

// These two serve libraries without the allocator's own functions.
void memtally_tt_track_allocate(void* tracker, const void* buffer) {
  if (Reports() && Real(Function::kAllocate) == nullptr) ReportAllocation(buffer, AddressOf(buffer));
  RealAs<void(void*, const void*)>(Function::kTrackAllocate)(tracker, buffer);
}

void memtally_tt_track_deallocate(void* tracker, void* buffer) {
  if (Reports() && Real(Function::kDeallocate) == nullptr) ReportFree(buffer);
  RealAs<void(void*, void*)>(Function::kTrackDeallocate)(tracker, buffer);
}

// A circular buffer that is `global` lies in a buffer that was reported by itself.  `cores`: a CoreRangeSet, which
// begins with a std::vector of ranges.
void memtally_tt_track_allocate_cb(void* tracker, const CoreRange* const* cores, uint64_t address, uint64_t bytes,
                                   bool global, const void* device) {
  if (!global && inside.program.kind == MEMTALLY_KIND_CB && inside.program.program != nullptr && Reports()) {
    uint64_t count = 0;
    for (const CoreRange* range = cores[0]; range != cores[1]; ++range) count += CoresIn(*range);
    if (count != 0) ReportProgramBuffer(device, address, bytes, count, *cores[0]);
  }
  RealAs<void(void*, const void*, uint64_t, uint64_t, bool, const void*)>(Function::kTrackAllocateCb)(
      tracker, cores, address, bytes, global, device);
}

void memtally_tt_track_deallocate_cb(void* tracker, const void* device) {
  if (inside.program.program != nullptr && Reports()) {
    DropBuffers({inside.program.program, device, MEMTALLY_KIND_CB, 0});
  }
  RealAs<void(void*, const void*)>(Function::kTrackDeallocateCb)(tracker, device);
}

void memtally_tt_allocate_cbs(void* program, const void* device) {
  MEMTALLY_TT_FAILURE_GUARD();
  AllocateFor(program, device, MEMTALLY_KIND_CB, Function::kAllocateCbs);
}

void memtally_tt_deallocate_cbs(void* program) {
  MEMTALLY_TT_FAILURE_GUARD();
  const Inside before = inside;
  inside.program = {program, nullptr, MEMTALLY_KIND_CB, 0};
  RealAs<void(void*)>(Function::kDeallocateCbs)(program);
  inside = before;
}

void memtally_tt_allocate_dfbs(void* program, const void* device) {
  MEMTALLY_TT_FAILURE_GUARD();
  AllocateFor(program, device, MEMTALLY_KIND_DFB, Function::kAllocateDfbs);
}

void memtally_tt_allocate_scratchpads(void* program, const void* device) {
  MEMTALLY_TT_FAILURE_GUARD();
  const uint32_t kind = memtally_define_kind("scratchpad", MEMTALLY_KIND_L1, MEMTALLY_KIND_ANY, MEMTALLY_KIND_OVERLAPS);
  AllocateFor(program, device, kind, Function::kAllocateScratchpads);
}

void memtally_tt_validate_cbs(void* program, const void* device) {
  MEMTALLY_TT_FAILURE_GUARD();
  Validate(program, device, Function::kValidateCbs);
}

void memtally_tt_validate_dfbs(void* program, const void* device) {
  MEMTALLY_TT_FAILURE_GUARD();
  Validate(program, device, Function::kValidateDfbs);
}

// Marks space in the allocator of a range of cores, which begins with that range.  Circular buffers come here, too, but
// are reported by the tracker.
void memtally_tt_mark_address(const CoreRange* allocator, uint64_t address, uint64_t bytes, uint64_t base) {
  RealAs<void(const void*, uint64_t, uint64_t, uint64_t)>(Function::kMarkAddress)(allocator, address, bytes, base);
  if (inside.program.program == nullptr || inside.program.kind == MEMTALLY_KIND_CB || bytes == 0 || !Reports()) return;
  ReportProgramBuffer(inside.program.device, address, bytes, CoresIn(*allocator), *allocator);
}

uint32_t memtally_tt_add_kernel(void* program, const void* const* kernel, const void* core_type) {
  const uint32_t handle =
      RealAs<uint32_t(void*, const void* const*, const void*)>(Function::kAddKernel)(program, kernel, core_type);
  if (*kernel != nullptr && Real(Function::kProgramD1) != nullptr && Reports()) ReportKernel(program, *kernel);
  return handle;
}

void memtally_tt_program_d1(void* program) { DestroyProgram(program, Function::kProgramD1); }

void memtally_tt_program_d2(void* program) { DestroyProgram(program, Function::kProgramD2); }

bool memtally_tt_close(void* mesh) { return Close(mesh, Function::kClose, mesh, nullptr); }

bool memtally_tt_close_impl(void* implementation, void* mesh) {
  return Close(mesh, Function::kCloseImpl, implementation, mesh);
}

bool memtally_tt_close_chip(void* device) { return Close(device, Function::kCloseChip, device, nullptr); }

}  // extern "C"

}  // namespace memtally::track::ttmetal
