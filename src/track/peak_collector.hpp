// SPDX-License-Identifier: Apache-2.0
//
// PeakCollector: the peak of an account that several lanes share.
//
// A shared running total would be written by every event of every thread.  Instead each lane may rise by a share of the
// head-room unnoticed; whoever passes its bound enters all lanes of the account, so that their sum is one of an
// instant, and remembers it.  Between two such instants the sum was never above the sum of the lanes' own highest: that
// bound is kept as well, and the difference is the slack.
#pragma once

#include "track/session.hpp"

namespace memtally::track {

class PeakCollector {
 public:
  // Outside all lanes' locks.  `block` is the calling thread's.
  static void Collect(Session* session, const ThreadBlock* block, uint32_t account);
};

}  // namespace memtally::track
