/* SPDX-License-Identifier: Apache-2.0
 *
 * What a hook library can be asked.  A hook (libmemtally_ttmetal.so) is preloaded beside libmemtally.so and stands in
 * front of functions of a framework.  Before anything runs, a tool loads the hook with dlopen, finds memtally_hook_ask
 * with dlsym, and asks what it would record with some library of the framework: `memtally doctor -- COMMAND` does.
 */
#ifndef MEMTALLY_HOOK_H
#define MEMTALLY_HOOK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the framework's library has the symbol (as the dynamic loader spells it); not 0 if so. */
typedef int (*memtally_hook_has)(void* context, const char* symbol);

/* Names in the lists are those that people know, separated by ", "; what does not fit is left out. */
struct memtally_hook_answer {
  uint32_t size;          /* of this struct, set by who asks; the hook writes no more than that */
  uint32_t records;       /* 1: buffers would be recorded; 0: nothing would */
  char framework[32];     /* "TT-Metal" */
  char needed[700];       /* functions without which nothing is recorded, and that are missing; "" none */
  char missing[700];      /* functions that it can do without, and that are missing */
  char not_recorded[700]; /* what is not recorded without these */
};

/* The name and type of the function that every hook exports.  Touches nothing but the answer; any thread.  Returns 0,
 * or -1 if `size` is smaller than the struct of the hook's own version of this header. */
#define MEMTALLY_HOOK_ASK "memtally_hook_ask"
typedef int (*memtally_hook_ask_function)(memtally_hook_has has, void* context, struct memtally_hook_answer* answer);

#ifdef __cplusplus
}
#endif

#endif /* MEMTALLY_HOOK_H */
