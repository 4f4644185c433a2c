// SPDX-License-Identifier: Apache-2.0
//
// LedgerSender: reports of the original interface go into the process's ledger.
//
// Device numbers become devices of the ledger, the same as those of a hook that knows their ids; who reports first on a
// device and kind owns it, so nothing is counted twice.
#pragma once

#include "track/legacy_client/legacy_event.hpp"

namespace memtally::legacy_client {

void ReportToLedger(const LegacyEvent& event);
// In a child of fork: devices have to be registered anew.
void ForgetLedgerDevices();

}  // namespace memtally::legacy_client
