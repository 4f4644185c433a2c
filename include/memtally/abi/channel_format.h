/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of an ipc channel's file, version 1.  docs/formats/channel.md draws them and states the rules; this header
 * only gives them names.  Plain C without pointers.  All numbers are little-endian; offsets are bytes from the start of
 * the file.  Channels of one process (memory://) have the same bytes, in memory of their own.
 */
#ifndef MEMTALLY_ABI_CHANNEL_FORMAT_H
#define MEMTALLY_ABI_CHANNEL_FORMAT_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define MEMTALLY_CHANNEL_MAGIC 0x4843594c4c41544dULL /* the bytes "MTALLYCH" */
#define MEMTALLY_CHANNEL_VERSION 1u

enum {
  MEMTALLY_CHANNEL_HEADER_BYTES = 4096,
  MEMTALLY_CHANNEL_PARTICIPANTS = 128,
  MEMTALLY_CHANNEL_PARTICIPANT_BYTES = 256,
  /* where descriptors (MPSC), words that say which slots are free (SPMC, MPMC), or the ring begin */
  MEMTALLY_CHANNEL_DATA_OFFSET = 4096 + 128 * 256
};

enum memtally_channel_mode {
  MEMTALLY_CHANNEL_SPSC = 1,
  MEMTALLY_CHANNEL_MPSC = 2,
  MEMTALLY_CHANNEL_SPMC = 3, /* in one process only */
  MEMTALLY_CHANNEL_MPMC = 4, /* in one process only */
  MEMTALLY_CHANNEL_BROADCAST = 5
};

enum memtally_channel_flag {
  MEMTALLY_CHANNEL_METRICS = 1,  /* participants count */
  MEMTALLY_CHANNEL_SLEEPERS = 2, /* participants may sleep: who publishes looks for sleepers */
  MEMTALLY_CHANNEL_OVERRUN = 4   /* broadcast: slow consumers are overrun; otherwise they block the producer */
};

enum memtally_channel_role {
  MEMTALLY_CHANNEL_HANDLE = 1, /* has the channel open */
  MEMTALLY_CHANNEL_PRODUCER = 2,
  MEMTALLY_CHANNEL_CONSUMER = 3
};

enum memtally_channel_presence {
  MEMTALLY_CHANNEL_FREE = 0,
  MEMTALLY_CHANNEL_PRESENT = 1, /* alive while its byte is locked, see MEMTALLY_CHANNEL_LOCK_FIRST */
  MEMTALLY_CHANNEL_DEAD = 2     /* a producer that died, and whose claim may matter yet */
};

/* Bytes of the file that are locked (open-file-description locks), all behind its end. */
#define MEMTALLY_CHANNEL_LOCK_SETUP 0x4000000000000000ULL /* whoever joins, leaves, buries or unlinks */
#define MEMTALLY_CHANNEL_LOCK_FIRST 0x4000000000000001ULL /* + number of the participant, as long as it lives */

struct memtally_channel_counts {
  uint64_t messages;
  uint64_t bytes;
  uint64_t waits;        /* of a producer: for room; of a consumer: for a message */
  uint64_t drops;        /* of a producer: dropped, since there was no room; of a consumer: overrun */
  uint64_t high_water;   /* bytes (slots) that were in use at most, as the producer saw it */
  uint64_t last_time_ns; /* CLOCK_MONOTONIC, coarse */
};

struct memtally_channel_participant {
  /* written under the setup lock; state last */
  uint32_t state; /* enum memtally_channel_presence */
  uint32_t role;  /* enum memtally_channel_role */
  uint32_t pid;   /* in its own pid namespace */
  uint32_t uid;
  uint64_t joined_time_ns; /* CLOCK_MONOTONIC */
  char comm[16];
  uint8_t reserved_0[24];
  /* written by the participant alone */
  uint64_t claim;  /* MPSC producer: value of `tail` that it is about to exchange; all ones: none */
  uint64_t cursor; /* broadcast consumer: everything before was released */
  uint64_t missed; /* messages that it was overrun by; the producer counts */
  uint8_t reserved_1[40];
  struct memtally_channel_counts counts;
  uint8_t reserved_2[16];
  uint8_t reserved_3[64];
};

struct memtally_channel_header {
  /* written once, before magic */
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint32_t mode;             /* enum memtally_channel_mode */
  uint32_t flags;            /* enum memtally_channel_flag */
  uint32_t alignment;        /* of payloads: 8 or 64 */
  uint32_t descriptor_count; /* MPSC; a power of two */
  uint64_t capacity;         /* bytes of the ring, a power of two; slots: number of slots times stride */
  uint64_t stride;           /* bytes of a slot; 0 for rings of bytes */
  uint64_t ring_offset;
  uint64_t file_bytes;
  uint8_t boot_id[16];
  uint64_t created_realtime_ns;
  uint8_t reserved_0[40];

  /* seldom written */
  uint32_t stopped;
  uint32_t dead_producers;
  uint32_t dead_consumers;
  uint32_t last_dead_pid;
  uint64_t abandoned; /* messages that the dead had claimed or taken */
  uint8_t reserved_1[40];

  uint32_t data_event; /* futex: bit 0 somebody sleeps; the rest counts */
  uint8_t reserved_2[60];
  uint32_t room_event;
  uint8_t reserved_3[60];

  /* the consumer's line; positions, see the ring's own page */
  uint64_t head;
  uint64_t taken;
  uint8_t reserved_4[48];
  /* the producers' line; slots: `enqueue` */
  uint64_t tail;
  uint8_t reserved_5[56];
  /* slots: `dequeue` */
  uint64_t dequeue;
  uint8_t reserved_6[56];

  /* counts of those who left or died, under the setup lock */
  struct memtally_channel_counts departed_producers;
  uint8_t reserved_7[16];
  struct memtally_channel_counts departed_consumers;
  uint8_t reserved_8[16];
};

#ifndef __KERNEL__
#ifdef __cplusplus
#define MEMTALLY_CHANNEL_ASSERT(condition) static_assert(condition, #condition)
#else
#define MEMTALLY_CHANNEL_ASSERT(condition) _Static_assert(condition, #condition)
#endif
MEMTALLY_CHANNEL_ASSERT(sizeof(struct memtally_channel_participant) == MEMTALLY_CHANNEL_PARTICIPANT_BYTES);
MEMTALLY_CHANNEL_ASSERT(sizeof(struct memtally_channel_header) <= MEMTALLY_CHANNEL_HEADER_BYTES);
#undef MEMTALLY_CHANNEL_ASSERT
#endif

#endif /* MEMTALLY_ABI_CHANNEL_FORMAT_H */
