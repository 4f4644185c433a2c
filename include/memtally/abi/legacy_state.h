/* SPDX-License-Identifier: Apache-2.0
 *
 * What memtallyd knows from the original allocation-server protocol, as readers get it: version 1.
 *
 * A reader connects to the state socket (SOCK_SEQPACKET), sends one request and gets one reply with a descriptor: of a
 * sealed memory file that holds header, processes, accounts and buffers, one after the other.  Host byte order; texts
 * end at their first zero.  docs/formats/legacy-protocol.md has the rules.
 */
#ifndef MEMTALLY_ABI_LEGACY_STATE_H
#define MEMTALLY_ABI_LEGACY_STATE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define MEMTALLY_LEGACY_STATE_MAGIC 0x45594c4c4154544dULL /* the bytes "MTTALLYE" */
#define MEMTALLY_LEGACY_STATE_VERSION 1u
/* Beside the ledgers: in MEMTALLY_DIR, or /dev/shm. */
#define MEMTALLY_LEGACY_STATE_SOCKET "memtally_legacy.sock"

enum memtally_legacy_state_level {
  MEMTALLY_LEGACY_STATE_TOTALS = 0,
  MEMTALLY_LEGACY_STATE_ONE_PROCESS = 1, /* and the buffers of run_id */
  MEMTALLY_LEGACY_STATE_EVERYTHING = 2
};

struct memtally_legacy_state_request {
  uint64_t magic;
  uint32_t version;
  uint32_t level;
  uint8_t run_id[16];
};

struct memtally_legacy_state_reply {
  uint64_t magic;
  uint32_t version;
  uint32_t status; /* 0, or an errno of the server: then there is no descriptor */
  uint64_t bytes;  /* of the memory file */
};

enum memtally_legacy_refusal {
  MEMTALLY_LEGACY_REFUSED_GROUP = 0,       /* the peer is not in the group that may connect */
  MEMTALLY_LEGACY_REFUSED_CONNECTIONS = 1, /* more connections than all together may have */
  MEMTALLY_LEGACY_REFUSED_OF_USER = 2,     /* more connections than one user may have */
  MEMTALLY_LEGACY_REFUSED_IDLE = 3,        /* closed: silent for too long */
  MEMTALLY_LEGACY_REFUSED_BYTES = 4,       /* closed: its bytes are no messages of any generation */
  MEMTALLY_LEGACY_REFUSED_UNREAD = 5,      /* closed: it does not read its answers */
  MEMTALLY_LEGACY_REFUSED_BUFFERS = 6,     /* an allocation beyond the buffers that one process may have */
  MEMTALLY_LEGACY_REFUSED_DESCRIPTORS = 7, /* the server had no descriptor left */
  MEMTALLY_LEGACY_REFUSALS = 8
};

struct memtally_legacy_state_header {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes; /* sizeof this structure; the others may be longer in later servers, too */
  uint32_t process_bytes;
  uint32_t account_bytes;
  uint32_t buffer_bytes;
  uint32_t level;
  uint64_t process_count;
  uint64_t account_count;
  uint64_t buffer_count;
  uint64_t time_ns; /* CLOCK_MONOTONIC */
  uint64_t start_ns;
  uint8_t boot_id[16];
  uint64_t pid_namespace; /* in which the pids below are, 0 unknown */
  uint32_t server_pid;
  uint32_t connections;
  uint64_t connections_ever;
  uint64_t messages;
  uint64_t queries;
  uint64_t forgotten_processes; /* dead ones, to make room */
  uint64_t refused[MEMTALLY_LEGACY_REFUSALS];
  char socket_path[112];
};

enum memtally_legacy_process_state {
  MEMTALLY_LEGACY_CONNECTED = 0,
  MEMTALLY_LEGACY_DISCONNECTED = 1, /* alive, without a connection */
  MEMTALLY_LEGACY_DEAD = 2
};

/* Bits of memtally_legacy_state_process.generations. */
enum memtally_legacy_generation_bit {
  MEMTALLY_LEGACY_SPOKE_72 = 1,
  MEMTALLY_LEGACY_SPOKE_112 = 2,
  MEMTALLY_LEGACY_SPOKE_128 = 4,
  MEMTALLY_LEGACY_SPOKE_144 = 8
};

struct memtally_legacy_state_process {
  uint8_t run_id[16];
  uint32_t pid; /* as the kernel names the sender; 0: it lives in another pid namespace */
  uint32_t parent_pid;
  uint32_t uid;
  uint32_t gid;
  uint64_t start_ticks; /* field 22 of /proc/<pid>/stat, 0 unknown */
  uint64_t start_ns;    /* its first message */
  uint64_t end_ns;      /* when its last connection, or it, went; 0 neither */
  uint32_t state;       /* enum memtally_legacy_process_state */
  uint32_t connections;
  uint32_t generations;
  int32_t claimed_pid; /* the last foreign pid in a message, 0 none */
  uint64_t first_account;
  uint64_t account_count;
  uint64_t first_buffer;
  uint64_t buffer_count; /* listed here, of live_buffers */
  uint64_t live_buffers;
  uint64_t messages;
  uint64_t repeated_allocations; /* each is one more reference */
  uint64_t unknown_frees;
  uint64_t unknown_free_bytes;
  uint64_t ambiguous_frees;
  uint64_t foreign_pids; /* messages with a pid that is none of the sender's own */
  uint64_t refused_buffers;
  uint64_t refused_bytes;
  uint64_t damaged_messages; /* did not begin with a type, or ended with the connection */
  uint64_t skipped_bytes;
  uint64_t unknown_types;
  uint64_t throttled; /* how often it had to wait */
  uint64_t resynchronisations;
  char comm[16];
  char executable[256];
};

struct memtally_legacy_state_account {
  int32_t device;
  uint32_t kind; /* enum memtally_kind */
  uint64_t live_count;
  uint64_t live_bytes;
  uint64_t allocated_count;
  uint64_t allocated_bytes;
  uint64_t freed_count;
  uint64_t freed_bytes;
  uint64_t peak_bytes;
  uint64_t capacity_bytes; /* from the server's settings, 0 unknown */
};

struct memtally_legacy_state_buffer {
  uint64_t id;
  uint64_t size;
  uint64_t time_ns;
  int32_t device;
  uint32_t kind;
  uint32_t references;
  uint32_t reserved;
};

#endif /* MEMTALLY_ABI_LEGACY_STATE_H */
