// SPDX-License-Identifier: Apache-2.0
//
// LedgerBytes: positioned reads of a file that nobody vouches for.  Never maps it: a file that is cut short while it is
// mapped kills whoever touches the rest.  What is not there reads as zero, which in every part of a ledger means
// "nothing".
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "ledger/reader/held_descriptor.hpp"

namespace memtally::reader {

// A word of the file as a call that was taken back had found it.
struct OldWord {
  uint64_t offset;
  uint64_t value;
};

class LedgerBytes {
 public:
  explicit LedgerBytes(HeldDescriptor descriptor) : descriptor_(std::move(descriptor)) {}

  // Asks for the file's size and owner, again.  False (with errno) if that fails.
  bool Refresh();
  uint64_t size() const { return size_; }
  uint64_t allocated_bytes() const { return allocated_; }  // that the file system holds for it
  uint32_t owner() const { return owner_; }
  int64_t changed_at_s() const { return changed_at_s_; }  // CLOCK_REALTIME, of contents or inode

  // Copies [offset, offset + bytes) as a read at one go would, with old words in place; the rest behind the file's end
  // is zero. Returns how many bytes the file really had.
  size_t Read(uint64_t offset, void* out, size_t bytes);
  template <typename T>
  T ReadValue(uint64_t offset) {
    T value;
    Read(offset, &value, sizeof(value));
    return value;
  }

  // Finds the first stretch in [from, limit) that is not a hole.  False if there is none.
  bool NextData(uint64_t from, uint64_t limit, uint64_t* begin, uint64_t* end) const;

  // From now on, reads see these words as given; of several at one offset, the last.  Offsets are those of whole words.
  void SetOldWords(std::vector<OldWord> words);

  int descriptor() const { return descriptor_.get(); }
  void KeepForGood() { descriptor_.KeepForGood(); }

 private:
  HeldDescriptor descriptor_;
  uint64_t size_ = 0;
  uint64_t allocated_ = 0;
  uint32_t owner_ = 0;
  int64_t changed_at_s_ = 0;
  std::vector<OldWord> old_words_;  // by offset, no two alike
};

}  // namespace memtally::reader
