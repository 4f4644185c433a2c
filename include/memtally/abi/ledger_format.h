/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a ledger file, version 1.  docs/formats/ledger.md draws them and states the rules; this header only
 * gives them names.  Plain C without pointers, so that a kernel can include it.  All numbers are little-endian; all
 * offsets are bytes from the start of the file; all structures have the alignment of their widest member and no hidden
 * padding.
 *
 * Who may write: exactly one process, the one that the header names.  Within it, each word has one lock (named below).
 * Who may read: everybody whom the file's mode lets, at any time, trusting nothing.
 */
#ifndef MEMTALLY_ABI_LEDGER_FORMAT_H
#define MEMTALLY_ABI_LEDGER_FORMAT_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

/* ---- limits that the version fixes ---------------------------------------------------------------------------- */

#define MEMTALLY_LEDGER_MAGIC 0x474c594c4c41544dULL /* the bytes "MTALLYLG" */
#define MEMTALLY_LEDGER_VERSION 1u

enum {
  MEMTALLY_PAGE_BYTES = 4096, /* unit of reservation; the same on machines with larger pages */
  MEMTALLY_MAX_DEVICES = 128,
  MEMTALLY_MAX_KINDS = 64,
  MEMTALLY_MAX_ACCOUNTS = 1024, /* (device, kind) pairs; 10 bits in a record */
  MEMTALLY_MAX_LANES = 128,
  MEMTALLY_MAX_THREADS = 65536, /* index 0: unknown or beyond the table */
  MEMTALLY_MAX_TAGS = 65536,    /* index 0: no tag; index 1: "(other)" */
  MEMTALLY_MAX_GROUPS = 8192,
  MEMTALLY_SEGMENTS = 16,            /* of a lane's buffer table */
  MEMTALLY_SEGMENT_0_SLOTS = 512,    /* segment k has 512 << k slots */
  MEMTALLY_RING_EVENTS_FIRST = 8192, /* flight recorder of the first lane; further lanes have fewer */
  MEMTALLY_ANOMALY_SAMPLES = 4,
  MEMTALLY_UNDO_WORDS = 32
};

#define MEMTALLY_NONE 0xffffffffu /* "no index" in 32-bit index fields */

/* ---- header: page 0 -------------------------------------------------------------------------------------------- */

enum memtally_clock_kind {
  MEMTALLY_CLOCK_MONOTONIC = 1, /* ticks are CLOCK_MONOTONIC nanoseconds */
  MEMTALLY_CLOCK_X86_TSC = 2,
  MEMTALLY_CLOCK_AARCH64_CNTVCT = 3
};

enum memtally_end_state {
  MEMTALLY_RUNNING = 0, /* or died without a word: ask the lock */
  MEMTALLY_EXITED = 1   /* the process ran its exit handlers */
};

/* An array in the file.  `count` is published after the entries that it covers. */
struct memtally_area {
  uint64_t offset;
  uint32_t capacity; /* entries */
  uint32_t count;    /* entries in use */
};

struct memtally_ledger_header {
  uint64_t magic; /* written last when the ledger is made: zero means "being made" */
  uint32_t version;
  uint32_t header_bytes; /* sizeof this structure */

  /* identity; written once, before magic */
  uint8_t run_id[16];  /* random */
  uint8_t boot_id[16]; /* /proc/sys/kernel/random/boot_id, binary */
  uint8_t machine_id[16];
  uint32_t pid; /* in its own pid namespace */
  uint32_t uid; /* effective user that made the file */
  uint32_t gid;
  uint32_t parent_pid;
  uint64_t pid_namespace;       /* inode of /proc/self/ns/pid, 0 unknown */
  uint64_t process_start_ticks; /* field 22 of /proc/self/stat, clock ticks since boot, 0 unknown */
  uint64_t created_realtime_ns;
  char comm[16];
  char host_name[64];
  char executable[256];
  char tracker_version[32];
  char cgroup[256];   /* path of the unified or first hierarchy */
  char container[80]; /* identifier found in cgroup, "" none */
  char pod[80];
  char job[64]; /* "slurm:123", "pbs:...", "lsf:..." */

  /* clock: time_ns = start_ns + ((units << shift) * slope), see the page */
  uint32_t clock_kind;
  uint32_t clock_shift;
  uint64_t clock_hz; /* ticks a second as first estimated, 0 unknown */
  uint64_t clock_start_ticks;
  uint64_t clock_start_ns;      /* CLOCK_MONOTONIC */
  uint64_t clock_pair_sequence; /* odd while the pair below is written */
  uint64_t clock_pair_ticks;
  uint64_t clock_pair_ns;

  /* end of the process; written by exit handlers */
  uint32_t end_state;
  uint32_t reserved_0;
  uint64_t end_time; /* units, as in records */

  /* losses that belong to no lane; process-wide lock of the registry */
  uint64_t lost_events;        /* no lane, no ledger or a stuck lock: the call was not recorded */
  uint64_t lost_bytes;         /* requested bytes of lost allocations */
  uint64_t lost_tags;          /* tag names beyond the table: counted as "(other)" */
  uint64_t lost_groups;        /* group names beyond the table */
  uint64_t lost_registrations; /* devices, kinds or accounts beyond the tables */
  uint64_t signal_overflow;    /* events of signal handlers beyond a thread's queue */
  uint64_t paused_events;      /* calls made while the thread had paused tracking */
  uint64_t refused_pages;      /* growth that the file system refused */
  uint64_t recorder_wait_ns;   /* time that callers spent waiting for a recorder */

  struct memtally_area catalog; /* struct memtally_catalog_entry */
  struct memtally_area threads; /* uint32_t thread id (as gettid) */
  struct memtally_area tags;    /* struct memtally_tag */
  struct memtally_area groups;  /* struct memtally_group */
  uint64_t file_end;            /* first byte that no extent uses */
  uint32_t lane_count;          /* published after lane_offset */
  uint32_t reserved_1;
  uint8_t launch_id[16]; /* identity: of the launch (MEMTALLY_LAUNCH) under which the process runs, zero none */
  uint64_t reserved_2[14];
};

/* Lane i of the file begins at the i-th of these. */
#define MEMTALLY_LANE_DIRECTORY_OFFSET 3072

/* ---- catalog: devices, kinds, accounts; append-only except where noted; registry lock ---------------------------- */

enum memtally_catalog_type {
  MEMTALLY_CATALOG_DEVICE = 1, /* followed by one entry of type DEVICE_MORE */
  MEMTALLY_CATALOG_DEVICE_MORE = 2,
  MEMTALLY_CATALOG_KIND = 3,
  MEMTALLY_CATALOG_ACCOUNT = 4
};

enum memtally_device_id_scheme { MEMTALLY_ID_NONE = 0, MEMTALLY_ID_CHIP = 1, MEMTALLY_ID_UUID = 2 };

struct memtally_catalog_device {
  uint32_t type;
  uint32_t index; /* 0, 1, ... among devices */
  uint8_t id[16];
  uint32_t id_scheme;
  int32_t local_index;     /* the program's own number of the device */
  uint32_t pci_address;    /* domain << 16 | bus << 8 | device << 3 | function; MEMTALLY_NONE unknown */
  uint32_t parent;         /* device index, MEMTALLY_NONE none */
  uint64_t physical_bytes; /* main memory of the device, 0 unknown; may change */
  uint64_t closed_at;      /* 0 open; otherwise 1 + time units of the close; may change */
  uint32_t closes;         /* how often it was closed; may change */
  uint32_t reserved;
};

struct memtally_catalog_device_more {
  uint32_t type;
  uint32_t index;
  char vendor[24];
  char architecture[32];
};

enum memtally_kind_flag {
  MEMTALLY_KIND_OVERLAPS = 1, /* buffers share addresses: a sum says nothing about capacity */
  MEMTALLY_KIND_ON_HOST = 2   /* host memory: not part of a device's total */
};

struct memtally_catalog_kind {
  uint32_t type;
  uint32_t index;  /* the number that accounts name; 0..31 are memtally's own, others the program's */
  uint32_t memory; /* kind in whose memory it lies; itself if it is a memory */
  uint32_t inside; /* kind in whose buffers it nests; MEMTALLY_NONE none */
  uint32_t flags;
  uint32_t reserved;
  char name[40];
};

struct memtally_catalog_account {
  uint32_t type;
  uint32_t index; /* 0, 1, ... among accounts: the number in records */
  uint16_t device;
  uint16_t kind;
  uint32_t banks;                   /* changes only while nothing is live */
  uint64_t capacity_bytes;          /* all banks, 0 unknown; may change */
  uint64_t capacity_bytes_per_bank; /* 0 unknown; may change */
  /* Peaks of several lanes together; peak lock.  Zero while one lane uses the account. */
  uint64_t peak_requested; /* a sum that was really reached */
  uint64_t peak_reserved;
  uint64_t peak_requested_bound; /* no sum was ever above this, before the lanes' present epoch */
  uint64_t peak_reserved_bound;
};

struct memtally_catalog_entry {
  uint32_t type;
  uint32_t index;
  uint8_t body[56];
};

/* Kind numbers that every ledger has. */
enum memtally_kind {
  MEMTALLY_KIND_DRAM = 0,
  MEMTALLY_KIND_L1 = 1,
  MEMTALLY_KIND_L1_SMALL = 2,
  MEMTALLY_KIND_TRACE = 3,
  MEMTALLY_KIND_SYSTEM_MEMORY = 4,
  MEMTALLY_KIND_CB = 5,
  MEMTALLY_KIND_DFB = 6,
  MEMTALLY_KIND_KERNEL = 7,
  MEMTALLY_KIND_CUDA_DEVICE = 8,
  MEMTALLY_KIND_CUDA_MANAGED = 9,
  MEMTALLY_KIND_HOST_PINNED = 10,
  MEMTALLY_BUILTIN_KINDS = 11,
  MEMTALLY_FIRST_PROGRAM_KIND = 32,
  MEMTALLY_KIND_ANY = 0xffff /* in calls only: "whatever kind it has" */
};

/* ---- tags and groups; registry lock ------------------------------------------------------------------------------ */

struct memtally_tag {
  uint32_t parent;     /* tag index; 0: top */
  uint32_t name_hash;  /* FNV-1a of the whole name */
  uint32_t name_bytes; /* length of the whole name; the text below is cut at 115 bytes */
  char name[116];      /* with a terminating zero */
};

struct memtally_group {
  uint64_t id; /* the program's own number; 0: entry unused */
  uint32_t name_bytes;
  char name[116];
};

/* ---- lanes ---------------------------------------------------------------------------------------------------------
 * A lane is a part of the ledger that one thread usually has to itself: buffers, sums, anomalies, flight recorder.  All
 * events of one (device, id) go through one lane.  Every word of a lane has the lane's lock. */

/* A buffer: 40 bytes.  An event: the same five words and a sixth. */
struct memtally_record {
  uint64_t id;
  uint64_t address;            /* or the slot of its extension, if flag EXTENDED */
  uint64_t size_account_flags; /* requested:46 | account:10 | flags:8 (from the low end) */
  uint64_t bank_thread_time;   /* bytes_per_bank:40 | thread:16 | time bits 48..55:8 */
  uint64_t time_tag;           /* tag:16 | time bits 0..47:48 */
};

#define MEMTALLY_REQUESTED_BITS 46
#define MEMTALLY_ACCOUNT_SHIFT 46
#define MEMTALLY_ACCOUNT_BITS 10
#define MEMTALLY_FLAGS_SHIFT 56
#define MEMTALLY_PER_BANK_BITS 40
#define MEMTALLY_THREAD_SHIFT 40
#define MEMTALLY_TIME_HIGH_SHIFT 56
#define MEMTALLY_TAG_BITS 16
#define MEMTALLY_TIME_LOW_SHIFT 16

enum memtally_record_flag {
  MEMTALLY_FLAG_LIVE = 1,
  MEMTALLY_FLAG_IMPORTED = 2,
  MEMTALLY_FLAG_EXTENDED = 4,
  MEMTALLY_FLAG_EXTENSION = 8 /* this slot is not a buffer but the rest of one */
};

/* What does not fit into a record, in a slot of the same table. */
struct memtally_record_extension {
  uint64_t address;
  uint64_t group;
  uint64_t stack_flags; /* stack:32 | 0:24 | flags:8, flags == EXTENSION */
  uint64_t bytes_requested;
  uint64_t bytes_per_bank;
};

/* In an event the low half of the flags is as above (LIVE unused) and the high half is the operation. */
enum memtally_operation {
  MEMTALLY_OP_NONE = 0, /* this event could not be kept */
  MEMTALLY_OP_ALLOC = 1,
  MEMTALLY_OP_FREE = 2,
  MEMTALLY_OP_ALLOC_FAILED = 3,
  MEMTALLY_OP_MARK = 4,
  MEMTALLY_OP_CLOSE = 5,
  MEMTALLY_OP_REPLACE = 6, /* an allocation of a live key */
  MEMTALLY_OP_UNKNOWN_FREE = 7,
  MEMTALLY_OP_AMBIGUOUS_FREE = 8,
  MEMTALLY_OP_INHERITED_FREE = 9,
  MEMTALLY_OP_AFTER_CLOSE = 10,
  MEMTALLY_OP_DUPLICATE_REPORTER = 11,
  MEMTALLY_OP_NO_ROOM = 12,
  MEMTALLY_OP_OPEN = 13,
  MEMTALLY_OP_BOOKKEEPING = 14 /* a step of the tracker's own, of no interest to people */
};

struct memtally_event {
  struct memtally_record record; /* extended ones have their real address here and cut sizes */
  uint64_t slot_group;           /* slot:32 | low 32 bits of the group; for REPLACE the slot that was given up */
};

enum memtally_anomaly {
  MEMTALLY_ANOMALY_UNKNOWN_FREE = 0,
  MEMTALLY_ANOMALY_REPLACED = 1,
  MEMTALLY_ANOMALY_AMBIGUOUS = 2,
  MEMTALLY_ANOMALY_INHERITED = 3,
  MEMTALLY_ANOMALY_AFTER_CLOSE = 4,
  MEMTALLY_ANOMALY_DUPLICATE_REPORTER = 5,
  MEMTALLY_ANOMALY_NO_ROOM = 6,
  MEMTALLY_ANOMALY_FAILED_ALLOC = 7,
  MEMTALLY_ANOMALIES = 8
};

struct memtally_anomaly_block {
  uint64_t count;
  uint64_t bytes_requested;                                /* where the call named a size or a record had one */
  struct memtally_event samples[MEMTALLY_ANOMALY_SAMPLES]; /* number n of them is at n modulo 4 */
};

/* Sums of one account in one lane.  live = allocated - freed.  One cache line. */
struct memtally_sums {
  uint64_t allocations;
  uint64_t allocated_requested;
  uint64_t allocated_reserved;
  uint64_t frees; /* with those that a close did, once the device was opened again */
  uint64_t freed_requested;
  uint64_t freed_reserved;
  uint64_t peak_requested; /* highest live since the epoch began; an epoch begins with the lane or a peak collection */
  uint64_t peak_reserved;
};

/* The rarer half of the sums. */
struct memtally_more_sums {
  uint64_t released; /* buffers that a close released, once the device was opened again */
  uint64_t released_requested;
  uint64_t released_reserved;
  uint64_t failed_allocations;
  uint64_t failed_requested;
  uint64_t imported; /* live imported buffers: in no other sum */
  uint64_t imported_requested;
  uint64_t reserved;
};

struct memtally_undo_word {
  uint64_t offset; /* of a word of the file */
  uint64_t old_value;
};

/* How to take back the call that was under way.  Valid if `sequence` equals the lane's, which is then odd. */
struct memtally_undo {
  uint64_t sequence;
  uint32_t account; /* MEMTALLY_NONE: sums untouched */
  uint32_t words;   /* of `word` in use */
  uint64_t slot;    /* MEMTALLY_NONE: none */
  uint64_t old_size_account_flags;
  struct memtally_sums old_sums;
  struct memtally_undo_word word[MEMTALLY_UNDO_WORDS];
};

struct memtally_lane {
  uint64_t sequence;   /* odd while a call is under way; half of it is the number of events so far */
  uint64_t slots_used; /* slots below this have been written at some time */
  uint64_t ring_offset;
  uint32_t ring_capacity;  /* events; event n is at n modulo this */
  uint32_t owner_thread;   /* thread index of the thread that has it to itself; 0 none */
  uint64_t dropped_events; /* numbers whose event could not be kept (operation NONE) */
  uint64_t unread_events;  /* overwritten before the recorder had read them */
  uint64_t reserved[2];
  uint64_t segment_offset[MEMTALLY_SEGMENTS]; /* 0: not there yet */
  struct memtally_anomaly_block anomaly[MEMTALLY_ANOMALIES];
  struct memtally_undo undo;
};

/* Where the parts of a lane lie, in bytes from its start. */
#define MEMTALLY_LANE_SUMS_OFFSET 3072       /* struct memtally_sums[1024] */
#define MEMTALLY_LANE_MORE_SUMS_OFFSET 69632 /* struct memtally_more_sums[1024] */
#define MEMTALLY_LANE_RING_OFFSET 135168     /* struct memtally_event[ring_capacity] */

/* ---- control file: <ledger>.control, written by a recorder, read by the tracker ---------------------------------- */

#define MEMTALLY_CONTROL_MAGIC 0x54434c4c41544d21ULL
#define MEMTALLY_CONTROL_VERSION 1u

enum memtally_control_flag {
  MEMTALLY_CONTROL_RECORDING = 1,
  MEMTALLY_CONTROL_WAIT =
      2, /* a full ring waits for the recorder; otherwise unread events are overwritten and counted */
  MEMTALLY_CONTROL_STACKS = 4
};

struct memtally_control {
  uint64_t magic; /* 0: no recorder has ever been here */
  uint32_t version;
  uint32_t flags;
  uint64_t heartbeat; /* changes at least every 50 ms while the recorder runs */
  uint64_t reserved[5];
  uint64_t read_events[MEMTALLY_MAX_LANES]; /* events of each lane that were read */
};

/* ---- sizes, so that no compiler changes them unseen ---------------------------------------------------------------
 */

#ifdef __cplusplus
#define MEMTALLY_ABI_ASSERT(condition, name) static_assert(condition, #name)
#else
#define MEMTALLY_ABI_ASSERT(condition, name) typedef char memtally_abi_assert_##name[(condition) ? 1 : -1]
#endif

MEMTALLY_ABI_ASSERT(sizeof(struct memtally_area) == 16, area);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_ledger_header) <= MEMTALLY_LANE_DIRECTORY_OFFSET, header_fits);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_ledger_header) % 8 == 0, header_padding);
MEMTALLY_ABI_ASSERT(MEMTALLY_LANE_DIRECTORY_OFFSET + 8 * MEMTALLY_MAX_LANES == MEMTALLY_PAGE_BYTES, directory);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_catalog_entry) == 64, catalog_entry);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_catalog_device) == 64, catalog_device);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_catalog_device_more) == 64, catalog_device_more);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_catalog_kind) == 64, catalog_kind);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_catalog_account) == 64, catalog_account);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_tag) == 128, tag);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_group) == 128, group);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_record) == 40, record);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_record_extension) == 40, record_extension);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_event) == 48, event);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_sums) == 64, sums);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_more_sums) == 64, more_sums);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_anomaly_block) == 208, anomaly_block);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_undo) == 96 + 16 * MEMTALLY_UNDO_WORDS, undo);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_lane) <= MEMTALLY_LANE_SUMS_OFFSET, lane_fits);
MEMTALLY_ABI_ASSERT(MEMTALLY_LANE_MORE_SUMS_OFFSET >= MEMTALLY_LANE_SUMS_OFFSET + 64 * MEMTALLY_MAX_ACCOUNTS, sums_fit);
MEMTALLY_ABI_ASSERT(MEMTALLY_LANE_RING_OFFSET == MEMTALLY_LANE_MORE_SUMS_OFFSET + 64 * MEMTALLY_MAX_ACCOUNTS,
                    more_sums_fit);
MEMTALLY_ABI_ASSERT(MEMTALLY_LANE_RING_OFFSET % MEMTALLY_PAGE_BYTES == 0, ring_aligned);
MEMTALLY_ABI_ASSERT(sizeof(struct memtally_control) <= MEMTALLY_PAGE_BYTES, control_fits);

#endif /* MEMTALLY_ABI_LEDGER_FORMAT_H */
