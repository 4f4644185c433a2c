// SPDX-License-Identifier: Apache-2.0
#include "channel/ring_pages.hpp"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <string>

namespace memtally {

int pin_thread(int cpu) {
  if (cpu < 0 || cpu >= CPU_SETSIZE) {
    errno = EINVAL;
    return -1;
  }
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<size_t>(cpu), &cpus);
  if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0) return -1;
  return sched_getcpu();
}

namespace channel {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = 2 * 1024 * 1024;

size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

PrivatePages::PrivatePages(size_t bytes, bool huge) : bytes_(RoundUp(bytes, huge ? kHugePage : kPage)) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  void* found = MAP_FAILED;
  if (huge) found = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
  if (found == MAP_FAILED) {
    // With room to begin at a huge page's boundary.
    const size_t extra = huge ? kHugePage : 0;
    found = mmap(nullptr, bytes_ + extra, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (found == MAP_FAILED) {
      throw ChannelError("no memory for a ring of " + std::to_string(bytes) + " bytes: " + strerror(errno));
    }
    if (huge) {
      auto* begin = static_cast<std::byte*>(found);
      auto* aligned = reinterpret_cast<std::byte*>(RoundUp(reinterpret_cast<uintptr_t>(begin), kHugePage));
      if (aligned != begin) munmap(begin, static_cast<size_t>(aligned - begin));
      if (const auto behind = static_cast<size_t>(begin + extra - aligned); behind != 0)
        munmap(aligned + bytes_, behind);
      found = aligned;
      madvise(found, bytes_, MADV_HUGEPAGE);
    }
  }
  base_ = static_cast<std::byte*>(found);
}

PrivatePages::~PrivatePages() {
  if (base_ != nullptr) munmap(base_, bytes_);
}

void PrivatePages::Prefault() const { TouchPages(base_, bytes_); }

void TouchPages(std::byte* base, size_t bytes) {
  for (size_t offset = 0; offset < bytes; offset += kPage) *reinterpret_cast<volatile std::byte*>(base + offset) = {};
}

Placement PlacementOf(const std::byte* base, bool huge_pages_asked) {
  Placement placement;
  FILE* file = fopen("/proc/self/smaps", "re");
  if (file == nullptr) {
    placement.huge_page_refusal = std::string("cannot tell: /proc/self/smaps: ") + strerror(errno);
    return placement;
  }
  const auto wanted = reinterpret_cast<uintptr_t>(base);
  bool inside = false;
  size_t kernel_page = 0;
  char line[512];
  while (fgets(line, sizeof(line), file) != nullptr) {
    uintptr_t from = 0;
    uintptr_t to = 0;
    size_t kib = 0;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) {
      if (inside) break;
      inside = from <= wanted && wanted < to;
      if (inside) placement.bytes = to - from;
    } else if (inside && sscanf(line, "Rss: %zu kB", &kib) == 1) {
      placement.resident_bytes = kib * 1024;
    } else if (inside && sscanf(line, "KernelPageSize: %zu kB", &kib) == 1) {
      kernel_page = kib * 1024;
    } else if (inside && (sscanf(line, "AnonHugePages: %zu kB", &kib) == 1 ||
                          sscanf(line, "ShmemPmdMapped: %zu kB", &kib) == 1)) {
      placement.huge_page_bytes += kib * 1024;
    }
  }
  fclose(file);
  if (kernel_page >= kHugePage) placement.huge_page_bytes = placement.resident_bytes = placement.bytes;
  if (huge_pages_asked && placement.huge_page_bytes == 0) {
    placement.huge_page_refusal = placement.resident_bytes == 0
                                      ? "nothing was touched yet (ask for prefault)"
                                      : "the kernel gave none: too few are reserved (vm.nr_hugepages), and transparent "
                                        "ones are off or none was free";
  }
  return placement;
}

}  // namespace channel

}  // namespace memtally
