// SPDX-License-Identifier: Apache-2.0
//
// Whether a file is a ledger that this reader may believe, and if not, why not and what to do.
#pragma once

#include <string>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

#include "ledger/reader/ledger_bytes.hpp"

namespace memtally::reader {

// Sets *error to `code`, "<path>: <what>" and `hint`; returns false.
bool Fail(LedgerError* error, LedgerError::Code code, const std::string& path, const std::string& what,
          const std::string& hint);

// For an errno of HeldDescriptor::Open.
bool FailToOpen(LedgerError* error, const std::string& path, int error_number);

// For memory that ran out.  Allocates nothing.
bool FailForMemory(LedgerError* error) noexcept;

// What is in the first page.
struct FirstPage {
  memtally_ledger_header header;
  uint64_t lane_offset[MEMTALLY_MAX_LANES];
};

// Reads the first page and checks everything that does not depend on other parts.
// REQUIRES: bytes.Refresh() was called.
bool ReadFirstPage(LedgerBytes& bytes, const std::string& path, FirstPage* page, LedgerError* error);

}  // namespace memtally::reader
