// SPDX-License-Identifier: Apache-2.0
//
// The pages that a ring lies in: huge ones if they can be had, and what the kernel says was obtained.
#pragma once

#include <cstddef>

#include <memtally/channel/options.hpp>

namespace memtally::channel {

// Private zeroed memory.  Huge pages: of the reserved ones (vm.nr_hugepages) if there are enough, else transparent
// ones.
class PrivatePages {
 public:
  // Throws ChannelError.
  PrivatePages(size_t bytes, bool huge);
  ~PrivatePages();
  PrivatePages(const PrivatePages&) = delete;
  PrivatePages& operator=(const PrivatePages&) = delete;

  std::byte* base() const { return base_; }
  void Prefault() const;

 private:
  std::byte* base_ = nullptr;
  size_t bytes_ = 0;
};

// Writes to a byte of each page, which must hold zeros yet.
void TouchPages(std::byte* base, size_t bytes);

// What /proc/self/smaps says about the mapping at `base`.
Placement PlacementOf(const std::byte* base, bool huge_pages_asked);

}  // namespace memtally::channel
