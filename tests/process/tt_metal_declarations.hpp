// SPDX-License-Identifier: Apache-2.0
//
// Classes with the names that tt-metal gives its own, as far as memtally/tt_metal.hpp uses them, with enough behind
// them to report.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tt::tt_metal {

enum class BufferType { DRAM, L1, SYSTEM_MEMORY, L1_SMALL, TRACE };
struct CoreRangeSet {};

class Allocator {
 public:
  uint32_t get_num_banks(const BufferType& type) const { return type == BufferType::DRAM ? 12 : 64; }
  uint64_t get_bank_size(const BufferType& type) const { return type == BufferType::DRAM ? 1 << 20 : 1 << 16; }
};

class IDevice {
 public:
  virtual ~IDevice() = default;
  virtual int id() const = 0;
  virtual const std::unique_ptr<Allocator>& allocator() const = 0;
};

class Device : public IDevice {
 public:
  explicit Device(int id) : id_(id) {}
  int id() const override { return id_; }
  const std::unique_ptr<Allocator>& allocator() const override { return allocator_; }

 private:
  int id_;
  std::unique_ptr<Allocator> allocator_ = std::make_unique<Allocator>();
};

namespace distributed {
class MeshDevice : public Device {
 public:
  explicit MeshDevice(std::vector<int> chips) : Device(1000), chips_(std::move(chips)) {}
  std::vector<int> get_device_ids() const { return chips_; }

 private:
  std::vector<int> chips_;
};
}  // namespace distributed

class Buffer {
 public:
  Buffer(IDevice* device, size_t unique_id, uint32_t address, uint64_t size, uint64_t per_bank, BufferType type)
      : device_(device), unique_id_(unique_id), address_(address), size_(size), per_bank_(per_bank), type_(type) {}
  IDevice* device() const { return device_; }
  uint64_t size() const { return size_; }
  uint32_t address() const { return address_; }
  BufferType buffer_type() const { return type_; }
  uint64_t aligned_size_per_bank() const { return per_bank_; }
  size_t unique_id() const { return unique_id_; }

 private:
  IDevice* device_;
  size_t unique_id_;
  uint32_t address_;
  uint64_t size_;
  uint64_t per_bank_;
  BufferType type_;
};

class BufferAllocationObserver {
 public:
  virtual ~BufferAllocationObserver() = default;
  virtual void track_allocate(const Buffer* buffer) = 0;
  virtual void track_deallocate(Buffer* buffer) = 0;
};

class IGraphProcessor {
 public:
  virtual ~IGraphProcessor() = default;
  virtual bool is_capture_processor() const { return true; }
  virtual void track_allocate(const Buffer*) {}
  virtual void track_deallocate(Buffer*) {}
  virtual void track_allocate_cb(const CoreRangeSet&, uint64_t, uint64_t, bool, const IDevice*) {}
  virtual void track_deallocate_cb(const IDevice*) {}
};

}  // namespace tt::tt_metal
