// SPDX-License-Identifier: Apache-2.0
#include "tools/top/kill_process.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/fd.hpp"
#include "base/proc.hpp"
#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools::top {

std::string WhyNotKill(const collect::Process& process) {
  const LedgerView& facts = process.facts;
  if (facts.liveness == Liveness::kDead) return "it is dead";
  if (facts.liveness == Liveness::kDetached) return "it runs another program by now";
  if (facts.visible_pid == 0) return "it is in another pid namespace, where its pid is not known";
  if (process.source != collect::Source::kLedger) return "it has no ledger that tells whether it is still the same";
  return "";
}

KillOrder MakeKillOrder(const collect::Process& process) {
  KillOrder order;
  order.process = process.key();
  order.ledger = process.facts.path;
  order.pid = process.facts.visible_pid;
  order.start_ticks = process.facts.identity.process_start_ticks;
  order.command = TerminalText(process.facts.identity.comm, 40);
  return order;
}

std::string SendSignal(const KillOrder& order) {
  // From here on the descriptor means one process, whoever gets its pid later.
  const base::Fd process(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(order.pid), 0)));
  if (!process.valid()) return errno == ESRCH ? "it has ended" : ErrorText(errno);
  // If the pid now belongs to another one, so may the descriptor: ask who keeps the ledger.
  LedgerError error;
  const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(order.ledger, &error);
  if (reader == nullptr) return "its ledger is gone";
  uint32_t keeper = 0;
  if (reader->liveness(&keeper) != Liveness::kAlive || keeper != order.pid) return "it has ended";
  const base::ProcessStat stat = base::StatProcess(order.pid);
  if (!stat.exists || stat.gone) return "it has ended";
  if (order.start_ticks != 0 && stat.start_ticks != order.start_ticks) return "another process has its pid by now";
  const int signal = kKillSignals[order.signal].number;
  if (syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0) return "";
  return errno == ESRCH ? "it has ended" : ErrorText(errno);
}

}  // namespace memtally::tools::top
