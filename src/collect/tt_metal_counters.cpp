// SPDX-License-Identifier: Apache-2.0
#include "collect/tt_metal_counters.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <string_view>
#include <utility>

#include <memtally/abi/ledger_format.h>

#include "base/fd.hpp"

namespace memtally::collect {

const std::array<uint32_t, 5> kCounterKinds = {MEMTALLY_KIND_DRAM, MEMTALLY_KIND_L1, MEMTALLY_KIND_L1_SMALL,
                                               MEMTALLY_KIND_TRACE, MEMTALLY_KIND_CB};

namespace {

constexpr uint32_t kOldest = 2;
constexpr uint32_t kNewest = 4;
constexpr uint32_t kVersionWithState = 4;
constexpr uint32_t kReady = 0x52454459;
constexpr size_t kDeviceBytesAt = 48;
constexpr size_t kRowsAt = 856;
constexpr size_t kRows = 64;
constexpr size_t kRowBytes = 120;
constexpr size_t kTimeAt = 48;
constexpr size_t kNameAt = 56;
constexpr size_t kNameBytes = 64;
constexpr size_t kStateAt = 8536;
static_assert(kRowsAt + kRows * kRowBytes == kStateAt);

template <typename T>
T At(std::span<const uint8_t> file, size_t offset) {
  T value;
  memcpy(&value, file.data() + offset, sizeof(value));
  return value;
}

std::array<uint64_t, 5> BytesAt(std::span<const uint8_t> file, size_t offset) {
  std::array<uint64_t, 5> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = At<uint64_t>(file, offset + i * sizeof(uint64_t));
  return bytes;
}

bool Refuse(LedgerError::Code code, std::string what, std::string hint, LedgerError* error) {
  *error = {code, std::move(what), std::move(hint)};
  return false;
}

// "tt_device_<decimal digits>_memory"
bool IsCountersName(std::string_view name) {
  constexpr std::string_view kBegin = "tt_device_";
  constexpr std::string_view kEnd = "_memory";
  if (name.size() <= kBegin.size() + kEnd.size() || !name.starts_with(kBegin) || !name.ends_with(kEnd)) return false;
  const std::string_view digits = name.substr(kBegin.size(), name.size() - kBegin.size() - kEnd.size());
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool ReadFile(int directory, const char* name, const std::string& path, TtMetalCounters* counters, LedgerError* error) {
  const base::Fd fd(openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    const bool refused = errno == EACCES || errno == EPERM;
    const auto code = refused           ? LedgerError::Code::kNoPermission
                      : errno == ENOENT ? LedgerError::Code::kNotFound
                                        : LedgerError::Code::kIo;
    return Refuse(code, path + ": cannot be opened: " + strerror(errno),
                  refused ? "its owner, or root, can look at tt-metal's own counters" : "", error);
  }
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return Refuse(LedgerError::Code::kNotALedger, path + ": is no regular file", "", error);
  }
  std::vector<uint8_t> bytes(kCountersBytes);
  const ssize_t got = pread(fd.get(), bytes.data(), bytes.size(), 0);
  bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
  if (!ParseCounters(bytes, path, counters, error)) return false;
  counters->owner = status.st_uid;
  return true;
}

}  // namespace

bool ParseCounters(std::span<const uint8_t> file, const std::string& path, TtMetalCounters* counters,
                   LedgerError* error) {
  *counters = {};
  *error = {};
  if (file.size() < kCountersBytes) {
    return Refuse(LedgerError::Code::kCorrupt,
                  path + ": has " + std::to_string(file.size()) + " of the " + std::to_string(kCountersBytes) +
                      " bytes of tt-metal's counters",
                  "remove it when nothing uses the device", error);
  }
  counters->path = path;
  counters->version = At<uint32_t>(file, 0);
  if (counters->version == 0) {
    return Refuse(LedgerError::Code::kBeingMade, path + ": is being made", "", error);
  }
  if (counters->version > kNewest) {
    return Refuse(LedgerError::Code::kNewerVersion,
                  path + ": version " + std::to_string(counters->version) + " of tt-metal's counters; versions " +
                      std::to_string(kOldest) + " to " + std::to_string(kNewest) + " are known",
                  "use a newer memtally", error);
  }
  if (counters->version < kOldest) {
    return Refuse(LedgerError::Code::kCorrupt,
                  path + ": version " + std::to_string(counters->version) + " of tt-metal's counters is not known", "",
                  error);
  }
  if (counters->version >= kVersionWithState && At<uint32_t>(file, kStateAt) != kReady) {
    return Refuse(LedgerError::Code::kBeingMade, path + ": is being made", "", error);
  }
  counters->asic_id = At<uint64_t>(file, 32);
  counters->device_number = At<int32_t>(file, 40);
  counters->bytes = BytesAt(file, kDeviceBytesAt);
  for (size_t i = 0; i < kRows; ++i) {
    const size_t at = kRowsAt + i * kRowBytes;
    const auto pid = At<int32_t>(file, at);
    if (pid <= 0) continue;
    CounterRow& row = counters->rows.emplace_back();
    row.pid = static_cast<uint32_t>(pid);
    row.bytes = BytesAt(file, at + 8);
    row.time_ns = At<uint64_t>(file, at + kTimeAt);
    const char* name = reinterpret_cast<const char*>(file.data() + at + kNameAt);
    row.name.assign(name, strnlen(name, kNameBytes));
  }
  return true;
}

std::vector<TtMetalCounters> ReadCounters(const std::string& directory,
                                          std::vector<std::pair<std::string, LedgerError>>* problems) {
  std::vector<TtMetalCounters> all;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  if (!stream) return all;  // whoever looks for ledgers there says so
  while (const dirent* entry = readdir(stream.get())) {
    if (!IsCountersName(entry->d_name)) continue;
    const std::string path = directory + "/" + entry->d_name;
    TtMetalCounters counters;
    LedgerError error;
    if (ReadFile(dirfd(stream.get()), entry->d_name, path, &counters, &error)) {
      all.push_back(std::move(counters));
    } else if (error.code != LedgerError::Code::kNotFound && error.code != LedgerError::Code::kBeingMade) {
      problems->emplace_back(path, std::move(error));
    }
  }
  std::sort(all.begin(), all.end(), [](const TtMetalCounters& a, const TtMetalCounters& b) { return a.path < b.path; });
  return all;
}

}  // namespace memtally::collect
