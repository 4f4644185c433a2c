// SPDX-License-Identifier: Apache-2.0
//
// A program, linked with the tracker, whose static objects report before and after main; so do those of a shared
// object.
#include <stdlib.h>

#include <memtally/track.hpp>

extern "C" int reporting_object_is_here();

namespace {

struct Reports {
  memtally::Device device;
  Reports() : device(memtally_device_info{}) {
    device.alloc(MEMTALLY_KIND_DRAM, 100, 0, 10, 10);
    device.alloc(MEMTALLY_KIND_DRAM, 101, 0, 10, 10);
  }
  ~Reports() { device.free(MEMTALLY_KIND_DRAM, 100); }
};

Reports g_reports;

}  // namespace

// With "tidy", everything is given back at the end of main; what comes after it is still more than that.
int main(int argc, char**) {
  if (argc > 1) {
    g_reports.device.free(MEMTALLY_KIND_DRAM, 101);
    memtally_free(g_reports.device.handle(), MEMTALLY_KIND_DRAM, 102);
  }
  return reporting_object_is_here() == 1 ? 33 : 1;
}
