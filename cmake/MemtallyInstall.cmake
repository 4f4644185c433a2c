# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` lays down, and the CMake package `memtally`:
#   find_package(memtally 0.1 REQUIRED)   gives memtally::abi, memtally::track, memtally::reader, memtally::channel,
#                                         memtally::allocation_client
include(CMakePackageConfigHelpers)

if(EXISTS "${PROJECT_SOURCE_DIR}/include")
  install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
endif()

if(EXISTS "${PROJECT_SOURCE_DIR}/share/traces")
  install(DIRECTORY share/traces/ DESTINATION "${CMAKE_INSTALL_DATADIR}/memtally/traces")
endif()

file(GLOB memtally_man1 "${PROJECT_SOURCE_DIR}/docs/man/*.1")
if(memtally_man1)
  install(FILES ${memtally_man1} DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
endif()

if(EXISTS "${PROJECT_SOURCE_DIR}/completions/memtally.bash")
  install(FILES completions/memtally.bash
    DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME memtally)
endif()

if(TARGET memtally)
  install(TARGETS memtally RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

if(TARGET memtallyd)
  install(TARGETS memtallyd RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  install(FILES share/systemd/memtallyd.service DESTINATION "${CMAKE_INSTALL_DATADIR}/memtally/systemd")
endif()

# The library in other people's processes looks for nothing by a path of its own.
if(TARGET memtally_track)
  set_target_properties(memtally_track PROPERTIES INSTALL_RPATH "")
endif()

# Preloaded by memtally run, found beside libmemtally.so; nobody links it.
if(TARGET memtally_ttmetal)
  set_target_properties(memtally_ttmetal PROPERTIES INSTALL_RPATH "")
  install(TARGETS memtally_ttmetal LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()

# In the place of the original client; finds libmemtally.so beside itself.
if(TARGET memtally_allocation_client)
  set_target_properties(memtally_allocation_client PROPERTIES INSTALL_RPATH "$ORIGIN")
endif()

# memtally_base and memtally_warnings travel along because static memtally_reader names them; nobody outside
# should use them.
set(memtally_exported)
foreach(name abi allocation_client base channel reader track warnings)
  if(TARGET memtally_${name})
    set_target_properties(memtally_${name} PROPERTIES EXPORT_NAME ${name})
    list(APPEND memtally_exported memtally_${name})
  endif()
endforeach()
install(TARGETS ${memtally_exported} EXPORT memtallyTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")

set(memtally_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/memtally")
install(EXPORT memtallyTargets NAMESPACE memtally:: DESTINATION "${memtally_cmake_dir}")
configure_package_config_file(cmake/memtallyConfig.cmake.in "${PROJECT_BINARY_DIR}/memtallyConfig.cmake"
  INSTALL_DESTINATION "${memtally_cmake_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/memtallyConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/memtallyConfig.cmake" "${PROJECT_BINARY_DIR}/memtallyConfigVersion.cmake"
  DESTINATION "${memtally_cmake_dir}")
