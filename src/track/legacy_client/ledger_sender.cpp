// SPDX-License-Identifier: Apache-2.0
#include "track/legacy_client/ledger_sender.hpp"

#include <memtally/abi/legacy_protocol.h>
#include <memtally/track.h>

namespace memtally::legacy_client {
namespace {

// Devices with a number below this are registered once; others at each report.
constexpr int32_t kKnownDevices = 256;
memtally_device known_devices[kKnownDevices];

// A free names no kind.  So that it cannot take a circular buffer or a kernel at the buffer's address, those have ids
// of their own; their addresses are what was reported.
constexpr uint64_t kCircularBufferId = uint64_t{1} << 63;
constexpr uint64_t kKernelId = uint64_t{1} << 62;

memtally_device DeviceOf(int32_t number) {
  const bool is_known = number >= 0 && number < kKnownDevices;
  if (is_known) {
    const memtally_device known = __atomic_load_n(&known_devices[number], __ATOMIC_RELAXED);
    if (known != 0) return known;
  }
  memtally_device_info info{};
  info.size = sizeof(info);
  info.local_index = number;
  info.vendor = "tenstorrent";
  info.reporter = "allocation client";
  const memtally_device device = memtally_register_device(&info);
  if (is_known) __atomic_store_n(&known_devices[number], device, __ATOMIC_RELAXED);
  return device;
}

}  // namespace

void ReportToLedger(const LegacyEvent& event) {
  const memtally_device device = DeviceOf(event.device);
  switch (event.type) {
    case MEMTALLY_LEGACY_ALLOC:
      memtally_alloc(device, memtally_legacy_kind(event.buffer_type), event.id, event.id, event.size, event.size);
      break;
    case MEMTALLY_LEGACY_FREE:
      memtally_free(device, MEMTALLY_KIND_ANY, event.id);
      break;
    case MEMTALLY_LEGACY_CB_ALLOC:
      memtally_alloc(device, MEMTALLY_KIND_CB, event.id | kCircularBufferId, event.id, event.size, event.size);
      break;
    case MEMTALLY_LEGACY_CB_FREE:
      memtally_free(device, MEMTALLY_KIND_CB, event.id | kCircularBufferId);
      break;
    case MEMTALLY_LEGACY_KERNEL_LOAD:
      memtally_alloc(device, MEMTALLY_KIND_KERNEL, event.id | kKernelId, event.id, event.size, event.size);
      break;
    case MEMTALLY_LEGACY_KERNEL_UNLOAD:
      memtally_free(device, MEMTALLY_KIND_KERNEL, event.id | kKernelId);
      break;
    default:
      break;
  }
}

void ForgetLedgerDevices() {
  for (memtally_device& device : known_devices) device = 0;
}

}  // namespace memtally::legacy_client
