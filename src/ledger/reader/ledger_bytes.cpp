// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/ledger_bytes.hpp"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

namespace memtally::reader {

bool LedgerBytes::Refresh() {
  struct stat status {};
  if (fstat(descriptor_.get(), &status) != 0) return false;
  size_ = status.st_size > 0 ? static_cast<uint64_t>(status.st_size) : 0;
  allocated_ = static_cast<uint64_t>(status.st_blocks) * 512;
  owner_ = status.st_uid;
  changed_at_s_ = status.st_ctim.tv_sec;
  return true;
}

size_t LedgerBytes::Read(uint64_t offset, void* out, size_t bytes) {
  auto* to = static_cast<uint8_t*>(out);
  size_t done = 0;
  constexpr uint64_t kLast = std::numeric_limits<int64_t>::max();
  while (done < bytes && offset <= kLast - bytes) {
    const ssize_t got = pread(descriptor_.get(), to + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  if (done < bytes) memset(to + done, 0, bytes - done);
  if (old_words_.empty()) return done;

  // Every word that touches the range, also those that begin before it.
  const uint64_t from = offset >= 7 ? offset - 7 : 0;
  auto word = std::lower_bound(old_words_.begin(), old_words_.end(), from,
                               [](const OldWord& w, uint64_t at) { return w.offset < at; });
  for (; word != old_words_.end() && word->offset < offset + bytes; ++word) {
    uint8_t value[8];
    memcpy(value, &word->value, 8);
    for (uint64_t i = 0; i < 8; ++i) {
      const uint64_t at = word->offset + i;
      if (at >= offset && at < offset + bytes) to[at - offset] = value[i];
    }
  }
  return done;
}

bool LedgerBytes::NextData(uint64_t from, uint64_t limit, uint64_t* begin, uint64_t* end) const {
  if (from >= limit || limit > std::numeric_limits<int64_t>::max()) return false;
  const off_t data = lseek(descriptor_.get(), static_cast<off_t>(from), SEEK_DATA);
  if (data < 0) {
    if (errno == ENXIO) return false;  // nothing but a hole up to the end of the file
    *begin = from;                     // this file system knows no holes
    *end = limit;
    return true;
  }
  if (static_cast<uint64_t>(data) >= limit) return false;
  const off_t hole = lseek(descriptor_.get(), data, SEEK_HOLE);
  *begin = std::max(from, static_cast<uint64_t>(data));
  *end = hole < 0 ? limit : std::min(limit, static_cast<uint64_t>(hole));
  return *begin < *end;
}

void LedgerBytes::SetOldWords(std::vector<OldWord> words) {
  std::stable_sort(words.begin(), words.end(), [](const OldWord& a, const OldWord& b) { return a.offset < b.offset; });
  size_t kept = 0;
  for (const OldWord& word : words) {
    if (kept != 0 && words[kept - 1].offset == word.offset) --kept;
    words[kept++] = word;
  }
  words.resize(kept);
  old_words_ = std::move(words);
}

}  // namespace memtally::reader
