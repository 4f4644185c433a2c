// SPDX-License-Identifier: Apache-2.0
//
// What the headers of an ELF file say about how it will be loaded.
//
// The file may be anything, also hostile: every offset is checked, nothing is followed twice, and what is read is
// bounded whatever the file claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace memtally::tools {

struct ElfFacts {
  bool is_elf = false;  // begins as an ELF file does; the rest means nothing otherwise
  bool is_64_bit = false;
  bool little_endian = false;
  uint16_t machine = 0;             // EM_...
  std::string interpreter;          // the dynamic loader that it asks for; "" none: statically linked
  std::vector<std::string> needed;  // the libraries that it names, in order
  std::string damage;               // why it could not be looked at to the end; "" it could
};

// Copies up to `bytes` bytes from `offset` on into `buffer`; returns how many there were.
using ReadAt = std::function<size_t(uint64_t offset, void* buffer, size_t bytes)>;

// Of a file of another class or byte order than this program's, only the first fields of the header are looked at.
ElfFacts InspectElf(const ReadAt& read);

// "x86-64", "32-bit x86", "aarch64", ..., "machine 243".
std::string MachineName(const ElfFacts& facts);

}  // namespace memtally::tools
