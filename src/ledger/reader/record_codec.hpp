// SPDX-License-Identifier: Apache-2.0
//
// Takes the words of a record apart, as docs/formats/ledger.md draws them.  Trusts nothing: every result has the width
// of its field and no more.
#pragma once

#include <bit>
#include <cstdint>

#include <memtally/abi/ledger_format.h>

namespace memtally::reader {

static_assert(std::endian::native == std::endian::little, "a ledger is little-endian");

// In events of calls that have no account.
inline constexpr uint32_t kNoAccount = MEMTALLY_MAX_ACCOUNTS - 1;

inline uint32_t FlagsOfWord(uint64_t word) { return static_cast<uint32_t>(word >> MEMTALLY_FLAGS_SHIFT); }
inline uint32_t FlagsOf(const memtally_record& record) { return FlagsOfWord(record.size_account_flags); }
inline uint32_t OperationOf(const memtally_record& record) { return FlagsOf(record) >> 4; }
inline uint32_t AccountOf(const memtally_record& record) {
  return static_cast<uint32_t>(record.size_account_flags >> MEMTALLY_ACCOUNT_SHIFT) & (MEMTALLY_MAX_ACCOUNTS - 1);
}
inline uint64_t RequestedOf(const memtally_record& record) {
  return record.size_account_flags & ((uint64_t{1} << MEMTALLY_REQUESTED_BITS) - 1);
}
inline uint64_t PerBankOf(const memtally_record& record) {
  return record.bank_thread_time & ((uint64_t{1} << MEMTALLY_PER_BANK_BITS) - 1);
}
inline uint32_t ThreadOf(const memtally_record& record) {
  return static_cast<uint32_t>(record.bank_thread_time >> MEMTALLY_THREAD_SHIFT) & 0xffffu;
}
inline uint64_t UnitsOf(const memtally_record& record) {
  return (record.bank_thread_time >> MEMTALLY_TIME_HIGH_SHIFT) << 48 | record.time_tag >> MEMTALLY_TIME_LOW_SHIFT;
}
inline uint32_t TagOf(const memtally_record& record) { return static_cast<uint32_t>(record.time_tag & 0xffffu); }

inline uint32_t SlotOf(const memtally_event& event) { return static_cast<uint32_t>(event.slot_group); }
// For `replace`: the slot that was given up.
inline uint32_t SecondOf(const memtally_event& event) { return static_cast<uint32_t>(event.slot_group >> 32); }

// Slots of a lane's buffer table that lie before segment `k`.
constexpr uint64_t FirstSlotOf(uint32_t k) { return MEMTALLY_SEGMENT_0_SLOTS * ((uint64_t{1} << k) - 1); }
constexpr uint64_t SlotsOf(uint32_t k) { return uint64_t{MEMTALLY_SEGMENT_0_SLOTS} << k; }
inline constexpr uint64_t kMostSlots = FirstSlotOf(MEMTALLY_SEGMENTS);
// REQUIRES: slot < kMostSlots.
inline uint32_t SegmentOf(uint64_t slot) {
  return static_cast<uint32_t>(std::bit_width(slot / MEMTALLY_SEGMENT_0_SLOTS + 1)) - 1;
}

// Sums of foreign numbers stop at the top instead of wrapping round.
inline uint64_t AddUpTo(uint64_t a, uint64_t b) { return a + b < a ? UINT64_MAX : a + b; }
// a - b, 0 if that would be negative (sums of a torn copy).
inline uint64_t SubtractDownTo0(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace memtally::reader
