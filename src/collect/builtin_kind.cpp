// SPDX-License-Identifier: Apache-2.0
#include "collect/builtin_kind.hpp"

#include <memtally/abi/ledger_format.h>

namespace memtally::collect {

LedgerKind BuiltinKind(uint32_t number) {
  switch (number) {
    case MEMTALLY_KIND_L1:
      return {number, MEMTALLY_KIND_L1, std::nullopt, false, false, "l1"};
    case MEMTALLY_KIND_L1_SMALL:
      return {number, MEMTALLY_KIND_L1, std::nullopt, false, false, "l1_small"};
    case MEMTALLY_KIND_TRACE:
      return {number, MEMTALLY_KIND_DRAM, std::nullopt, false, false, "trace"};
    case MEMTALLY_KIND_SYSTEM_MEMORY:
      return {number, MEMTALLY_KIND_SYSTEM_MEMORY, std::nullopt, false, true, "system_memory"};
    case MEMTALLY_KIND_CB:
      return {number, MEMTALLY_KIND_L1, std::nullopt, true, false, "cb"};
    case MEMTALLY_KIND_KERNEL:
      return {number, MEMTALLY_KIND_L1, std::nullopt, false, false, "kernel"};
    default:
      return {MEMTALLY_KIND_DRAM, MEMTALLY_KIND_DRAM, std::nullopt, false, false, "dram"};
  }
}

}  // namespace memtally::collect
