// SPDX-License-Identifier: Apache-2.0
//
// What the rest of src/ledger may do with a LedgerReader that others may not.
#pragma once

#include <memory>
#include <string>

#include <memtally/ledger_reader.hpp>

#include "ledger/reader/header_check.hpp"
#include "ledger/reader/ledger_bytes.hpp"
#include "ledger/reader/ledger_copy.hpp"

namespace memtally {

struct LedgerReader::State {
  explicit State(reader::HeldDescriptor descriptor) : bytes(std::move(descriptor)) {}

  std::string path;
  reader::LedgerBytes bytes;
  reader::FirstPage first_page{};  // as it was when the ledger was opened
  reader::LedgerCopy copy;
};

namespace reader {

struct ReaderAccess {
  // Reads a file that is already open; `path` is what errors call it.
  static std::unique_ptr<LedgerReader> Open(HeldDescriptor descriptor, const std::string& path, LedgerError* error);
  static LedgerBytes& BytesOf(LedgerReader& ledger) { return ledger.state_->bytes; }
};

}  // namespace reader
}  // namespace memtally
