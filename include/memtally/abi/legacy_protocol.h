/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of the original allocation server, in its four generations.  docs/formats/legacy-protocol.md states the
 * rules; this header only gives the bytes names.  Host byte order, no version, no length: all messages of a connection
 * have one size, and that size is its generation.
 */
#ifndef MEMTALLY_ABI_LEGACY_PROTOCOL_H
#define MEMTALLY_ABI_LEGACY_PROTOCOL_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#include <memtally/abi/ledger_format.h>

#define MEMTALLY_LEGACY_SOCKET "/tmp/tt_allocation_server.sock"

/* The generations, by the bytes of a message. */
enum memtally_legacy_generation {
  MEMTALLY_LEGACY_72 = 72,   /* totals of four kinds */
  MEMTALLY_LEGACY_112 = 112, /* and facts of devices */
  MEMTALLY_LEGACY_128 = 128, /* and circular buffers and kernels, before those facts */
  MEMTALLY_LEGACY_144 = 144  /* and the ring buffer of kernels */
};

enum memtally_legacy_type {
  MEMTALLY_LEGACY_ALLOC = 1,
  MEMTALLY_LEGACY_FREE = 2,
  MEMTALLY_LEGACY_QUERY = 3,
  MEMTALLY_LEGACY_RESPONSE = 4,
  MEMTALLY_LEGACY_DUMP_REMAINING = 5,
  MEMTALLY_LEGACY_DEVICE_INFO_QUERY = 6,
  MEMTALLY_LEGACY_DEVICE_INFO_RESPONSE = 7,
  MEMTALLY_LEGACY_CB_ALLOC = 8,
  MEMTALLY_LEGACY_CB_FREE = 9,
  MEMTALLY_LEGACY_KERNEL_LOAD = 10, /* buffer_type: enum memtally_legacy_kernel_type */
  MEMTALLY_LEGACY_KERNEL_UNLOAD = 11,
  MEMTALLY_LEGACY_DUMP_KERNELS = 12,
  /* memtally's own: "forget what this process reported; all that it holds follows".  Other servers ignore it. */
  MEMTALLY_LEGACY_RESYNCHRONISE = 64
};

enum memtally_legacy_buffer_type {
  MEMTALLY_LEGACY_DRAM = 0,
  MEMTALLY_LEGACY_L1 = 1,
  MEMTALLY_LEGACY_SYSTEM_MEMORY = 2,
  MEMTALLY_LEGACY_L1_SMALL = 3,
  MEMTALLY_LEGACY_TRACE = 4,
  MEMTALLY_LEGACY_BUFFER_TYPES = 5,
  MEMTALLY_LEGACY_ANSWER_ME = 255 /* memtally's own, in a DUMP: answer over the wire, too */
};

/* The kind of a buffer of that type; types that nobody defined are taken for DRAM. */
static inline uint8_t memtally_legacy_kind(uint8_t buffer_type) {
  switch (buffer_type) {
    case MEMTALLY_LEGACY_L1:
      return MEMTALLY_KIND_L1;
    case MEMTALLY_LEGACY_SYSTEM_MEMORY:
      return MEMTALLY_KIND_SYSTEM_MEMORY;
    case MEMTALLY_LEGACY_L1_SMALL:
      return MEMTALLY_KIND_L1_SMALL;
    case MEMTALLY_LEGACY_TRACE:
      return MEMTALLY_KIND_TRACE;
    default:
      return MEMTALLY_KIND_DRAM;
  }
}

enum memtally_legacy_kernel_type {
  MEMTALLY_LEGACY_KERNEL_APPLICATION = 0,
  MEMTALLY_LEGACY_KERNEL_FABRIC = 1,
  MEMTALLY_LEGACY_KERNEL_DISPATCH = 2
};

/* What every generation begins with: the whole of the first. */
struct memtally_legacy_head {
  uint8_t type;
  uint8_t pad_0[3];
  int32_t device_id;
  uint64_t size;
  uint8_t buffer_type;
  uint8_t pad_1[3];
  int32_t process_id;
  uint64_t buffer_id;
  uint64_t timestamp;
  /* From here on in answers only. */
  uint64_t dram_allocated;
  uint64_t l1_allocated;
  uint64_t l1_small_allocated;
  uint64_t trace_allocated;
};

/* Bytes of a request that say something. */
#define MEMTALLY_LEGACY_REQUEST_BYTES 40

/* Facts of a device, the same 40 bytes in three generations. */
struct memtally_legacy_device_facts {
  uint64_t total_dram_size;
  uint64_t total_l1_size;
  uint32_t arch_type; /* 0 invalid, 1 Grayskull, 2 Wormhole, 3 Blackhole, 4 Quasar */
  uint32_t num_dram_channels;
  uint32_t dram_size_per_channel;
  uint32_t l1_size_per_core;
  uint32_t is_available;
  uint32_t num_devices;
};

struct memtally_legacy_message_112 {
  struct memtally_legacy_head head;
  struct memtally_legacy_device_facts device;
};

struct memtally_legacy_message_128 {
  struct memtally_legacy_head head;
  uint64_t cb_allocated;
  uint64_t kernel_allocated;
  struct memtally_legacy_device_facts device;
};

struct memtally_legacy_message_144 {
  struct memtally_legacy_head head;
  uint64_t cb_allocated;
  uint64_t kernel_allocated;
  struct memtally_legacy_device_facts device;
  uint32_t ring_buffer_total;
  uint32_t ring_buffer_used;
  uint32_t num_programs;
  uint32_t pad_2;
};

#ifdef __cplusplus
#define MEMTALLY_LEGACY_ASSERT(condition) static_assert(condition, #condition)
#else
#define MEMTALLY_LEGACY_ASSERT(condition) _Static_assert(condition, #condition)
#endif
MEMTALLY_LEGACY_ASSERT(sizeof(struct memtally_legacy_head) == MEMTALLY_LEGACY_72);
MEMTALLY_LEGACY_ASSERT(sizeof(struct memtally_legacy_message_112) == MEMTALLY_LEGACY_112);
MEMTALLY_LEGACY_ASSERT(sizeof(struct memtally_legacy_message_128) == MEMTALLY_LEGACY_128);
MEMTALLY_LEGACY_ASSERT(sizeof(struct memtally_legacy_message_144) == MEMTALLY_LEGACY_144);
#undef MEMTALLY_LEGACY_ASSERT

#endif /* MEMTALLY_ABI_LEGACY_PROTOCOL_H */
