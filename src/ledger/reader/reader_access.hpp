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

struct ReaderMemory::State {
  reader::LedgerCopy copy;
};

struct LedgerReader::State {
  State(reader::HeldDescriptor descriptor, std::shared_ptr<ReaderMemory> the_memory)
      : bytes(std::move(descriptor)), memory(std::move(the_memory)) {}

  std::string path;
  reader::LedgerBytes bytes;
  reader::FirstPage first_page{};  // as it was when the ledger was opened
  std::shared_ptr<ReaderMemory> memory;
};

namespace reader {

struct ReaderAccess {
  // Reads a file that is already open; `path` is what errors call it.
  static std::unique_ptr<LedgerReader> Open(HeldDescriptor descriptor, const std::string& path, LedgerError* error,
                                            std::shared_ptr<ReaderMemory> memory = nullptr);
  static LedgerCopy& CopyOf(ReaderMemory& memory) { return memory.state_->copy; }
  static LedgerBytes& BytesOf(LedgerReader& ledger) { return ledger.state_->bytes; }
};

}  // namespace reader
}  // namespace memtally
