// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/pages.hpp"

#include <sys/mman.h>

#include "ledger/writer/syscall_scope.hpp"

namespace memtally::writer {

namespace {
constexpr size_t kHugePageBytes = size_t{2} << 20;
}

void* MapPages(size_t bytes) {
  const SyscallScope unnoticed;
  bytes = RoundUpToPages(bytes);
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  // Large tables are looked up at random: fewer translations to miss.  A refusal changes nothing.
  if (bytes >= 4 * kHugePageBytes) madvise(pages, bytes, MADV_HUGEPAGE);
  return pages;
}

void UnmapPages(void* pages, size_t bytes) {
  if (pages != nullptr) munmap(pages, RoundUpToPages(bytes));
}

void* RemapPages(void* pages, size_t old_bytes, size_t new_bytes) {
  const SyscallScope unnoticed;
  void* moved = mremap(pages, old_bytes, new_bytes, MREMAP_MAYMOVE);
  return moved == MAP_FAILED ? nullptr : moved;
}

}  // namespace memtally::writer
