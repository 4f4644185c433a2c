// SPDX-License-Identifier: Apache-2.0
//
// Private memory of the writer, straight from the kernel: an application's allocator is never entered.
#pragma once

#include <cstddef>
#include <cstdint>

namespace memtally::writer {

// Zeroed private pages, or null.  `bytes` is rounded up to pages.  Async-signal-safe, thread-safe.
void* MapPages(size_t bytes);
void UnmapPages(void* pages, size_t bytes);

// An array that grows by moving its pages; never shrinks.  Not thread-safe.
template <typename T>
class PageArray {
 public:
  // Makes room for at least `count` elements, new ones zeroed.  False if the kernel refuses; the array is then as
  // before.
  bool Reserve(size_t count);
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t capacity() const { return bytes_ / sizeof(T); }
  size_t bytes() const { return bytes_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t bytes_ = 0;
};

void* RemapPages(void* pages, size_t old_bytes, size_t new_bytes);

inline size_t RoundUpToPages(size_t bytes) { return (bytes + 4095) & ~size_t{4095}; }

template <typename T>
bool PageArray<T>::Reserve(size_t count) {
  if (count <= capacity()) return true;
  size_t want = bytes_ * 2;
  if (want < count * sizeof(T)) want = count * sizeof(T);
  want = RoundUpToPages(want);
  void* pages = data_ == nullptr ? MapPages(want) : RemapPages(data_, bytes_, want);
  if (pages == nullptr) return false;
  data_ = static_cast<T*>(pages);
  bytes_ = want;
  return true;
}

}  // namespace memtally::writer
