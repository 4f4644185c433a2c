// SPDX-License-Identifier: Apache-2.0
//
// A shared object that reports before main and after it.
#include <memtally/track.h>

namespace {

memtally_device g_device;

struct Reports {
  Reports() {
    memtally_device_info info{};
    info.size = sizeof(info);
    info.local_index = 5;
    g_device = memtally_register_device(&info);
    memtally_alloc(g_device, MEMTALLY_KIND_DRAM, 1, 0, 10, 10);
    memtally_alloc(g_device, MEMTALLY_KIND_DRAM, 2, 0, 10, 10);
  }
  ~Reports() { memtally_free(g_device, MEMTALLY_KIND_DRAM, 1); }
};

Reports g_reports;

// Runs after the destructors of C++ objects.
__attribute__((destructor(101))) void Last() { memtally_alloc(g_device, MEMTALLY_KIND_DRAM, 3, 0, 1000, 1000); }

}  // namespace

extern "C" __attribute__((visibility("default"))) int reporting_object_is_here();
int reporting_object_is_here() { return 1; }
