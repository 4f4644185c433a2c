// SPDX-License-Identifier: Apache-2.0
//
// AddressMap: the address space that one process has of one kind of memory on one device, in each bank; what is free in
// it, and what would have to go for something to fit.
//
// An address holds in every bank alike (allocation is lock-step), so the map of one bank is the map of all.
//
//   begin                                                                  end = begin + capacity of a bank
//     |#####|......|##########|..|####|...............................|####|
//      buffer  free   ...
//
// A ledger does not say where an allocator's space begins.  Buffers grow from its bottom (DRAM) or from its top (L1):
// the space that is assumed begins at the lowest buffer where it then holds them all, and otherwise ends at the
// highest. Free bytes are exact whatever is assumed; of free blocks only the outermost depend on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"

namespace memtally::collect {

struct FreeBlock {
  uint64_t begin = 0;
  uint64_t bytes = 0;  // in each bank
};

// Buffers of one tag; "" untagged.
struct TagShare {
  std::string tag;
  uint64_t count = 0;
  uint64_t bytes_per_bank = 0;
  uint64_t largest_free_without = 0;  // the largest free block if all of them were gone
};

// The cheapest place for something: the buffers there have to go.
struct Clearing {
  uint64_t begin = 0;                        // of the room that would be made
  uint64_t bytes_per_bank = 0;               // that have to go
  std::vector<const LedgerBuffer*> buffers;  // by address; of the facts that the map was made of
};

class AddressMap {
 public:
  // Of the live buffers of an account; imported ones are left out.  `facts` must have its buffers, and outlive the map.
  // REQUIRES: the account's kind has no overlapping addresses.
  AddressMap(const LedgerView& facts, const LedgerAccount& account);

  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }
  uint64_t capacity() const { return end_ - begin_; }  // of a bank; 0 if the process never told it
  uint64_t held() const { return held_; }              // bytes of a bank
  // 0 if the capacity is not known, or more is held than there is.
  uint64_t free() const { return capacity() > held_ ? capacity() - held_ : 0; }
  const std::vector<FreeBlock>& free_blocks() const { return free_blocks_; }  // by address
  uint64_t largest_free() const;

  // By bytes, the most first.
  std::vector<TagShare> Tags() const;

  // What would have to go for a block of that many bytes a bank.  No buffers if it fits; bytes_per_bank is UINT64_MAX
  // if it is larger than the whole space.
  Clearing CheapestRoomFor(uint64_t bytes_per_bank) const;

 private:
  uint64_t LargestFreeWithout(const std::vector<bool>& gone) const;

  const LedgerView& facts_;
  std::vector<const LedgerBuffer*> buffers_;  // by address
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  uint64_t held_ = 0;
  std::vector<FreeBlock> free_blocks_;
};

}  // namespace memtally::collect
