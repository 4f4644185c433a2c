// SPDX-License-Identifier: Apache-2.0
//
// Report tt-metal's buffers to memtally, for those who build tt-metal themselves (others need no source: see
// docs/ttnn.md).  Header-only, over track.h: does nothing until libmemtally is loaded.
//
// Include tt-metal's own headers first (buffer, device, mesh device, allocator), then this one, and register one
// observer for the process:
//
//   using Observer = memtally::tt_metal::Observer<tt::tt_metal::BufferAllocationObserver>;
//   tt::tt_metal::register_buffer_allocation_observer_once(
//       typeid(Observer), [] { return std::make_shared<Observer>(); });
//
// or, where there is no such observer yet, a processor on each thread that allocates:
//
//   tt::tt_metal::GraphTracker::instance().push_processor(
//       std::make_shared<memtally::tt_metal::Processor<tt::tt_metal::IGraphProcessor>>());
//
// Neither is told when a device closes: call BufferReporter::Instance().Closed(device) where it does, or buffers that
// closing releases look like leaks.  All observers of a process share what they know of devices; any thread may call
// them.  Nothing here throws but what tt-metal's own functions throw.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <memtally/track.h>

namespace memtally::tt_metal {

// What tt-metal says of buffers, as memtally's calls.  One a process.
class BufferReporter {
 public:
  using Buffer = ::tt::tt_metal::Buffer;
  using BufferType = ::tt::tt_metal::BufferType;
  using Device = ::tt::tt_metal::IDevice;
  using MeshDevice = ::tt::tt_metal::distributed::MeshDevice;

  static BufferReporter& Instance() {
    static BufferReporter reporter;
    return reporter;
  }

  // After the buffer has its address.  On a mesh: a record a chip, tied by a group.
  void Allocated(const Buffer& buffer) {
    if (memtally_is_enabled() == 0) return;
    const std::vector<int> chips = ChipsOf(*buffer.device());
    memtally_buffer record{};
    record.size = sizeof(record);
    record.kind = KindOf(buffer.buffer_type());
    record.id = buffer.unique_id();
    record.address = buffer.address();
    record.bytes_requested = buffer.size();
    record.bytes_per_bank = buffer.aligned_size_per_bank();
    record.group = chips.size() > 1 ? uint64_t{buffer.unique_id()} + 1 : 0;
    for (const int chip : chips) {
      record.device = Register(chip, *buffer.device(), buffer.buffer_type());
      memtally_alloc_buffer(&record);
    }
  }

  // Before the buffer's memory is released.
  void Deallocated(const Buffer& buffer) {
    if (memtally_is_enabled() == 0) return;
    for (const int chip : ChipsOf(*buffer.device())) {
      memtally_free(Find(chip), KindOf(buffer.buffer_type()), buffer.unique_id());
    }
  }

  // Circular buffers of a program; those that lie in a tensor's buffer take up nothing of their own.
  void CircularBufferAllocated(uint64_t address, uint64_t bytes, bool in_other_buffer, const Device& device) {
    if (memtally_is_enabled() == 0 || in_other_buffer) return;
    for (const int chip : ChipsOf(device)) {
      const memtally_device handle = Register(chip, device, BufferType::L1);
      const uint64_t id = AddCircularBuffer(chip);
      memtally_alloc(handle, MEMTALLY_KIND_CB, id, address, bytes, bytes);
    }
  }

  // All circular buffers of the device are gone.
  void CircularBuffersDeallocated(const Device& device) {
    if (memtally_is_enabled() == 0) return;
    for (const int chip : ChipsOf(device)) {
      const memtally_device handle = Find(chip);
      for (const uint64_t id : TakeCircularBuffers(chip)) memtally_free(handle, MEMTALLY_KIND_CB, id);
    }
  }

  // The device is being closed: what is left on it is released by that.
  void Closed(const Device& device) {
    if (memtally_is_enabled() == 0) return;
    for (const int chip : ChipsOf(device)) memtally_close_device(Forget(chip));
  }

 private:
  static uint32_t KindOf(BufferType type) {
    switch (type) {
      case BufferType::DRAM:
        return MEMTALLY_KIND_DRAM;
      case BufferType::L1:
        return MEMTALLY_KIND_L1;
      case BufferType::L1_SMALL:
        return MEMTALLY_KIND_L1_SMALL;
      case BufferType::TRACE:
        return MEMTALLY_KIND_TRACE;
      default:
        return MEMTALLY_KIND_SYSTEM_MEMORY;
    }
  }

  static std::vector<int> ChipsOf(const Device& device) {
    const auto* mesh = dynamic_cast<const MeshDevice*>(&device);
    if (mesh == nullptr) return {static_cast<int>(device.id())};
    std::vector<int> chips;
    for (const auto chip : mesh->get_device_ids()) chips.push_back(static_cast<int>(chip));
    return chips;
  }

  // The chip's handle, 0 if it is not known.
  memtally_device Find(int chip) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto found = chips_.find(chip);
    return found == chips_.end() ? 0 : found->second.handle;
  }

  // The chip's handle, with capacity and banks of that type known.
  memtally_device Register(int chip, const Device& device, BufferType type) {
    const uint32_t kind = KindOf(type);
    const std::lock_guard<std::mutex> guard(mutex_);
    Chip& known = chips_[chip];
    if (known.kinds[kind]) return known.handle;
    memtally_device_info info{};
    info.size = sizeof(info);
    info.local_index = chip;
    info.vendor = "tenstorrent";
    info.reporter = "tt-metal observer";
    known.handle = memtally_register_device(&info);
    known.kinds[kind] = true;
    if (kind == MEMTALLY_KIND_SYSTEM_MEMORY) return known.handle;
    const uint32_t banks = device.allocator()->get_num_banks(type);
    const uint64_t bank_bytes = device.allocator()->get_bank_size(type);
    memtally_register_kind(known.handle, kind, bank_bytes * banks, banks, bank_bytes);
    return known.handle;
  }

  // The chip's handle; it is registered again when it is next used.
  memtally_device Forget(int chip) {
    const std::lock_guard<std::mutex> guard(mutex_);
    return std::exchange(chips_[chip], {}).handle;
  }

  uint64_t AddCircularBuffer(int chip) {
    const std::lock_guard<std::mutex> guard(mutex_);
    chips_[chip].circular_buffers.push_back(++last_circular_buffer_);
    return last_circular_buffer_;
  }

  std::vector<uint64_t> TakeCircularBuffers(int chip) {
    const std::lock_guard<std::mutex> guard(mutex_);
    return std::exchange(chips_[chip].circular_buffers, {});
  }

  struct Chip {
    memtally_device handle = 0;
    bool kinds[MEMTALLY_BUILTIN_KINDS] = {};  // whose capacity was told
    std::vector<uint64_t> circular_buffers;
  };
  std::mutex mutex_;
  std::map<int, Chip> chips_;
  uint64_t last_circular_buffer_ = 0;
};

// Not a capture, where tt-metal tells captures from others: it goes on as if nobody watched.
template <typename Base>
concept CanBeCapture = requires(const Base& base) {
  base.is_capture_processor();
};
template <typename Base>
class Background : public Base {};
template <CanBeCapture Base>
class Background<Base> : public Base {
 public:
  bool is_capture_processor() const override { return false; }
};

// An observer of tt-metal's that reports.  `Base`: tt::tt_metal::BufferAllocationObserver.
template <typename Base>
class Observer : public Background<Base> {
 public:
  void track_allocate(const ::tt::tt_metal::Buffer* buffer) override { BufferReporter::Instance().Allocated(*buffer); }
  void track_deallocate(::tt::tt_metal::Buffer* buffer) override { BufferReporter::Instance().Deallocated(*buffer); }
};

template <typename Function>
struct FirstArgument;
template <typename Result, typename Class, typename First, typename... Rest>
struct FirstArgument<Result (Class::*)(First, Rest...)> {
  using Type = First;
};

// A processor, which is told of circular buffers, too.  `Base`: tt::tt_metal::IGraphProcessor.
template <typename Base>
class Processor : public Observer<Base> {
 public:
  using CoreRanges = typename FirstArgument<decltype(&Base::track_allocate_cb)>::Type;

  void track_allocate_cb(CoreRanges, uint64_t address, uint64_t bytes, bool in_other_buffer,
                         const ::tt::tt_metal::IDevice* device) override {
    if (device != nullptr) {
      BufferReporter::Instance().CircularBufferAllocated(address, bytes, in_other_buffer, *device);
    }
  }
  void track_deallocate_cb(const ::tt::tt_metal::IDevice* device) override {
    if (device != nullptr) BufferReporter::Instance().CircularBuffersDeallocated(*device);
  }
};

}  // namespace memtally::tt_metal
