// SPDX-License-Identifier: Apache-2.0
#include "tools/run/elf_inspection.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include <fmt/format.h>

namespace memtally::tools {
namespace {

constexpr size_t kMostProgramHeaders = 4096;
constexpr size_t kMostDynamicEntries = 16384;
constexpr size_t kMostNeeded = 1024;
constexpr size_t kLongestText = 4096;

class Inspection {
 public:
  Inspection(const ReadAt& read, ElfFacts* facts) : read_(read), facts_(facts) {}

  void Run() {
    unsigned char ident[EI_NIDENT] = {};
    if (read_(0, ident, sizeof(ident)) != sizeof(ident) || memcmp(ident, ELFMAG, SELFMAG) != 0) return;
    facts_->is_elf = true;
    facts_->is_64_bit = ident[EI_CLASS] == ELFCLASS64;
    facts_->little_endian = ident[EI_DATA] == ELFDATA2LSB;
    // The machine is at the same place in both classes.
    uint8_t machine[2] = {};
    if (read_(offsetof(Elf64_Ehdr, e_machine), machine, sizeof(machine)) != sizeof(machine)) {
      facts_->damage = "ends within its header";
      return;
    }
    const uint8_t low = machine[facts_->little_endian ? 0 : 1];
    const uint8_t high = machine[facts_->little_endian ? 1 : 0];
    facts_->machine = static_cast<uint16_t>(high << 8 | low);
    if (facts_->is_64_bit && facts_->little_endian) ReadProgramHeaders();
  }

 private:
  template <typename T>
  std::optional<T> Read(uint64_t offset) {
    T value;
    if (read_(offset, &value, sizeof(value)) != sizeof(value)) return std::nullopt;
    return value;
  }

  // A text that ends with a zero within `most` bytes.
  std::optional<std::string> ReadText(uint64_t offset, uint64_t most) {
    std::string text(std::min<uint64_t>(most, kLongestText), '\0');
    text.resize(read_(offset, text.data(), text.size()));
    const size_t end = text.find('\0');
    if (end == std::string::npos) return std::nullopt;
    text.resize(end);
    return text;
  }

  void ReadProgramHeaders() {
    const auto header = Read<Elf64_Ehdr>(0);
    if (!header) {
      facts_->damage = "ends within its header";
      return;
    }
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > kMostProgramHeaders) {
      if (header->e_phnum != 0) facts_->damage = "has program headers of an impossible size or number";
      return;
    }
    for (uint16_t i = 0; i < header->e_phnum; ++i) {
      const uint64_t at = header->e_phoff + uint64_t{i} * sizeof(Elf64_Phdr);
      const auto segment = at >= header->e_phoff ? Read<Elf64_Phdr>(at) : std::nullopt;
      if (!segment) {
        facts_->damage = "ends before its program headers do";
        return;
      }
      segments_.push_back(*segment);
    }
    for (const Elf64_Phdr& segment : segments_) {
      if (segment.p_type != PT_INTERP) continue;
      const auto text = ReadText(segment.p_offset, segment.p_filesz);
      if (!text || text->empty()) {
        facts_->damage = "names no readable dynamic loader";
      } else {
        facts_->interpreter = *text;
      }
      break;
    }
    for (const Elf64_Phdr& segment : segments_) {
      if (segment.p_type != PT_DYNAMIC) continue;
      ReadDynamic(segment);
      break;
    }
  }

  // Where in the file an address of the loaded image comes from, and how many bytes follow it there.
  std::optional<std::pair<uint64_t, uint64_t>> InFile(uint64_t address) const {
    for (const Elf64_Phdr& segment : segments_) {
      if (segment.p_type != PT_LOAD || address < segment.p_vaddr) continue;
      const uint64_t into = address - segment.p_vaddr;
      if (into < segment.p_filesz) return std::pair(segment.p_offset + into, segment.p_filesz - into);
    }
    return std::nullopt;
  }

  void ReadDynamic(const Elf64_Phdr& segment) {
    const uint64_t count = std::min<uint64_t>(segment.p_filesz / sizeof(Elf64_Dyn), kMostDynamicEntries);
    std::vector<uint64_t> names;
    uint64_t table = 0;
    uint64_t table_bytes = 0;
    for (uint64_t i = 0; i < count; ++i) {
      const auto entry = Read<Elf64_Dyn>(segment.p_offset + i * sizeof(Elf64_Dyn));
      if (!entry) {
        facts_->damage = "ends within its dynamic section";
        return;
      }
      if (entry->d_tag == DT_NULL) break;
      if (entry->d_tag == DT_NEEDED && names.size() < kMostNeeded) names.push_back(entry->d_un.d_val);
      if (entry->d_tag == DT_STRTAB) table = entry->d_un.d_ptr;
      if (entry->d_tag == DT_STRSZ) table_bytes = entry->d_un.d_val;
    }
    const auto in_file = InFile(table);
    if (names.empty()) return;
    if (!in_file) {
      facts_->damage = "has no table of library names where it says";
      return;
    }
    const uint64_t bytes = std::min(table_bytes, in_file->second);
    for (const uint64_t name : names) {
      const auto text = name < bytes ? ReadText(in_file->first + name, bytes - name) : std::nullopt;
      if (text) {
        facts_->needed.push_back(*text);
      } else {
        facts_->damage = "names a library outside its table of names";
      }
    }
  }

  const ReadAt& read_;
  ElfFacts* facts_;
  std::vector<Elf64_Phdr> segments_;
};

}  // namespace

ElfFacts InspectElf(const ReadAt& read) {
  ElfFacts facts;
  Inspection(read, &facts).Run();
  return facts;
}

std::string MachineName(const ElfFacts& facts) {
  switch (facts.machine) {
    case EM_X86_64:
      return facts.is_64_bit ? "x86-64" : "x32";
    case EM_386:
      return "32-bit x86";
    case EM_AARCH64:
      return facts.is_64_bit ? "aarch64" : "32-bit aarch64";
    case EM_ARM:
      return "32-bit Arm";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "PowerPC 64";
    case EM_S390:
      return "s390";
    default:
      return fmt::format("machine {}", facts.machine);
  }
}

}  // namespace memtally::tools
