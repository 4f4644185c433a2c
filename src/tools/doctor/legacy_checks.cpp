// SPDX-License-Identifier: Apache-2.0
//
// The server of the original allocation-server protocol: who speaks it, how, and who was refused.
#include <stdlib.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memtally/abi/legacy_state.h>

#include "collect/legacy_source.hpp"
#include "tools/doctor/check.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr size_t kMostClients = 20;

std::string Generations(uint32_t bits) {
  std::vector<const char*> spoken;
  if ((bits & MEMTALLY_LEGACY_SPOKE_72) != 0) spoken.push_back("72");
  if ((bits & MEMTALLY_LEGACY_SPOKE_112) != 0) spoken.push_back("112");
  if ((bits & MEMTALLY_LEGACY_SPOKE_128) != 0) spoken.push_back("128");
  if ((bits & MEMTALLY_LEGACY_SPOKE_144) != 0) spoken.push_back("144");
  if (spoken.empty()) return "no message yet";
  return fmt::format("messages of {} bytes", fmt::join(spoken, " and "));
}

void CheckClient(const memtally_legacy_state_process& client, Checkup* checkup) {
  const char* state = client.state == MEMTALLY_LEGACY_CONNECTED      ? ""
                      : client.state == MEMTALLY_LEGACY_DISCONNECTED ? ", disconnected"
                                                                     : ", dead";
  const std::string who = fmt::format("pid {} ({}){}", client.pid, TerminalText(client.comm, 16), state);
  std::string what = fmt::format("{}: {}, {} so far, {} live buffers", who, Generations(client.generations),
                                 client.messages, client.live_buffers);
  if (client.repeated_allocations != 0) what += fmt::format(", {} repeated allocations", client.repeated_allocations);
  if (client.throttled != 0) what += fmt::format(", had to wait {} times", client.throttled);
  if (client.resynchronisations != 0) what += fmt::format(", began anew {} times", client.resynchronisations);
  checkup->Ok("legacy", what);
  if (client.unknown_frees != 0) {
    checkup->Warn(
        "legacy", fmt::format("{}: freed {} unknown buffers", who, client.unknown_frees),
        "messages of its allocations got lost on its side: see that its sends are repeated until all is sent");
  }
  if (client.damaged_messages != 0) {
    checkup->Warn("legacy",
                  fmt::format("{}: {} damaged messages, {} bytes passed over", who, client.damaged_messages,
                              client.skipped_bytes),
                  "it sends parts of messages: see that its sends are repeated for the rest");
  }
  if (client.foreign_pids != 0) {
    checkup->Warn("legacy",
                  fmt::format("{}: {} messages named a pid that is not its own, the last of them {}", who,
                              client.foreign_pids, client.claimed_pid),
                  "they are counted as its own; a child of fork may have kept its parent's pid");
  }
  if (client.refused_buffers != 0) {
    checkup->Warn("legacy", fmt::format("{}: {} buffers were refused", who, client.refused_buffers),
                  "raise most_buffers in the settings of memtallyd");
  }
  if (client.unknown_types != 0) {
    checkup->Warn("legacy",
                  fmt::format("{}: {} messages of a type that clients do not send", who, client.unknown_types),
                  "they say nothing and were passed over");
  }
}

struct Refusal {
  const char* what;
  const char* hint;
};
constexpr std::array<Refusal, MEMTALLY_LEGACY_REFUSALS> kRefusals{{
    {"not in the group that may connect", "add users to the group that memtallyd's settings name"},
    {"all connections are taken", "raise most_connections in the settings of memtallyd"},
    {"one user had too many connections", "raise most_connections_of_user in the settings of memtallyd"},
    {"silent for too long", "raise idle_seconds in the settings of memtallyd"},
    {"no messages of any generation", "something else than a client of the protocol connects there"},
    {"answers were not read", "a client asks and does not listen"},
    {"too many buffers of one process", "raise most_buffers in the settings of memtallyd"},
    {"no file descriptor was left", "raise the limit of open files of memtallyd"},
}};

}  // namespace

void CheckLegacyServer(Checkup* checkup) {
  const char* named = getenv("MEMTALLY_DIR");
  const std::string directory = named != nullptr && *named != 0 ? named : "/dev/shm";
  memtally_legacy_state_request request{};
  request.magic = MEMTALLY_LEGACY_STATE_MAGIC;
  request.version = MEMTALLY_LEGACY_STATE_VERSION;
  LedgerError error;
  const std::optional<collect::LegacyState> state =
      collect::AskLegacyServer(directory + "/" MEMTALLY_LEGACY_STATE_SOCKET, request, &error);
  if (error) {
    checkup->Warn("legacy", TerminalText(error.what, 200), error.hint);
    return;
  }
  if (!state) {
    checkup->Ok("legacy",
                "no memtallyd runs here: programs that speak the original allocation-server protocol are not seen");
    return;
  }
  checkup->Ok("legacy", fmt::format("memtallyd (pid {}) serves {}: {} connections, {} messages",
                                    state->header.server_pid, TerminalText(state->header.socket_path, 120),
                                    state->header.connections, state->header.messages));
  size_t shown = 0;
  for (const memtally_legacy_state_process& client : state->processes) {
    if (++shown <= kMostClients) CheckClient(client, checkup);
  }
  if (shown > kMostClients) checkup->Ok("legacy", fmt::format("and {} more clients", shown - kMostClients));
  for (size_t reason = 0; reason < kRefusals.size(); ++reason) {
    const uint64_t count = state->header.refused[reason];
    if (count != 0) {
      checkup->Warn("legacy", fmt::format("refused {} times: {}", count, kRefusals[reason].what),
                    kRefusals[reason].hint);
    }
  }
}

}  // namespace memtally::tools
