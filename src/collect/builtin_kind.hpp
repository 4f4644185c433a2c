// SPDX-License-Identifier: Apache-2.0
//
// BuiltinKind: the kinds that every ledger has, for processes that have no ledger.
#pragma once

#include <cstdint>

#include <memtally/ledger_reader.hpp>

namespace memtally::collect {

// `number`: enum memtally_kind; dram for one that is not known.
LedgerKind BuiltinKind(uint32_t number);

}  // namespace memtally::collect
