// SPDX-License-Identifier: Apache-2.0
//
// Packs what is known of a buffer into the words of a record, as docs/formats/ledger.md draws them.
#pragma once

#include <cstdint>

#include <memtally/abi/ledger_format.h>

namespace memtally::writer {

inline constexpr uint64_t kMaxRequested = (uint64_t{1} << MEMTALLY_REQUESTED_BITS) - 1;
inline constexpr uint64_t kMaxPerBank = (uint64_t{1} << MEMTALLY_PER_BANK_BITS) - 1;
inline constexpr uint32_t kNoAccount = MEMTALLY_MAX_ACCOUNTS - 1;  // in events of calls without one
inline constexpr uint64_t kLive = uint64_t{MEMTALLY_FLAG_LIVE} << MEMTALLY_FLAGS_SHIFT;
inline constexpr uint64_t kImported = uint64_t{MEMTALLY_FLAG_IMPORTED} << MEMTALLY_FLAGS_SHIFT;
inline constexpr uint64_t kExtended = uint64_t{MEMTALLY_FLAG_EXTENDED} << MEMTALLY_FLAGS_SHIFT;
inline constexpr uint64_t kExtension = uint64_t{MEMTALLY_FLAG_EXTENSION} << MEMTALLY_FLAGS_SHIFT;

// What a call says of a buffer.
struct BufferFacts {
  uint64_t id = 0;
  uint64_t address = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
  uint64_t group = 0;
  uint32_t stack = 0;
  uint32_t tag = 0;
  uint32_t thread = 0;
  bool imported = false;
};

inline bool NeedsExtension(const BufferFacts& facts) {
  return ((facts.bytes_requested >> MEMTALLY_REQUESTED_BITS) | (facts.bytes_per_bank >> MEMTALLY_PER_BANK_BITS) |
          facts.group | facts.stack) != 0;
}

inline uint64_t Cut(uint64_t value, uint64_t most) { return value < most ? value : most; }

// Word 2, with `flags` already in their place.
inline uint64_t SizeWord(uint64_t bytes_requested, uint32_t account, uint64_t flags) {
  return Cut(bytes_requested, kMaxRequested) | (uint64_t{account} << MEMTALLY_ACCOUNT_SHIFT) | flags;
}
inline uint64_t BankWord(uint64_t bytes_per_bank, uint32_t thread, uint64_t time) {
  return Cut(bytes_per_bank, kMaxPerBank) | (uint64_t{thread & 0xffffu} << MEMTALLY_THREAD_SHIFT) |
         ((time >> 48) << MEMTALLY_TIME_HIGH_SHIFT);
}
inline uint64_t TimeWord(uint64_t time, uint32_t tag) { return (time << MEMTALLY_TIME_LOW_SHIFT) | (tag & 0xffffu); }

inline uint64_t OperationFlags(memtally_operation operation, uint64_t flags) {
  return (uint64_t{operation} << (MEMTALLY_FLAGS_SHIFT + 4)) | flags;
}

inline uint32_t AccountOf(const memtally_record& record) {
  return (record.size_account_flags >> MEMTALLY_ACCOUNT_SHIFT) & (MEMTALLY_MAX_ACCOUNTS - 1);
}
inline uint64_t RequestedOf(const memtally_record& record) { return record.size_account_flags & kMaxRequested; }
inline uint64_t PerBankOf(const memtally_record& record) { return record.bank_thread_time & kMaxPerBank; }
inline uint64_t TimeOf(const memtally_record& record) {
  return (record.time_tag >> MEMTALLY_TIME_LOW_SHIFT) | ((record.bank_thread_time >> MEMTALLY_TIME_HIGH_SHIFT) << 48);
}

}  // namespace memtally::writer
