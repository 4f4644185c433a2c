// SPDX-License-Identifier: Apache-2.0
//
// PrivateFolder: a folder for ledgers that are nobody else's business, removed whatever happens.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace memtally::tools::demo {

// While it exists, this process and those that it starts keep and look for ledgers there, and nowhere else.
class PrivateFolder {
 public:
  // A new folder in MEMTALLY_DIR or, without that, in /dev/shm, mode 0700.  A process of its own watches over it, and
  // removes it even if this process is killed.  Returns null and sets *error if that cannot be had.
  static std::unique_ptr<PrivateFolder> Make(std::string* error);
  // Removes the folder and what is in it.  REQUIRES: nobody makes files there any more.
  ~PrivateFolder();
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;

  const std::string& path() const { return path_; }
  // Of the process that watches over the folder.
  pid_t keeper() const { return keeper_; }

 private:
  PrivateFolder() = default;

  std::string path_;
  std::string directory_before_;
  bool had_directory_ = false;
  pid_t keeper_ = -1;
  int alive_ = -1;  // the keeper sees it closed when this process is gone
};

}  // namespace memtally::tools::demo
