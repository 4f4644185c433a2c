// SPDX-License-Identifier: Apache-2.0
#include "operation_stream.hpp"

#include <cstdio>
#include <cstdlib>

namespace memtally::model {

namespace {

struct Place {
  uint32_t device;
  uint32_t reporter;  // the owner
  uint32_t kind;
  uint64_t capacity_bytes;
  uint32_t banks;
  uint64_t capacity_bytes_per_bank;
};

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr Place kPlaces[] = {
    {0, 0, MEMTALLY_KIND_DRAM, 12 * kGiB, 12, kGiB},
    {0, 0, MEMTALLY_KIND_L1, 64 << 20, 64, 1 << 20},
    {0, 0, MEMTALLY_KIND_CB, 0, 64, 0},
    {0, 1, MEMTALLY_KIND_TRACE, kGiB, 12, 0},
    {1, 0, MEMTALLY_KIND_DRAM, 8 * kGiB, 8, kGiB},
    {2, 0, MEMTALLY_KIND_CUDA_DEVICE, 80 * kGiB, 1, 80 * kGiB},
    {2, 0, World::kPoolKind, 0, 1, 0},
};
// Never registered: its account comes with the first call.
constexpr Place kUnregistered = {1, 0, MEMTALLY_KIND_L1_SMALL, 0, 1, 0};

constexpr const char* kNames[] = {"prefill", "decode", "layer 3", "attention", "warm up"};
constexpr const char* kReporterNames[World::kReporters] = {"hook", "second"};

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "%s\n", what);
  abort();
}

}  // namespace

uint64_t OperationStream::NewId() {
  const uint64_t of_thread = uint64_t{options_.thread} << 44;
  switch (options_.ids) {
    case Ids::kSequential:
      return of_thread + ++next_id_;
    case Ids::kAddresses:
      return of_thread + 0x7f0000000000 / 4 + (random_.Below(1 << 20) << 8);
    case Ids::kRandom:
      return (random_.Next() >> 4) | uint64_t{options_.thread} << 60;
    case Ids::kTiny:
      return random_.Below(24);
  }
  return 0;
}

Operation OperationStream::Alloc() {
  const bool unregistered = random_.OneIn(40);
  const Place& place = unregistered ? kUnregistered : kPlaces[random_.Below(std::size(kPlaces))];
  Operation o;
  o.action = Action::kAlloc;
  o.thread = options_.thread;
  o.device = place.device;
  o.reporter = place.reporter;
  o.kind = place.kind;
  o.id = NewId();
  o.address = random_.Next() >> 20;
  o.bytes_requested = random_.OneIn(50) ? 0 : 1 + random_.Below(uint64_t{1} << (8 + random_.Below(20)));
  o.bytes_per_bank = o.bytes_requested / place.banks + random_.Below(64);
  if (options_.plain) {
    known_.push_back({o.device, o.reporter, o.kind, o.id});
    return o;
  }
  if (!known_.empty() && random_.OneIn(25)) {  // replaces one that is probably live
    const Known& known = known_[random_.Below(known_.size())];
    o.device = known.device;
    o.reporter = known.reporter;
    o.kind = known.kind;
    o.id = known.id;
  } else if (!known_.empty() && random_.OneIn(20)) {  // the same id, in whatever kind
    o.id = known_[random_.Below(known_.size())].id;
  }
  if (random_.OneIn(12)) o.group = random_.Next() >> random_.Below(60);
  if (random_.OneIn(30)) o.stack = static_cast<uint32_t>(random_.Next());
  if (random_.OneIn(60)) o.bytes_requested = (uint64_t{1} << 46) - 2 + random_.Below(4);
  if (random_.OneIn(60)) o.bytes_per_bank = (uint64_t{1} << 40) - 2 + random_.Below(4);
  if (random_.OneIn(20)) o.imported = true;
  // Whoever uses an unregistered kind first owns it: with several threads that is anybody.
  if (!unregistered && random_.OneIn(60)) o.reporter ^= 1;
  known_.push_back({o.device, o.reporter, o.kind, o.id});
  return o;
}

Operation OperationStream::Free(Action action) {
  Operation o;
  o.action = action;
  o.thread = options_.thread;
  if (known_.empty() || (!options_.plain && random_.OneIn(40))) {
    const Place& place = kPlaces[random_.Below(std::size(kPlaces))];
    o.device = place.device;
    o.reporter = place.reporter;
    o.kind = place.kind;
    o.id = NewId();
    return o;
  }
  const size_t i = random_.Below(known_.size());
  const Known known = known_[i];
  known_[i] = known_.back();
  known_.pop_back();
  o.device = known.device;
  o.reporter = known.reporter;
  o.kind = known.kind;
  o.id = known.id;
  return o;
}

Operation OperationStream::Next() {
  const uint64_t dice = random_.Below(1000);
  if (options_.close_in != 0 && random_.OneIn(options_.close_in)) {
    Operation o;
    o.action = random_.OneIn(3) ? Action::kReopen : Action::kClose;
    o.thread = options_.thread;
    o.device = static_cast<uint32_t>(random_.Below(World::kDevices));
    return o;
  }
  // Up to half of the most quickly, then up and down.
  const uint64_t free_share = known_.size() < options_.most_live / 2 ? 300 : 520;
  const bool frees = known_.size() > options_.most_live || dice < free_share;
  if (options_.plain) return frees && !known_.empty() ? Free(Action::kFree) : Alloc();
  if (dice < 20) {
    Operation o;
    o.action = Action::kFail;
    o.thread = options_.thread;
    const Place& place = kPlaces[random_.Below(std::size(kPlaces))];
    o.device = place.device;
    o.reporter = random_.OneIn(10) ? 1 - place.reporter : place.reporter;
    o.kind = place.kind;
    o.bytes_requested = random_.Next() >> (16 + random_.Below(40));
    o.bytes_per_bank = o.bytes_requested / place.banks;
    return o;
  }
  if (dice < 50) {
    Operation o;
    o.thread = options_.thread;
    o.name = kNames[random_.Below(std::size(kNames))];
    o.action = dice < 30 ? Action::kMark : Action::kPushTag;
    if (o.action == Action::kPushTag && (tag_depth_ >= 3 || (tag_depth_ > 0 && random_.OneIn(2)))) {
      o.action = Action::kPopTag;
    }
    if (o.action == Action::kPushTag) ++tag_depth_;
    if (o.action == Action::kPopTag) --tag_depth_;
    return o;
  }
  if (dice < 90) return Free(Action::kFreeAnyKind);
  return frees ? Free(Action::kFree) : Alloc();
}

std::vector<Operation> MakeOperations(uint64_t seed, const StreamOptions& options, size_t count) {
  OperationStream stream(seed, options);
  std::vector<Operation> operations;
  operations.reserve(count);
  while (operations.size() < count) operations.push_back(stream.Next());
  return operations;
}

void World::RegisterDevice(uint32_t device, uint32_t reporter) {
  memtally_device_info info{};
  info.size = sizeof(info);
  info.id[0] = static_cast<uint8_t>(device + 1);
  info.id_scheme = MEMTALLY_ID_CHIP;
  info.local_index = static_cast<int32_t>(device);
  info.vendor = "vendor";
  info.architecture = "architecture";
  info.reporter = kReporterNames[reporter];
  handle_[device][reporter] = memtally_register_device(&info);
  if (handle_[device][reporter] == 0) Fail("the tracker did not register a device");
}

void World::Register() {
  for (uint32_t device = 0; device < kDevices; ++device) {
    for (uint32_t reporter = 0; reporter < kReporters; ++reporter) RegisterDevice(device, reporter);
  }
  if (memtally_define_kind("pool", MEMTALLY_KIND_CUDA_DEVICE, MEMTALLY_KIND_CUDA_DEVICE, 0) != kPoolKind) {
    Fail("the first kind of a program has another number");
  }
  for (const Place& place : kPlaces) {
    memtally_register_kind(handle_[place.device][place.reporter], place.kind, place.capacity_bytes, place.banks,
                           place.capacity_bytes_per_bank);
  }
}

Model World::MakeModel() {
  Model model;
  for (uint32_t device = 0; device < kDevices; ++device) model.AddDevice();
  for (const Place& place : kPlaces) {
    model.AddAccount(place.device, place.kind, place.capacity_bytes, place.banks, place.capacity_bytes_per_bank,
                     place.reporter);
  }
  return model;
}

void World::Perform(const Operation& o) const {
  const memtally_device device = handle_[o.device][o.reporter];
  switch (o.action) {
    case Action::kAlloc: {
      if (o.group == 0 && o.stack == 0 && !o.imported) {
        return memtally_alloc(device, o.kind, o.id, o.address, o.bytes_requested, o.bytes_per_bank);
      }
      memtally_buffer buffer{};
      buffer.size = sizeof(buffer);
      buffer.device = device;
      buffer.kind = o.kind;
      buffer.id = o.id;
      buffer.address = o.address;
      buffer.bytes_requested = o.bytes_requested;
      buffer.bytes_per_bank = o.bytes_per_bank;
      buffer.group = o.group;
      buffer.stack = o.stack;
      buffer.imported = o.imported ? 1 : 0;
      return memtally_alloc_buffer(&buffer);
    }
    case Action::kFree:
      return memtally_free(device, o.kind, o.id);
    case Action::kFreeAnyKind:
      return memtally_free(device, MEMTALLY_KIND_ANY, o.id);
    case Action::kFail:
      return memtally_alloc_failed(device, o.kind, o.bytes_requested, o.bytes_per_bank);
    case Action::kMark:
      return memtally_mark(o.name);
    case Action::kClose:
      return memtally_close_device(device);
    case Action::kReopen: {
      World same = *this;
      return same.RegisterDevice(o.device, o.reporter);
    }
    case Action::kPushTag:
      return memtally_push_tag(o.name);
    case Action::kPopTag:
      return memtally_pop_tag();
    case Action::kNoteAfterClose:
      return;
  }
}

}  // namespace memtally::model
