// SPDX-License-Identifier: Apache-2.0
//
// The one symbol of libmemtally.so, and what happens when the library is loaded and when the process ends.
#include <memtally/track.h>

#include "track/instances.hpp"
#include "track/process_state.hpp"
#include "track/settings.hpp"
#include "track/tracker.hpp"

namespace {

using memtally::track::Tracker;

constexpr memtally_api kApi = {
    .version = MEMTALLY_API_VERSION,
    .size = sizeof(memtally_api),
    .register_device = Tracker::RegisterDevice,
    .register_kind = Tracker::RegisterKind,
    .define_kind = Tracker::DefineKind,
    .alloc = Tracker::Alloc,
    .alloc_buffer = Tracker::AllocBuffer,
    .free = Tracker::Free,
    .alloc_failed = Tracker::AllocFailed,
    .close_device = Tracker::CloseDevice,
    .mark = Tracker::Mark,
    .push_tag = Tracker::PushTag,
    .pop_tag = Tracker::PopTag,
    .name_group = Tracker::NameGroup,
    .forget_group = Tracker::ForgetGroup,
    .pause = Tracker::Pause,
    .resume = Tracker::Resume,
    .current_tag = Tracker::CurrentTag,
    .exchange_tag = Tracker::ExchangeTag,
    .ledger_path = Tracker::LedgerPath,
};

}  // namespace

// The calls of the tracker of this process, or null if tracking is turned off or this library is older than the
// caller's header.
extern "C" __attribute__((visibility("default"))) const memtally_api* memtally_get_api(uint32_t version) {
  if (version > MEMTALLY_API_VERSION || !memtally::track::GetSettings().enabled) return nullptr;
  return memtally::track::PrimaryApi(&kApi);
}

namespace {

__attribute__((constructor)) void Load() {
  const memtally_api* api = memtally_get_api(MEMTALLY_API_VERSION);
  if (api == nullptr) return;
  memtally::track::ProcessState::WatchForks();
  memtally::track::OpenGates(api);
}

__attribute__((destructor)) void Unload() { memtally::track::ProcessState::End(); }

}  // namespace
