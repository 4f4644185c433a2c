# SPDX-License-Identifier: Apache-2.0
# memtally_warnings: link it PRIVATE to every target of ours.
#
# Sign conversions are left out for every compiler, because GCC leaves them out of C++'s -Wconversion and the
# same code must pass with both. The flags hold inside this build only: an exported target carries none.
option(MEMTALLY_WERROR "Treat warnings as errors" ON)

add_library(memtally_warnings INTERFACE)
target_compile_options(memtally_warnings INTERFACE
  "$<BUILD_INTERFACE:-Wall;-Wextra;-Wconversion;-Wno-sign-conversion;-Wshadow>"
  "$<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>>")
# GCC 12 sees an overlapping copy in any optimised `"text" + std::string(...)` (its bug 105329; gone in 13).
# Not in debug builds, whose commands clang-tidy reads: it does not know the option.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(memtally_warnings INTERFACE
    "$<BUILD_INTERFACE:$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:-Wno-restrict>>")
endif()
if(MEMTALLY_WERROR)
  target_compile_options(memtally_warnings INTERFACE "$<BUILD_INTERFACE:-Werror>")
endif()
