// SPDX-License-Identifier: Apache-2.0
//
// Fuzzer of the ledger reader.  The first byte of an input says whether the ledger's process seems to live, and what of
// the rest is made right so that the fuzzer gets past the first page; the others are the file.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

#include "ledger/reader/reader_access.hpp"

namespace {

enum Choice : uint8_t { kAlive = 1, kAsItIs = 2 };

void Require(bool condition) {
  if (!condition) abort();
}

void Check(const memtally::LedgerView& view) {
  for (const memtally::LedgerBuffer& buffer : view.buffers) {
    bool known = false;
    for (const memtally::LedgerAccount& account : view.accounts) known = known || account.index == buffer.account;
    Require(known);
    view.tag_path(buffer.tag);
  }
  for (const memtally::LedgerAccount& account : view.accounts) Require(view.kind(account.kind) != nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > (1u << 22)) return 0;
  const uint8_t choice = data[0];
  const int fd = memfd_create("ledger", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data + 1, size - 1) != static_cast<ssize_t>(size - 1)) abort();
  if ((choice & kAsItIs) == 0 && size > sizeof(memtally_ledger_header)) {
    memtally_ledger_header header;
    memcpy(&header, data + 1, sizeof(header));
    header.magic = MEMTALLY_LEDGER_MAGIC;
    header.version = MEMTALLY_LEDGER_VERSION;
    header.header_bytes = sizeof(header);
    header.uid = geteuid();
    if (pwrite(fd, &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header))) abort();
  }
  if ((choice & kAlive) != 0) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_len = 1;
    Require(fcntl(fd, F_SETLK, &lock) == 0);
  }
  {
    memtally::LedgerError error;
    const auto reader =
        memtally::reader::ReaderAccess::Open(memtally::reader::HeldDescriptor::Borrow(fd), "input", &error);
    Require((reader == nullptr) == static_cast<bool>(error));
    memtally::LedgerView view;
    for (const auto level : {memtally::ReadLevel::kTotals, memtally::ReadLevel::kAccount, memtally::ReadLevel::kAll}) {
      if (!reader) break;
      if (reader->Read(level, &view, &error, 1)) Check(view);
    }
  }
  close(fd);
  return 0;
}
