/* Twenty lines that report device memory.  Build: see README.md. */
#include <unistd.h>

#include <memtally/track.h>

int main(void) {
  struct memtally_device_info info = {.size = sizeof(info), .vendor = "acme", .architecture = "one"};
  memtally_device device = memtally_register_device(&info);
  memtally_register_kind(device, MEMTALLY_KIND_DRAM, 1ull << 30, 4, 1ull << 28); /* 1 GiB in 4 banks */

  memtally_push_tag("model");
  memtally_push_tag("layer 1");
  for (uint64_t id = 1; id <= 10; ++id) /* after each allocation that succeeded */
    memtally_alloc(device, MEMTALLY_KIND_DRAM, id, id << 20, 1 << 20, 1 << 18);
  memtally_pop_tag();
  memtally_free(device, MEMTALLY_KIND_DRAM, 3); /* before the memory is given back */
  memtally_pop_tag();

  sleep(60); /* look at it: memtally ps, memtally buffers --by-tag; then kill it, and look again */
  memtally_close_device(device);
  return 0;
}
