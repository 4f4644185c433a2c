// SPDX-License-Identifier: Apache-2.0
//
// Counts what operator new has given out, so that a test can say how much memory something may take.
// Include in one file of an executable only.
#pragma once

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace memtally::test {

inline std::atomic<size_t> g_live_bytes{0};
inline std::atomic<size_t> g_most_bytes{0};
inline std::atomic<size_t> g_refuse_above{SIZE_MAX};  // larger pieces are refused

inline void* Allocate(size_t bytes) {
  if (bytes > g_refuse_above) throw std::bad_alloc();
  void* memory = malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t live = g_live_bytes.fetch_add(malloc_usable_size(memory)) + malloc_usable_size(memory);
  size_t most = g_most_bytes.load();
  while (live > most && !g_most_bytes.compare_exchange_weak(most, live)) {
  }
  return memory;
}
inline void Release(void* memory) {
  if (memory == nullptr) return;
  g_live_bytes.fetch_sub(malloc_usable_size(memory));
  free(memory);
}

// The most bytes that were in use at once since this began, beyond those that were in use then.
class AllocationMeter {
 public:
  AllocationMeter() : before_(g_live_bytes.load()) { g_most_bytes.store(before_); }
  size_t most() const { return g_most_bytes.load() - before_; }

 private:
  size_t before_;
};

}  // namespace memtally::test

void* operator new(size_t bytes) { return memtally::test::Allocate(bytes); }
void* operator new[](size_t bytes) { return memtally::test::Allocate(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return memtally::test::Allocate(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { memtally::test::Release(memory); }
void operator delete[](void* memory) noexcept { memtally::test::Release(memory); }
void operator delete(void* memory, size_t) noexcept { memtally::test::Release(memory); }
void operator delete[](void* memory, size_t) noexcept { memtally::test::Release(memory); }
