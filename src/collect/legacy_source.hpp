// SPDX-License-Identifier: Apache-2.0
//
// LegacySource: what memtallyd knows from the original allocation-server protocol joins a snapshot.
//
// For a process that has a ledger, the ledger speaks of every device and kind that it has; others are added, with their
// buffers, and differences between the two are listed.  A process without a ledger appears whole.  Device numbers of
// the protocol are the machine's: devices of one number are one.  Banks are not reported: reserved bytes are those
// asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <memtally/abi/legacy_state.h>

#include "collect/account_claim.hpp"
#include "collect/snapshot.hpp"

namespace memtally::collect {

// The server's answer, checked: every offset and count lies within it.
struct LegacyState {
  memtally_legacy_state_header header{};
  std::vector<memtally_legacy_state_process> processes;
  std::vector<memtally_legacy_state_account> accounts;
  std::vector<memtally_legacy_state_buffer> buffers;
};

// Reads the bytes of a state file.  False: *what says what is wrong with them.
bool ParseLegacyState(const std::vector<uint8_t>& bytes, LegacyState* state, std::string* what);

// Asks the server behind `socket`.  Nothing where no server is, without a problem; with one (*error) where a server
// does not answer in time, or is not root's or the caller's own.
std::optional<LegacyState> AskLegacyServer(const std::string& socket, const memtally_legacy_state_request& request,
                                           LedgerError* error);

class LegacySource {
 public:
  // Where the server is asked; "": says nothing.
  explicit LegacySource(std::string socket) : socket_(std::move(socket)) {}

  // Appends processes to `snapshot`, adds to those that are there, and notes problems.
  // REQUIRES: the ledgers' processes are in, passive ones and devices are not.
  void AddTo(Snapshot* snapshot, const std::optional<ProcessKey>& wanted);

  // What the sources of the snapshot say differently.  Appends to its disagreements.
  // REQUIRES: AddTo and BuildDevices were called for it, and its processes are in their final order.
  void Compare(Snapshot* snapshot) const;

 private:
  void AddProcess(const LegacyState& state, const memtally_legacy_state_process& said, Snapshot* snapshot);
  void AddAccounts(const LegacyState& state, const memtally_legacy_state_process& said, bool with_buffers,
                   Process* process);

  std::string socket_;
  UserNames users_;
  uint64_t ask_again_ns_ = 0;  // after a silence
  LedgerError silence_;
  std::vector<AccountClaim> claims_;  // about kinds of which a ledger speaks
};

}  // namespace memtally::collect
