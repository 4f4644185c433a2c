/* SPDX-License-Identifier: Apache-2.0
 *
 * Report device memory to memtally: C API.
 *
 * This header alone compiles and does nothing: a call is one load and one branch.  Once libmemtally is in the process
 * (linked, preloaded or opened later with dlopen), the same calls keep the process's ledger, which `memtally ps` and
 * every other reader look at.  Nothing is to be linked or initialised for that (glibc before 2.34: link with -ldl).
 *
 *   memtally_device gpu = memtally_register_device(&(struct memtally_device_info){.size = sizeof(struct
 * memtally_device_info), .local_index = 0, .vendor = "acme"}); memtally_register_kind(gpu, MEMTALLY_KIND_DRAM, 1 << 30,
 * 1, 1 << 30); memtally_alloc(gpu, MEMTALLY_KIND_DRAM, id, address, 4096, 4096);   after the allocation succeeded
 *   memtally_free(gpu, MEMTALLY_KIND_DRAM, id);                         before the memory is given back
 *
 * Every function may be called from any thread, from signal handlers (handlers that interrupt another call of this
 * header have a small queue; what overflows it is counted), before main and after exit handlers.  No function fails
 * towards its caller, throws, prints, or changes errno; what could not be recorded is counted in the ledger.  Sizes are
 * bytes.
 */
#ifndef MEMTALLY_TRACK_H
#define MEMTALLY_TRACK_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include <memtally/abi/ledger_format.h>

/* C, also where a C++ program includes it. */
/* NOLINTBEGIN(modernize-*,misc-definitions-in-headers,bugprone-dynamic-static-initializers) */

#ifdef __cplusplus
extern "C" {
#endif

/* A device as registered by one reporter.  0 is "none": every call with it does nothing. */
typedef uint32_t memtally_device;

/* What is known of a device.  Zero what is not.  Strings are copied. */
struct memtally_device_info {
  size_t size;        /* sizeof(struct memtally_device_info) */
  uint8_t id[16];     /* names the device on this machine and across processes, if id_scheme says so */
  uint32_t id_scheme; /* enum memtally_device_id_scheme; MEMTALLY_ID_NONE: never merged with another process's device */
  int32_t local_index;    /* the program's own number of the device */
  uint32_t pci_known;     /* nonzero: pci_address is valid */
  uint32_t pci_address;   /* domain << 16 | bus << 8 | device << 3 | function */
  memtally_device parent; /* the device that this one is part of, 0 none */
  uint64_t physical_bytes;
  const char* vendor;
  const char* architecture;
  const char* reporter; /* who reports: "tt-metal hook"; null: "application".  The first reporter of a (device, kind)
                           owns it; events of others are counted as duplicates and change no total. */
};

/* A buffer, in full.  Zero what is not known. */
struct memtally_buffer {
  size_t size; /* sizeof(struct memtally_buffer) */
  memtally_device device;
  uint32_t kind;
  uint64_t id; /* names the buffer among the live ones of its device and kind */
  uint64_t address;
  uint64_t bytes_requested;
  uint64_t bytes_per_bank; /* what the allocator took in each bank; reserved = this x banks */
  uint64_t group;          /* ties buffers together (chips of a mesh buffer, buffers of a program); 0 none */
  uint32_t stack;          /* 0 none */
  uint32_t imported;       /* nonzero: another process's memory; listed, not summed */
};

/* The calls, as libmemtally offers them.  Grows at its end only. */
struct memtally_api {
  uint32_t version; /* MEMTALLY_API_VERSION of the library */
  uint32_t size;    /* sizeof this structure in the library */
  memtally_device (*register_device)(const struct memtally_device_info* info);
  void (*register_kind)(memtally_device device, uint32_t kind, uint64_t capacity_bytes, uint32_t banks,
                        uint64_t capacity_bytes_per_bank);
  uint32_t (*define_kind)(const char* name, uint32_t memory, uint32_t inside, uint32_t flags);
  void (*alloc)(memtally_device device, uint32_t kind, uint64_t id, uint64_t address, uint64_t bytes_requested,
                uint64_t bytes_per_bank);
  void (*alloc_buffer)(const struct memtally_buffer* buffer);
  void (*free)(memtally_device device, uint32_t kind, uint64_t id);
  void (*alloc_failed)(memtally_device device, uint32_t kind, uint64_t bytes_requested, uint64_t bytes_per_bank);
  void (*close_device)(memtally_device device);
  void (*mark)(const char* name);
  void (*push_tag)(const char* name);
  void (*pop_tag)(void);
  void (*name_group)(uint64_t group, const char* name);
  void (*forget_group)(uint64_t group);
  void (*pause)(void);
  void (*resume)(void);
  uint32_t (*current_tag)(void);
  uint32_t (*exchange_tag)(uint32_t tag);
  const char* (*ledger_path)(void);
};

enum { MEMTALLY_API_VERSION = 1 };

/* Where this header's code looks for the library: one in each executable and shared object that includes it.
 * `api` is null while nobody has looked, MEMTALLY_ABSENT when there is no library or it is turned off. */
struct memtally_gate {
  const struct memtally_api* api;
};

#define MEMTALLY_ABSENT ((const struct memtally_api*)(uintptr_t)1)

__attribute__((weak, used, visibility("hidden"))) struct memtally_gate memtally_gate_v1;

/* A note in the object file tells a library that is loaded later where the gate is: its distance from the note's text.
 */
__asm__(
    ".pushsection .note.memtally,\"a\",%note\n"
    ".balign 4\n"
    ".long 9\n"             /* bytes of the name */
    ".long 8\n"             /* bytes of the descriptor */
    ".long 1\n"             /* type 1: a gate */
    ".asciz \"memtally\"\n" /* 9 bytes */
    ".balign 4\n"
    "661: .quad memtally_gate_v1 - 661b\n"
    ".popsection\n");

/* Finds the library and sets the gate.  Called by the first call through each gate. */
__attribute__((weak, visibility("hidden"), noinline, cold)) const struct memtally_api* memtally_look_for_library(void) {
  typedef const struct memtally_api* (*get_api)(uint32_t version);
  const struct memtally_api* expected = NULL;
  get_api get = (get_api)(uintptr_t)dlsym(RTLD_DEFAULT, "memtally_get_api");
  if (!get) { /* loaded, but out of this object's sight: by dlopen with RTLD_LOCAL */
    void* library = dlopen("libmemtally.so.0", RTLD_LAZY | RTLD_NOLOAD);
    if (library) get = (get_api)(uintptr_t)dlsym(library, "memtally_get_api");
  }
  {
    const struct memtally_api* found = get ? get(MEMTALLY_API_VERSION) : NULL;
    if (!found) found = MEMTALLY_ABSENT;
    __atomic_compare_exchange_n(&memtally_gate_v1.api, &expected, found, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
  }
  return __atomic_load_n(&memtally_gate_v1.api, __ATOMIC_ACQUIRE);
}

/* The library's calls, or null. */
__attribute__((always_inline)) static inline const struct memtally_api* memtally_open(void) {
  const struct memtally_api* api = __atomic_load_n(&memtally_gate_v1.api, __ATOMIC_ACQUIRE);
  if (__builtin_expect(api == NULL, 0)) api = memtally_look_for_library();
  return api == MEMTALLY_ABSENT ? NULL : api;
}

/* Whether calls are recorded at present. */
static inline int memtally_is_enabled(void) { return memtally_open() != NULL; }

/* Makes a device known; the same device again (same id, or same local_index where there is no id) gives the same handle
 * and opens it again if it was closed.  Returns 0 if nothing is tracked or the table is full. */
static inline memtally_device memtally_register_device(const struct memtally_device_info* info) {
  const struct memtally_api* api = memtally_open();
  return api ? api->register_device(info) : 0;
}

/* Says that the device has this kind of memory, how much of it over all banks, and in how many banks; again to change
 * the capacity. `kind`: enum memtally_kind, or from memtally_define_kind.  0 for what is not known (banks 0 is taken as
 * 1). */
static inline void memtally_register_kind(memtally_device device, uint32_t kind, uint64_t capacity_bytes,
                                          uint32_t banks, uint64_t capacity_bytes_per_bank) {
  const struct memtally_api* api = memtally_open();
  if (api) api->register_kind(device, kind, capacity_bytes, banks, capacity_bytes_per_bank);
}

/* A kind of the program's own, by name; the same name gives the same number.  `memory`: the kind in whose memory it
 * lies, MEMTALLY_KIND_ANY if it is a memory itself; `inside`: the kind in whose buffers it nests, MEMTALLY_KIND_ANY
 * none; `flags`: enum memtally_kind_flag. */
static inline uint32_t memtally_define_kind(const char* name, uint32_t memory, uint32_t inside, uint32_t flags) {
  const struct memtally_api* api = memtally_open();
  return api ? api->define_kind(name, memory, inside, flags) : (uint32_t)MEMTALLY_KIND_ANY;
}

/* A buffer was allocated.  Report it after it succeeded.  A live buffer of the same device, kind and id is replaced,
 * and counted so. */
static inline void memtally_alloc(memtally_device device, uint32_t kind, uint64_t id, uint64_t address,
                                  uint64_t bytes_requested, uint64_t bytes_per_bank) {
  const struct memtally_api* api = memtally_open();
  if (api) api->alloc(device, kind, id, address, bytes_requested, bytes_per_bank);
}

static inline void memtally_alloc_buffer(const struct memtally_buffer* buffer) {
  const struct memtally_api* api = memtally_open();
  if (api) api->alloc_buffer(buffer);
}

/* A buffer is about to be given back.  With MEMTALLY_KIND_ANY: the only live buffer of that id, of several the newest.
 */
static inline void memtally_free(memtally_device device, uint32_t kind, uint64_t id) {
  const struct memtally_api* api = memtally_open();
  if (api) api->free(device, kind, id);
}

/* An allocation did not succeed. */
static inline void memtally_alloc_failed(memtally_device device, uint32_t kind, uint64_t bytes_requested,
                                         uint64_t bytes_per_bank) {
  const struct memtally_api* api = memtally_open();
  if (api) api->alloc_failed(device, kind, bytes_requested, bytes_per_bank);
}

/* The device was closed: what is live on it is released by that, and listed apart from leaks. */
static inline void memtally_close_device(memtally_device device) {
  const struct memtally_api* api = memtally_open();
  if (api) api->close_device(device);
}

/* A named instant in the flight recorder. */
static inline void memtally_mark(const char* name) {
  const struct memtally_api* api = memtally_open();
  if (api) api->mark(name);
}

/* From here to the matching pop, this thread's allocations are tagged with `name`, below the tag that was there. */
static inline void memtally_push_tag(const char* name) {
  const struct memtally_api* api = memtally_open();
  if (api) api->push_tag(name);
}

static inline void memtally_pop_tag(void) {
  const struct memtally_api* api = memtally_open();
  if (api) api->pop_tag();
}

/* This thread's present tag, to be handed to another thread; and the change to it, returning the one before. */
static inline uint32_t memtally_current_tag(void) {
  const struct memtally_api* api = memtally_open();
  return api ? api->current_tag() : 0;
}

static inline uint32_t memtally_exchange_tag(uint32_t tag) {
  const struct memtally_api* api = memtally_open();
  return api ? api->exchange_tag(tag) : 0;
}

/* Gives a group number a name ("program 12: matmul"), and takes it back. */
static inline void memtally_name_group(uint64_t group, const char* name) {
  const struct memtally_api* api = memtally_open();
  if (api) api->name_group(group, name);
}

static inline void memtally_forget_group(uint64_t group) {
  const struct memtally_api* api = memtally_open();
  if (api) api->forget_group(group);
}

/* Between pause and resume (they nest) this thread's events are counted as paused and not recorded. */
static inline void memtally_pause(void) {
  const struct memtally_api* api = memtally_open();
  if (api) api->pause();
}

static inline void memtally_resume(void) {
  const struct memtally_api* api = memtally_open();
  if (api) api->resume();
}

/* Path of this process's ledger, or "" if there is none (yet).  Valid until the process forks. */
static inline const char* memtally_ledger_path(void) {
  const struct memtally_api* api = memtally_open();
  return api ? api->ledger_path() : "";
}

#ifdef __cplusplus
}
#endif

/* NOLINTEND(modernize-*,misc-definitions-in-headers,bugprone-dynamic-static-initializers) */

#endif /* MEMTALLY_TRACK_H */
