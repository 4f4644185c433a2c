// SPDX-License-Identifier: Apache-2.0
//
// Held by whoever reads ledgers, and by a fork: a child never finds the reader's own locks held by a thread that it
// does not have.  Nobody waits for Python while holding it.
#pragma once

#include <mutex>

namespace memtally::python {

std::mutex& ReadingLock();

}  // namespace memtally::python
