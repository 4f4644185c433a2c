/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that reports device memory as its arguments say, and lives and dies as they say.  For tests of commands
 * that start programs.
 *
 *   device ID            registers chip ID (0: a device without an id) or opens it again; it has dram, in two banks
 *   kind NAME BYTES      what is allocated next is of this kind (dram, l1, cb); its capacity
 *   alloc ID BYTES, free ID, fail BYTES, close
 *   churn N BYTES        N times: allocates a buffer and frees it
 *   push TAG, pop
 *   say TEXT             a line on standard output, at once
 *   touch FILE, await FILE   makes a file; waits until there is one
 *   sleep MS
 *   fork ... end         a child does what stands between and exits; the parent goes on
 *   wait                 for all children
 *   leave                as daemons do: a session of its own, no terminal or streams, its parent ends with status 0
 *   trap SIGNAL          from now on a line "signal N" when it comes
 *   hear                 waits until a trapped signal comes
 *   die SIGNAL           by this signal
 *   exit CODE            by exit()
 *   env NAME             prints NAME=value
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <memtally/track.h>

static memtally_device g_device;
static uint32_t g_kind = MEMTALLY_KIND_DRAM;
static volatile sig_atomic_t g_heard;

static void nap(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

static void hear(int signal) {
  char line[32];
  int length = snprintf(line, sizeof(line), "signal %d\n", signal);
  if (write(STDOUT_FILENO, line, (size_t)length) < 0) _exit(98);
  ++g_heard;
}

static void open_device(uint8_t id) {
  struct memtally_device_info info;
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  info.id[0] = id;
  info.id_scheme = id != 0 ? MEMTALLY_ID_CHIP : MEMTALLY_ID_NONE;
  info.local_index = id;
  info.vendor = "acme";
  info.architecture = "one";
  g_device = memtally_register_device(&info);
  memtally_register_kind(g_device, MEMTALLY_KIND_DRAM, 0, 2, 0);
}

static void detach_streams(void) {
  int null = open("/dev/null", O_RDWR);
  int fd;
  for (fd = 0; fd < 3; ++fd) dup2(null, fd);
  if (null > 2) close(null);
}

static uint32_t kind_of(const char* name) {
  if (strcmp(name, "l1") == 0) return MEMTALLY_KIND_L1;
  if (strcmp(name, "l1_small") == 0) return MEMTALLY_KIND_L1_SMALL;
  if (strcmp(name, "cb") == 0) return MEMTALLY_KIND_CB;
  return MEMTALLY_KIND_DRAM;
}

int main(int argc, char** argv) {
  int i;
  int in_child = 0;
  for (i = 1; i < argc; ++i) {
    const char* step = argv[i];
#define TEXT (i + 1 < argc ? argv[++i] : "")
#define NUMBER strtoull(TEXT, NULL, 0)
    if (strcmp(step, "device") == 0) {
      open_device((uint8_t)NUMBER);
    } else if (strcmp(step, "kind") == 0) {
      uint64_t bytes;
      g_kind = kind_of(TEXT);
      bytes = NUMBER;
      memtally_register_kind(g_device, g_kind, bytes, 2, bytes / 2);
    } else if (strcmp(step, "alloc") == 0) {
      uint64_t id = NUMBER;
      uint64_t bytes = NUMBER;
      memtally_alloc(g_device, g_kind, id, id << 20, bytes, bytes / 2);
    } else if (strcmp(step, "free") == 0) {
      memtally_free(g_device, g_kind, NUMBER);
    } else if (strcmp(step, "fail") == 0) {
      uint64_t bytes = NUMBER;
      memtally_alloc_failed(g_device, g_kind, bytes, bytes / 2);
    } else if (strcmp(step, "close") == 0) {
      memtally_close_device(g_device);
    } else if (strcmp(step, "churn") == 0) {
      uint64_t count = NUMBER;
      uint64_t bytes = NUMBER;
      for (; count != 0; --count) {
        memtally_alloc(g_device, g_kind, 1u << 20, 0, bytes, bytes / 2);
        memtally_free(g_device, g_kind, 1u << 20);
      }
    } else if (strcmp(step, "push") == 0) {
      memtally_push_tag(TEXT);
    } else if (strcmp(step, "pop") == 0) {
      memtally_pop_tag();
    } else if (strcmp(step, "say") == 0) {
      printf("%s\n", TEXT);
      fflush(stdout);
    } else if (strcmp(step, "touch") == 0) {
      close(open(TEXT, O_WRONLY | O_CREAT, 0600));
    } else if (strcmp(step, "await") == 0) {
      const char* path = TEXT;
      while (access(path, F_OK) != 0) nap(2);
    } else if (strcmp(step, "sleep") == 0) {
      nap((long)NUMBER);
    } else if (strcmp(step, "fork") == 0) {
      fflush(stdout);
      in_child = fork() == 0;
      if (!in_child) {
        int depth = 1;
        while (depth != 0 && ++i < argc) {
          depth += strcmp(argv[i], "fork") == 0;
          depth -= strcmp(argv[i], "end") == 0;
        }
      }
    } else if (strcmp(step, "end") == 0) {
      exit(0);
    } else if (strcmp(step, "wait") == 0) {
      while (wait(NULL) > 0) {
      }
    } else if (strcmp(step, "leave") == 0) {
      fflush(stdout);
      if (fork() != 0) _exit(0);
      setsid();
      detach_streams();
    } else if (strcmp(step, "trap") == 0) {
      signal((int)NUMBER, hear);
    } else if (strcmp(step, "hear") == 0) {
      while (g_heard == 0) nap(1);
      g_heard = 0;
    } else if (strcmp(step, "die") == 0) {
      raise((int)NUMBER);
    } else if (strcmp(step, "exit") == 0) {
      exit((int)NUMBER);
    } else if (strcmp(step, "env") == 0) {
      const char* name = TEXT;
      const char* value = getenv(name);
      printf("%s=%s\n", name, value ? value : "(unset)");
      fflush(stdout);
    } else {
      fprintf(stderr, "no such step: %s\n", step);
      return 97;
    }
  }
  return 0;
}
