// SPDX-License-Identifier: Apache-2.0
#include "tools/run/ledger_watch.hpp"

#include <dirent.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <utility>

#include "ledger/reader/ledger_name.hpp"

namespace memtally::tools {

void LedgerWatch::Listen() {
  inotify_ = base::Fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_.valid()) return;
  if (inotify_add_watch(inotify_.get(), directory_.c_str(), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0) inotify_.reset();
}

void LedgerWatch::Offer(const std::string& path) {
  reader::LedgerName name;
  if (!reader::ParseLedgerName(path, &name) || name.is_control) return;
  // The name holds a random run id: it is never used again.
  if (seen_.insert(path.substr(path.rfind('/') + 1)).second) offered_.push_back(path);
}

void LedgerWatch::ReadNotices() {
  alignas(inotify_event) char buffer[16 << 10];
  for (;;) {
    const ssize_t got = inotify_.valid() ? read(inotify_.get(), buffer, sizeof(buffer)) : 0;
    if (got <= 0) return;
    for (ssize_t at = 0; at + static_cast<ssize_t>(sizeof(inotify_event)) <= got;) {
      inotify_event event{};
      memcpy(&event, buffer + at, sizeof(event));
      if ((event.mask & IN_Q_OVERFLOW) != 0) Scan(false);
      if (event.len != 0) Offer(directory_ + "/" + (buffer + at + sizeof(event)));
      at += static_cast<ssize_t>(sizeof(event)) + event.len;
    }
  }
}

void LedgerWatch::Scan(bool everywhere) {
  if (everywhere) {
    for (const LedgerPlace& place : FindLedgers()) Offer(place.path);
    return;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory_.c_str()), closedir);
  if (!stream) return;
  while (const dirent* entry = readdir(stream.get())) Offer(directory_ + "/" + entry->d_name);
}

std::vector<std::unique_ptr<LedgerReader>> LedgerWatch::TakeNew() {
  ReadNotices();
  std::vector<std::unique_ptr<LedgerReader>> found;
  for (size_t left = offered_.size(); left != 0; --left) {
    std::string path = std::move(offered_.front());
    offered_.pop_front();
    LedgerError error;
    std::unique_ptr<LedgerReader> reader = LedgerReader::Open(path, &error);
    if (!reader) {
      if (error.code == LedgerError::Code::kBeingMade) offered_.push_back(std::move(path));
      continue;
    }
    LedgerView view;
    if (!reader->Read(ReadLevel::kTotals, &view, &error) || view.identity.launch_id != launch_) continue;
    if (geteuid() != 0 && view.identity.uid != geteuid()) {
      ++foreign_;
      continue;
    }
    found.push_back(std::move(reader));
  }
  return found;
}

}  // namespace memtally::tools
