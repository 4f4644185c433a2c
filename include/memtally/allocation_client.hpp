// SPDX-License-Identifier: Apache-2.0
//
// The interface of the original allocation client, kept by memtally: instrumented code compiles and links unchanged,
// with libmemtally_allocation_client in place of the original.
//
// What is reported goes into the process's ledger, or, with TT_ALLOC_TRANSPORT, to a server of the original protocol
// (docs/legacy.md).  No function fails towards its caller, throws, or changes errno.
#pragma once

#include <cstdint>

namespace tt::tt_metal {

class __attribute__((visibility("default"))) AllocationClient {
 public:
  // After the allocation succeeded.  `buffer_type`: 0 DRAM, 1 L1, 2 SYSTEM_MEMORY, 3 L1_SMALL, 4 TRACE.
  static void report_allocation(int device_id, uint64_t size, uint8_t buffer_type, uint64_t buffer_id);
  // Before the memory is given back.
  static void report_deallocation(int device_id, uint64_t buffer_id);
  static void report_cb_allocation(int device_id, uint64_t size, uint64_t cb_id);
  static void report_cb_deallocation(int device_id, uint64_t size, uint64_t cb_id);
  // `kernel_type`: 0 application, 1 fabric, 2 dispatch.
  static void report_kernel_load(int device_id, uint64_t size, uint64_t kernel_id, uint8_t kernel_type);
  static void report_kernel_unload(int device_id, uint64_t size, uint64_t kernel_id);

  // Whether reports go anywhere; false with TT_ALLOC_TRACKING_ENABLED=0.
  static bool is_enabled();
  // Turns reports of all threads off and on.
  static void set_enabled(bool enabled);
};

// Reports are off, or on, while it lives; what was before is restored.
class ScopedTrackingControl {
 public:
  explicit ScopedTrackingControl(bool enable) : before_(AllocationClient::is_enabled()) {
    AllocationClient::set_enabled(enable);
  }
  ~ScopedTrackingControl() { AllocationClient::set_enabled(before_); }
  ScopedTrackingControl(const ScopedTrackingControl&) = delete;
  ScopedTrackingControl& operator=(const ScopedTrackingControl&) = delete;

 private:
  bool before_;
};

}  // namespace tt::tt_metal
