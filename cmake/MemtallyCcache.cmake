# SPDX-License-Identifier: Apache-2.0
# Compiles through ccache where it is installed. A launcher that was set by hand wins.
find_program(MEMTALLY_CCACHE ccache)
mark_as_advanced(MEMTALLY_CCACHE)
if(MEMTALLY_CCACHE)
  foreach(lang C CXX)
    if(NOT DEFINED CMAKE_${lang}_COMPILER_LAUNCHER)
      set(CMAKE_${lang}_COMPILER_LAUNCHER "${MEMTALLY_CCACHE}")
    endif()
  endforeach()
endif()
