// SPDX-License-Identifier: Apache-2.0
#include "track/legacy_client/client_settings.hpp"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memtally/abi/legacy_protocol.h>

namespace memtally::legacy_client {
namespace {

// Keeps what is there if the variable has no number from `least` to `most`, and says so.
void ReadNumber(const char* name, uint32_t least, uint32_t most, uint32_t* value) {
  const char* text = getenv(name);
  if (text == nullptr || *text == 0) return;
  char* end = nullptr;
  const unsigned long long number = strtoull(text, &end, 10);
  if (*end != 0 || *text == '-' || number < least || number > most) {
    fprintf(stderr, "memtally: %s=%s: takes a number from %u to %u; %u is used\n", name, text, least, most, *value);
    return;
  }
  *value = static_cast<uint32_t>(number);
}

Transport TransportNamed(const char* name) {
  if (name == nullptr || *name == 0 || strcmp(name, "ledger") == 0) return Transport::kLedger;
  if (strcmp(name, "none") == 0) return Transport::kNone;
  if (strcmp(name, "blocking") == 0) return Transport::kBlocking;
  if (strcmp(name, "hybrid") == 0) return Transport::kHybrid;
  if (strcmp(name, "async") == 0) return Transport::kAsync;
  if (strcmp(name, "batch") == 0) return Transport::kBatch;
  fprintf(stderr,
          "memtally: TT_ALLOC_TRANSPORT=%s: takes ledger, blocking, hybrid, async, batch or none; ledger is used\n",
          name);
  return Transport::kLedger;
}

}  // namespace

ClientSettings ReadClientSettings() {
  ClientSettings settings;
  const char* enabled = getenv("TT_ALLOC_TRACKING_ENABLED");
  settings.transport = TransportNamed(getenv("TT_ALLOC_TRANSPORT"));
  if (enabled != nullptr && strcmp(enabled, "0") == 0) settings.transport = Transport::kNone;
  const char* path = getenv("TT_ALLOC_SOCKET");
  if (path == nullptr || *path == 0 || strlen(path) >= sizeof(settings.socket)) path = MEMTALLY_LEGACY_SOCKET;
  memcpy(settings.socket, path, strlen(path) + 1);
  ReadNumber("TT_ALLOC_SNDBUF", 1, 1u << 30, &settings.send_buffer);
  ReadNumber("TT_ALLOC_QUEUE", 1, 1u << 26, &settings.queue_events);
  ReadNumber("TT_ALLOC_WAIT_MS", 0, 3'600'000, &settings.wait_ms);
  ReadNumber("TT_ALLOC_BATCH", 1, 1u << 16, &settings.batch_events);
  ReadNumber("TT_ALLOC_BATCH_MS", 1, 60'000, &settings.batch_ms);
  ReadNumber("TT_ALLOC_EXIT_MS", 0, 3'600'000, &settings.exit_ms);
  const char* full = getenv("TT_ALLOC_QUEUE_FULL");
  settings.drop_when_full = full != nullptr && strcmp(full, "drop") == 0;
  return settings;
}

}  // namespace memtally::legacy_client
