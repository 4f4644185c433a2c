// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/header_check.hpp"

#include <errno.h>
#include <string.h>

#include "base/proc.hpp"

namespace memtally::reader {

namespace {

using Code = LedgerError::Code;

// A process needs far less between making a file and taking its lock.
constexpr int64_t kLongInMakingS = 10;

bool FailWithoutMagic(const LedgerBytes& bytes, const std::string& path, LedgerError* error) {
  const auto now_s = static_cast<int64_t>(base::RealtimeNs() / 1'000'000'000u);
  if (AskLock(bytes.descriptor()).held || now_s - bytes.changed_at_s() < kLongInMakingS) {
    return Fail(error, Code::kBeingMade, path, "the ledger is being made: its process has not finished the header yet",
                "try again in a moment");
  }
  return Fail(error, Code::kNotALedger, path, "its process died while it made the ledger; nothing was recorded",
              "remove the file, or let the clean-up do it");
}

}  // namespace

bool Fail(LedgerError* error, Code code, const std::string& path, const std::string& what, const std::string& hint) {
  if (error == nullptr) return false;
  error->code = code;
  error->what = path + ": " + what;
  error->hint = hint;
  return false;
}

bool FailToOpen(LedgerError* error, const std::string& path, int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
    case ESTALE:
      return Fail(error, Code::kNotFound, path, "no such file (any more)",
                  "its process may have ended with nothing to show; list the ledgers again");
    case EACCES:
    case EPERM:
      return Fail(error, Code::kNoPermission, path, "no permission to read it",
                  "run as the user whose process it is, or as root");
    case ELOOP:
      return Fail(error, Code::kNotALedger, path, "is a symbolic link, which is not followed",
                  "name the file that it points to");
    case EINVAL:
      return Fail(error, Code::kNotALedger, path, "is not a regular file", "name a file that ends in .ledger");
    default:
      return Fail(error, Code::kIo, path, std::string("cannot be opened: ") + strerror(error_number),
                  error_number == EMFILE || error_number == ENFILE ? "raise the limit of open files (ulimit -n)"
                                                                   : "look at the file system that it is on");
  }
}

bool FailForMemory(LedgerError* error) noexcept {
  if (error == nullptr) return false;
  error->code = Code::kIo;
  // Short enough to need no memory of their own.
  error->what = "out of memory";
  error->hint = "free memory";
  return false;
}

bool ReadFirstPage(LedgerBytes& bytes, const std::string& path, FirstPage* page, LedgerError* error) {
  uint8_t raw[MEMTALLY_PAGE_BYTES];
  const size_t have = bytes.Read(0, raw, sizeof(raw));
  memtally_ledger_header& header = page->header;
  memcpy(&header, raw, sizeof(header));
  memcpy(page->lane_offset, raw + MEMTALLY_LANE_DIRECTORY_OFFSET, sizeof(page->lane_offset));

  if (header.magic == 0) return FailWithoutMagic(bytes, path, error);
  if (header.magic != MEMTALLY_LEDGER_MAGIC) {
    return Fail(error, Code::kNotALedger, path, "does not begin with the bytes MTALLYLG",
                "it is no ledger, or it was overwritten; look at who writes to it");
  }
  if (header.version > MEMTALLY_LEDGER_VERSION) {
    return Fail(error, Code::kNewerVersion, path,
                "is a ledger of version " + std::to_string(header.version) +
                    ", and this program reads versions up to " + std::to_string(MEMTALLY_LEDGER_VERSION),
                "use the memtally that the process uses, or a newer one");
  }
  if (header.version == 0 || have < sizeof(header) || header.header_bytes != sizeof(header)) {
    const std::string what = header.version == 0 ? "its version is 0, which never existed"
                             : have < sizeof(header)
                                 ? "ends after " + std::to_string(have) + " bytes, within its header"
                                 : "its header is said to have " + std::to_string(header.header_bytes) +
                                       " bytes instead of " + std::to_string(sizeof(header));
    return Fail(error, Code::kCorrupt, path, what, "it was damaged; if its process is dead, remove it");
  }
  if (header.uid != bytes.owner()) {
    return Fail(
        error, Code::kForged, path,
        "belongs to user " + std::to_string(bytes.owner()) + ", but its header says user " + std::to_string(header.uid),
        "somebody made it up, or it was copied; do not believe it");
  }
  return true;
}

}  // namespace memtally::reader
