/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that reports, as plain C or C++, with nothing but track.h.  Its arguments say when which objects are
 * opened; it prints one line for each step, so that what it did can be compared with and without the tracker.
 *
 *   report ID         registers device 0, allocates a buffer ID of 100 bytes
 *   enabled           prints whether calls are recorded
 *   local PATH        dlopen(PATH, RTLD_LOCAL)
 *   global PATH       dlopen(PATH, RTLD_GLOBAL)
 *   gate PATH ID      dlopen(PATH, RTLD_LOCAL), and lets that object report ID through a gate of its own
 *   again PATH ID     reports ID through memtally_get_api of the copy at PATH
 *   every             makes every call there is; each must leave errno alone
 *   rest              stops until continued
 *   status N          ends with exit status N
 */
#ifndef MEMTALLY_TESTS_PROCESS_HOST_PROGRAM_H
#define MEMTALLY_TESTS_PROCESS_HOST_PROGRAM_H

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memtally/track.h>

static void report(uint64_t id) {
  struct memtally_device_info info;
  memtally_device device;
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  device = memtally_register_device(&info);
  memtally_alloc(device, MEMTALLY_KIND_DRAM, id, 0, 100, 100);
}

static void* open_or_die(const char* path, int mode) {
  void* object = dlopen(path, RTLD_NOW | mode);
  if (!object) {
    fprintf(stderr, "%s\n", dlerror());
    exit(90);
  }
  return object;
}

static void report_through_gate(const char* path, uint64_t id) {
  typedef void (*function)(uint64_t);
  function report_there = (function)(uintptr_t)dlsym(open_or_die(path, RTLD_LOCAL), "gated_object_report");
  if (!report_there) exit(91);
  report_there(id);
}

static void report_through_copy(const char* path, uint64_t id) {
  typedef const struct memtally_api* (*function)(uint32_t);
  function get = (function)(uintptr_t)dlsym(open_or_die(path, RTLD_LOCAL), "memtally_get_api");
  const struct memtally_api* api = get ? get(MEMTALLY_API_VERSION) : NULL;
  struct memtally_device_info info;
  if (!api) exit(92);
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  api->alloc(api->register_device(&info), MEMTALLY_KIND_DRAM, id, 0, 100, 100);
}

#define EVERY(call)                                          \
  do {                                                       \
    errno = 4242;                                            \
    call;                                                    \
    if (errno != 4242) {                                     \
      printf("%s changed errno to %d\n", #call, (int)errno); \
      exit(93);                                              \
    }                                                        \
  } while (0)

static void make_every_call(void) {
  struct memtally_device_info info;
  struct memtally_buffer buffer;
  memtally_device device = 0;
  uint32_t kind = 0;
  int i;
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  memset(&buffer, 0, sizeof(buffer));
  buffer.size = sizeof(buffer);
  EVERY(memtally_is_enabled());
  EVERY(device = memtally_register_device(&info));
  EVERY(memtally_register_kind(device, MEMTALLY_KIND_DRAM, 1000, 1, 1000));
  EVERY(kind = memtally_define_kind("own", MEMTALLY_KIND_ANY, MEMTALLY_KIND_ANY, 0));
  buffer.device = device;
  buffer.kind = kind;
  buffer.id = 7000000;
  buffer.bytes_requested = (uint64_t)1 << 50;
  for (i = 0; i < 3000; ++i) EVERY(memtally_alloc(device, MEMTALLY_KIND_DRAM, 1000 + (uint64_t)i, 0, 1, 1));
  for (i = 0; i < 3000; ++i) EVERY(memtally_free(device, MEMTALLY_KIND_DRAM, 1000 + (uint64_t)i));
  EVERY(memtally_alloc_buffer(&buffer));
  EVERY(memtally_alloc_buffer(NULL));
  EVERY(memtally_alloc_buffer(&buffer));
  EVERY(memtally_free(device, MEMTALLY_KIND_ANY, 7000000));
  EVERY(memtally_free(device, MEMTALLY_KIND_ANY, 7000000));
  EVERY(memtally_free(77, 78, 79));
  EVERY(memtally_alloc_failed(device, kind, 1, 1));
  EVERY(memtally_mark("mark"));
  EVERY(memtally_mark(NULL));
  EVERY(memtally_push_tag("tag"));
  EVERY(memtally_push_tag(NULL));
  EVERY(memtally_pop_tag());
  EVERY(memtally_pop_tag());
  EVERY(memtally_exchange_tag(memtally_current_tag()));
  EVERY(memtally_name_group(5, "group"));
  EVERY(memtally_forget_group(5));
  EVERY(memtally_pause());
  EVERY(memtally_mark("paused"));
  EVERY(memtally_resume());
  EVERY(memtally_ledger_path());
  EVERY(memtally_close_device(device));
}

static int run_host_program(int argc, char** argv) {
  int status = 0;
  int i;
  for (i = 1; i < argc; ++i) {
    const char* step = argv[i];
    if (strcmp(step, "report") == 0) {
      report(strtoull(argv[++i], NULL, 10));
    } else if (strcmp(step, "enabled") == 0) {
      printf("%d", memtally_is_enabled());
    } else if (strcmp(step, "local") == 0) {
      open_or_die(argv[++i], RTLD_LOCAL);
    } else if (strcmp(step, "global") == 0) {
      open_or_die(argv[++i], RTLD_GLOBAL);
    } else if (strcmp(step, "gate") == 0) {
      report_through_gate(argv[i + 1], strtoull(argv[i + 2], NULL, 10));
      i += 2;
    } else if (strcmp(step, "again") == 0) {
      report_through_copy(argv[i + 1], strtoull(argv[i + 2], NULL, 10));
      i += 2;
    } else if (strcmp(step, "every") == 0) {
      make_every_call();
    } else if (strcmp(step, "rest") == 0) {
      fflush(stdout);
      raise(SIGSTOP);
    } else if (strcmp(step, "status") == 0) {
      status = atoi(argv[++i]);
    } else {
      return 89;
    }
  }
  return status;
}

#endif
