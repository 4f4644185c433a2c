# SPDX-License-Identifier: Apache-2.0
# MEMTALLY_SANITIZE: what goes after -fsanitize=, for everything that is built; empty for none.
# Tests that cannot run under a sanitizer (a preloaded library, for one) ask for it by this variable.
set(MEMTALLY_SANITIZE "" CACHE STRING "Sanitizers for the whole build, such as address,undefined or thread")

if(MEMTALLY_SANITIZE)
  add_compile_options(
    "-fsanitize=${MEMTALLY_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options("-fsanitize=${MEMTALLY_SANITIZE}" -fno-sanitize-recover=all)
endif()
