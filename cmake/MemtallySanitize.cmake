# SPDX-License-Identifier: Apache-2.0
# MEMTALLY_SANITIZE: what goes after -fsanitize=, for everything that is built; empty for none.
# Tests that cannot run under a sanitizer (a preloaded library, for one) ask for it by this variable.
set(MEMTALLY_SANITIZE "" CACHE STRING "Sanitizers for the whole build, such as address,undefined or thread")

if(MEMTALLY_SANITIZE)
  add_compile_options(
    "-fsanitize=${MEMTALLY_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # GCC warns of each fence, of which its thread sanitizer takes no note. Ours carry no data from thread to thread: they
  # order what one thread does to several atomics, for a process that reads the same memory or takes over after a death.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND MEMTALLY_SANITIZE MATCHES "thread")
    add_compile_options(-Wno-tsan)
  endif()
  add_link_options("-fsanitize=${MEMTALLY_SANITIZE}" -fno-sanitize-recover=all)
endif()
