// SPDX-License-Identifier: Apache-2.0
//
// Which ledger numbers of tags belong to.
#pragma once

#include <cstdint>

#include <memtally/track.h>

namespace memtally::python {

// 0 while nothing is tracked; another number in each forked child, whose ledger numbers its tags anew.
uint64_t Generation(const memtally_api* api);

}  // namespace memtally::python
