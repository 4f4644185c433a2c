// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/ledger_name.hpp"

#include <stdlib.h>

#include <charconv>

namespace memtally::reader {

namespace {

// A decimal number without sign or leading zeros, and the '-' behind it.
bool TakeNumber(std::string_view* text, uint32_t* number) {
  const char* end = text->data() + text->size();
  const auto [at, error] = std::from_chars(text->data(), end, *number);
  if (error != std::errc() || at == end || *at != '-') return false;
  if (text->front() == '0' && at - text->data() > 1) return false;
  text->remove_prefix(static_cast<size_t>(at - text->data()) + 1);
  return true;
}

bool TakeAway(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool ParseLedgerName(std::string_view path, LedgerName* name) {
  const size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  if (!TakeAway(&path, "memtally-")) return false;
  if (!TakeNumber(&path, &name->uid) || !TakeNumber(&path, &name->pid)) return false;
  if (path.size() < 32 || path.substr(0, 32).find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return false;
  path.remove_prefix(32);
  name->is_control = path == ".control";
  return name->is_control || path == ".ledger";
}

std::string LedgerDirectory() {
  const char* named = getenv("MEMTALLY_DIR");
  return named != nullptr && *named != '\0' ? named : "/dev/shm";
}

bool LedgerDirectoryIsNamed() {
  const char* named = getenv("MEMTALLY_DIR");
  return named != nullptr && *named != '\0';
}

}  // namespace memtally::reader
