/* SPDX-License-Identifier: Apache-2.0
 *
 * A shared object with a gate of its own. */
#include <string.h>

#include <memtally/track.h>

__attribute__((visibility("default"))) void gated_object_report(uint64_t id);

void gated_object_report(uint64_t id) {
  struct memtally_device_info info;
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  memtally_alloc(memtally_register_device(&info), MEMTALLY_KIND_DRAM, id, 0, 100, 100);
}
