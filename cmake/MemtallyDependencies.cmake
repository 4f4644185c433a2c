# SPDX-License-Identifier: Apache-2.0
# Every library from outside that memtally builds with, with the oldest version that it is tested with:
# the one in Debian 12. Only what the options ask for is looked for.

# Finds a package that brings CMake files, or stops and names the Debian package to install.
macro(memtally_find name version debian_package)
  find_package(${name} ${version} CONFIG QUIET)
  if(NOT ${name}_FOUND)
    if(${name}_CONSIDERED_VERSIONS)
      message(FATAL_ERROR "${name} ${version} or newer is needed; found only ${${name}_CONSIDERED_VERSIONS}. "
        "The Debian 12 package ${debian_package} has it.")
    endif()
    message(FATAL_ERROR "${name} ${version} or newer is needed. "
      "Install the Debian package ${debian_package}, or run ./dev setup.")
  endif()
  message(STATUS "${name} ${${name}_VERSION}")
endmacro()

find_package(Threads REQUIRED)

# Use: GTest::gtest, GTest::gtest_main, GTest::gmock.
if(MEMTALLY_BUILD_TESTS)
  if(CMAKE_CROSSCOMPILING)
    # Debian has no GoogleTest for the target; libgtest-dev brings its sources in the package googletest.
    set(MEMTALLY_GTEST_SOURCE /usr/src/googletest CACHE PATH "GoogleTest sources, for a cross build")
    if(NOT EXISTS "${MEMTALLY_GTEST_SOURCE}/CMakeLists.txt")
      message(FATAL_ERROR "GoogleTest's sources are needed in ${MEMTALLY_GTEST_SOURCE} for a cross build. "
        "Install the Debian package googletest, or run ./dev setup.")
    endif()
    file(STRINGS "${MEMTALLY_GTEST_SOURCE}/CMakeLists.txt" memtally_gtest_version
      REGEX "set\\(GOOGLETEST_VERSION [0-9.]+\\)")
    string(REGEX REPLACE ".*VERSION ([0-9.]+).*" "\\1" memtally_gtest_version "${memtally_gtest_version}")
    if(NOT memtally_gtest_version VERSION_GREATER_EQUAL 1.12.1)
      message(FATAL_ERROR "GoogleTest 1.12.1 or newer is needed; ${MEMTALLY_GTEST_SOURCE} has "
        "'${memtally_gtest_version}'. The Debian 12 package googletest has it.")
    endif()
    set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
    add_subdirectory("${MEMTALLY_GTEST_SOURCE}" "${PROJECT_BINARY_DIR}/googletest" EXCLUDE_FROM_ALL SYSTEM)
    message(STATUS "GTest ${memtally_gtest_version}, from ${MEMTALLY_GTEST_SOURCE}")
  else()
    memtally_find(GTest 1.12.1 libgtest-dev)
  endif()
  include(GoogleTest)
endif()

# Use: benchmark::benchmark, benchmark::benchmark_main.
if(MEMTALLY_BUILD_BENCH)
  memtally_find(benchmark 1.7.1 libbenchmark-dev)
endif()

# Use: CLI11::CLI11, nlohmann_json::nlohmann_json, fmt::fmt, PkgConfig::libzstd,
# PkgConfig::ncursesw, spdlog::spdlog, tomlplusplus::tomlplusplus, PkgConfig::libsystemd.
if(MEMTALLY_BUILD_TOOLS)
  memtally_find(CLI11 2.1.2 libcli11-dev)
  memtally_find(nlohmann_json 3.11.2 nlohmann-json3-dev)
  memtally_find(fmt 9.1.0 libfmt-dev)
  find_package(PkgConfig 1.8 QUIET)
  if(NOT PKG_CONFIG_FOUND)
    message(FATAL_ERROR "pkg-config is needed. Install the Debian package pkgconf, or run ./dev setup.")
  endif()
  pkg_check_modules(libzstd QUIET IMPORTED_TARGET "libzstd>=1.5.4")
  if(NOT libzstd_FOUND)
    message(FATAL_ERROR "libzstd 1.5.4 or newer is needed. "
      "Install the Debian package libzstd-dev, or run ./dev setup.")
  endif()
  message(STATUS "libzstd ${libzstd_VERSION}")
  pkg_check_modules(ncursesw QUIET IMPORTED_TARGET "ncursesw>=6.4")
  if(NOT ncursesw_FOUND)
    message(FATAL_ERROR "ncursesw 6.4 or newer is needed. "
      "Install the Debian package libncurses-dev, or run ./dev setup.")
  endif()
  message(STATUS "ncursesw ${ncursesw_VERSION}")
  memtally_find(spdlog 1.10.0 libspdlog-dev)
  memtally_find(tomlplusplus 3.3.0 libtomlplusplus-dev)
  pkg_check_modules(libsystemd QUIET IMPORTED_TARGET "libsystemd>=252")
  if(NOT libsystemd_FOUND)
    message(FATAL_ERROR "libsystemd 252 or newer is needed. "
      "Install the Debian package libsystemd-dev, or run ./dev setup.")
  endif()
  message(STATUS "libsystemd ${libsystemd_VERSION}")
endif()
