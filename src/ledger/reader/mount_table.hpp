// SPDX-License-Identifier: Apache-2.0
//
// What is mounted where in another process's mount namespace, as far as it is needed to go there without being held up:
// any user can make a namespace in which a directory is served by a process that never answers.
#pragma once

#include <string>

namespace memtally::reader {

// Whether looking into `directory` below the root of `process` ("/proc/123") asks nobody but the kernel.  If not, *why
// says what is in the way; it stays empty if the process has gone.
bool IsSafeToEnter(const std::string& process, const std::string& directory, std::string* why);

}  // namespace memtally::reader
