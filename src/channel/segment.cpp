// SPDX-License-Identifier: Apache-2.0
#include "channel/segment.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "base/proc.hpp"
#include "channel/counting.hpp"

namespace memtally::channel {

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kLeastBytes = 4096;
constexpr uint64_t kMostBytes = 1ull << 33;  // positions of MPSC have 32 bits, in units of 8 bytes, and must not meet

uint32_t LoadState(const memtally_channel_participant* participant) {
  return std::atomic_ref<uint32_t>(const_cast<uint32_t&>(participant->state)).load(std::memory_order_acquire);
}
void StoreState(memtally_channel_participant* participant, uint32_t state) {
  std::atomic_ref<uint32_t>(participant->state).store(state, std::memory_order_release);
}
uint32_t LoadRole(const memtally_channel_participant* participant) {
  return std::atomic_ref<uint32_t>(const_cast<uint32_t&>(participant->role)).load(std::memory_order_relaxed);
}
void Increase(uint32_t* word) { std::atomic_ref<uint32_t>(*word).fetch_add(1, std::memory_order_release); }

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// How many of a role a mode has a place for.
int Most(uint32_t mode, uint32_t role) {
  const bool many_producers = mode == MEMTALLY_CHANNEL_MPSC || mode == MEMTALLY_CHANNEL_MPMC;
  const bool many_consumers =
      mode == MEMTALLY_CHANNEL_SPMC || mode == MEMTALLY_CHANNEL_MPMC || mode == MEMTALLY_CHANNEL_BROADCAST;
  if (role == MEMTALLY_CHANNEL_PRODUCER && !many_producers) return 1;
  if (role == MEMTALLY_CHANNEL_CONSUMER && !many_consumers) return 1;
  return MEMTALLY_CHANNEL_PARTICIPANTS;
}

// Behind the descriptors (MPSC), or the words that say which slots are free.
uint64_t RingOffset(const Geometry& geometry) {
  const uint64_t slots = geometry.stride == 0 ? 0 : geometry.capacity / geometry.stride;
  return MEMTALLY_CHANNEL_DATA_OFFSET + uint64_t{geometry.descriptor_count} * 16 +
         RoundUp(slots * sizeof(uint64_t), 64);
}

}  // namespace

Geometry Geometry::For(const ChannelOptions& options) {
  Geometry geometry;
  geometry.mode = options.pattern == Pattern::Broadcast ? uint32_t{MEMTALLY_CHANNEL_BROADCAST}
                                                        : static_cast<uint32_t>(options.mode);
  geometry.flags = (options.metrics ? uint32_t{MEMTALLY_CHANNEL_METRICS} : 0u) |
                   (options.wait != WaitStrategy::Spin ? uint32_t{MEMTALLY_CHANNEL_SLEEPERS} : 0u) |
                   (options.pattern == Pattern::Broadcast && options.when_slow == WhenSlow::Overrun
                        ? uint32_t{MEMTALLY_CHANNEL_OVERRUN}
                        : 0u);
  geometry.alignment = options.alignment;
  const uint64_t wanted = options.bytes == 0 ? 1024 * 1024 : options.bytes;
  geometry.capacity = std::bit_ceil(wanted < kLeastBytes ? kLeastBytes : wanted);
  uint64_t slack = 64;  // for the shift of frames whose payloads are aligned to 64 bytes
  if (geometry.mode == MEMTALLY_CHANNEL_MPSC) {
    geometry.descriptor_count = static_cast<uint32_t>(geometry.capacity / 64);
  }
  if (geometry.mode == MEMTALLY_CHANNEL_SPMC || geometry.mode == MEMTALLY_CHANNEL_MPMC) {
    geometry.stride = RoundUp(options.message_bytes + kSlotHeader, 64);
    uint64_t count = std::bit_ceil(geometry.capacity / geometry.stride);
    if (count * geometry.stride > geometry.capacity) count /= 2;
    if (count < 2) count = 2;
    geometry.capacity = count * geometry.stride;
    slack = 0;
  }
  geometry.ring_offset = RingOffset(geometry);
  geometry.file_bytes = RoundUp(geometry.ring_offset + geometry.capacity + slack, kPage);
  return geometry;
}

RingKind Geometry::Kind() const {
  switch (mode) {
    case MEMTALLY_CHANNEL_SPSC:
      return RingKind::kSpsc;
    case MEMTALLY_CHANNEL_MPSC:
      return RingKind::kMpsc;
    case MEMTALLY_CHANNEL_BROADCAST:
      return RingKind::kBroadcast;
    default:
      return RingKind::kSlots;
  }
}

uint64_t Geometry::MaxMessageBytes() const {
  if (stride != 0) return stride - kSlotHeader;
  const uint64_t most = MaxPayload(capacity, alignment);
  return mode == MEMTALLY_CHANNEL_MPSC && most > kMostMpscPayload ? kMostMpscPayload : most;
}

std::string Geometry::Fault() const {
  if (mode < MEMTALLY_CHANNEL_SPSC || mode > MEMTALLY_CHANNEL_BROADCAST) return "its mode is none";
  if (alignment != 8 && alignment != 64) return "its alignment is neither 8 nor 64";
  const bool slots = mode == MEMTALLY_CHANNEL_SPMC || mode == MEMTALLY_CHANNEL_MPMC;
  if (capacity < 128 || capacity > kMostBytes) return "its ring has an impossible size";
  if (!slots && (!std::has_single_bit(capacity) || capacity < kLeastBytes)) return "its ring has an impossible size";
  if (slots && (stride < 64 || stride % 64 != 0 || capacity % stride != 0 || !std::has_single_bit(capacity / stride))) {
    return "its slots have an impossible size";
  }
  if (!slots && stride != 0) return "it has slots where there are none";
  if (mode == MEMTALLY_CHANNEL_MPSC) {
    if (!std::has_single_bit(descriptor_count)) return "it has an impossible number of descriptors";
  } else if (descriptor_count != 0) {
    return "it has descriptors where there are none";
  }
  if (ring_offset != RingOffset(*this)) return "its ring is in the wrong place";
  if (file_bytes != RoundUp(ring_offset + capacity + (slots ? 0 : 64), kPage)) return "it has the wrong size";
  return "";
}

void Segment::Format() const {
  memtally_channel_header* header = header_;
  header->version = MEMTALLY_CHANNEL_VERSION;
  header->header_bytes = sizeof(memtally_channel_header);
  header->mode = geometry_.mode;
  header->flags = geometry_.flags;
  header->alignment = geometry_.alignment;
  header->descriptor_count = geometry_.descriptor_count;
  header->capacity = geometry_.capacity;
  header->stride = geometry_.stride;
  header->ring_offset = geometry_.ring_offset;
  header->file_bytes = geometry_.file_bytes;
  const auto boot_id = base::BootId();
  memcpy(header->boot_id, boot_id.data(), sizeof(header->boot_id));
  header->created_realtime_ns = base::RealtimeNs();
  for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
    participant(slot)->claim = kNoClaim;
    participant(slot)->cursor = kNoCursor;
  }
  if (geometry_.stride != 0) SlotRing<>::Prepare(Slots());
  std::atomic_ref<uint64_t>(header->magic).store(MEMTALLY_CHANNEL_MAGIC, std::memory_order_release);
}

// ---- places

int Segment::Join(uint32_t role, Status* status, const std::function<void(int)>& ready) {
  if (inherited()) {
    *status = Status::Forked;
    return -1;
  }
  BuryTheDead();
  if (!LockSetup(true)) {
    *status = Status::Failed;
    return -1;
  }
  int place = -1;
  int of_role = 0;
  for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
    const uint32_t state = LoadState(participant(slot));
    if (state == MEMTALLY_CHANNEL_PRESENT && !Lives(slot)) Bury(slot);
    if (LoadState(participant(slot)) == MEMTALLY_CHANNEL_FREE) {
      if (place < 0) place = slot;
    } else if (LoadRole(participant(slot)) == role && state == MEMTALLY_CHANNEL_PRESENT &&
               LoadState(participant(slot)) == MEMTALLY_CHANNEL_PRESENT) {
      ++of_role;
    }
  }
  const bool may = of_role < Most(geometry_.mode, role) || role == MEMTALLY_CHANNEL_HANDLE;
  *status = may && place >= 0 ? Status::Ok : Status::Busy;
  if (*status == Status::Ok && !HoldLife(place)) *status = Status::Failed;
  if (*status == Status::Ok) {
    memtally_channel_participant* one = participant(place);
    std::atomic_ref<uint32_t>(one->role).store(role, std::memory_order_relaxed);
    one->pid = static_cast<uint32_t>(getpid());
    one->uid = static_cast<uint32_t>(geteuid());
    one->joined_time_ns = base::MonotonicNs();
    char comm[17] = {};
    prctl(PR_GET_NAME, comm);
    memcpy(one->comm, comm, sizeof(one->comm));
    HardwareAccess::Store(&one->claim, kNoClaim, std::memory_order_relaxed);
    HardwareAccess::Store(&one->cursor, kNoCursor, std::memory_order_relaxed);
    one->counts = {};
    StoreState(one, MEMTALLY_CHANNEL_PRESENT);
    if (ready) ready(place);
  }
  UnlockSetup();
  return *status == Status::Ok ? place : -1;
}

void Segment::Leave(int slot) {
  if (slot < 0 || inherited()) return;
  const bool locked = LockSetup(true);
  FoldCounts(slot);
  StoreState(participant(slot), MEMTALLY_CHANNEL_FREE);
  DropLife(slot);
  if (locked) UnlockSetup();
}

void Segment::FoldCounts(int slot) {
  memtally_channel_participant* one = participant(slot);
  const uint32_t role = LoadRole(one);
  if (role == MEMTALLY_CHANNEL_HANDLE) return;
  memtally_channel_counts* sum =
      role == MEMTALLY_CHANNEL_PRODUCER ? &header_->departed_producers : &header_->departed_consumers;
  const auto take = [](uint64_t* from) {
    return std::atomic_ref<uint64_t>(*from).exchange(0, std::memory_order_relaxed);
  };
  Add(&sum->messages, take(&one->counts.messages));
  Add(&sum->bytes, take(&one->counts.bytes));
  Add(&sum->waits, take(&one->counts.waits));
  Add(&sum->drops, take(&one->counts.drops) + take(&one->missed));
  Raise(&sum->high_water, take(&one->counts.high_water));
  Raise(&sum->last_time_ns, take(&one->counts.last_time_ns));
}

void Segment::Bury(int slot) {
  memtally_channel_participant* one = participant(slot);
  const uint32_t role = LoadRole(one);
  FoldCounts(slot);
  if (role == MEMTALLY_CHANNEL_CONSUMER) {
    HardwareAccess::Store(&one->cursor, kNoCursor, std::memory_order_release);
  }
  const bool claim_matters = role == MEMTALLY_CHANNEL_PRODUCER && geometry_.mode == MEMTALLY_CHANNEL_MPSC &&
                             !ClaimIsSettled<>(Mpsc(), HardwareAccess::Load(&one->claim, std::memory_order_acquire));
  if (!claim_matters) HardwareAccess::Store(&one->claim, kNoClaim, std::memory_order_relaxed);
  StoreState(one, claim_matters ? MEMTALLY_CHANNEL_DEAD : MEMTALLY_CHANNEL_FREE);
  if (role == MEMTALLY_CHANNEL_HANDLE) return;
  std::atomic_ref<uint32_t>(header_->last_dead_pid).store(one->pid, std::memory_order_relaxed);
  Increase(role == MEMTALLY_CHANNEL_PRODUCER ? &header_->dead_producers : &header_->dead_consumers);
  DataEvent().Wake();
  RoomEvent().Wake();
}

void Segment::FreeSettledPlaces() {
  if (geometry_.mode != MEMTALLY_CHANNEL_MPSC) return;
  for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
    memtally_channel_participant* one = participant(slot);
    if (LoadState(one) == MEMTALLY_CHANNEL_DEAD &&
        ClaimIsSettled<>(Mpsc(), HardwareAccess::Load(&one->claim, std::memory_order_acquire))) {
      HardwareAccess::Store(&one->claim, kNoClaim, std::memory_order_relaxed);
      StoreState(one, MEMTALLY_CHANNEL_FREE);
    }
  }
}

bool Segment::Anybody(uint32_t role) const {
  for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
    if (LoadState(participant(slot)) == MEMTALLY_CHANNEL_PRESENT && LoadRole(participant(slot)) == role) return true;
  }
  return false;
}

bool Segment::FillHole(MpscConsumer<>* consumer) {
  if (!shared() || !consumer->AtHole()) return false;
  BuryTheDead();
  if (!LockSetup(false)) return false;
  const uint64_t* claims[MEMTALLY_CHANNEL_PARTICIPANTS];
  for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) claims[slot] = Claim(slot);
  const int dead = consumer->FillHole(claims, MEMTALLY_CHANNEL_PARTICIPANTS, [&](int slot) {
    return LoadState(participant(slot)) == MEMTALLY_CHANNEL_PRESENT && Lives(slot);
  });
  if (dead >= 0) {
    std::atomic_ref<uint64_t>(header_->abandoned).fetch_add(1, std::memory_order_relaxed);
    FreeSettledPlaces();
  }
  UnlockSetup();
  return dead >= 0;
}

// ---- memory

SpscMemory Segment::Spsc() const {
  return {.bytes = reinterpret_cast<uint8_t*>(base_ + geometry_.ring_offset),
          .capacity = geometry_.capacity,
          .alignment = geometry_.alignment,
          .head = &header_->head,
          .taken = &header_->taken,
          .sleepers_possible = sleepers_possible()};
}

MpscMemory Segment::Mpsc() const {
  return {.bytes = reinterpret_cast<uint8_t*>(base_ + geometry_.ring_offset),
          .descriptors = reinterpret_cast<uint64_t*>(base_ + MEMTALLY_CHANNEL_DATA_OFFSET),
          .units = static_cast<uint32_t>(geometry_.capacity / geometry_.alignment),
          .unit_bytes = geometry_.alignment,
          .descriptor_count = geometry_.descriptor_count,
          .tail = &header_->tail,
          .head = &header_->head,
          .taken = &header_->taken,
          .sleepers_possible = sleepers_possible()};
}

SlotsMemory Segment::Slots() const {
  return {.slots = reinterpret_cast<uint8_t*>(base_ + geometry_.ring_offset),
          .freed = reinterpret_cast<uint64_t*>(base_ + MEMTALLY_CHANNEL_DATA_OFFSET),
          .count = geometry_.capacity / geometry_.stride,
          .stride = geometry_.stride,
          .enqueue = &header_->tail,
          .dequeue = &header_->dequeue,
          .one_producer = geometry_.mode == MEMTALLY_CHANNEL_SPMC,
          .sleepers_possible = sleepers_possible()};
}

BroadcastMemory Segment::Broadcast() const {
  return {.ring = Spsc(),
          .tail = &header_->tail,
          .cursors = reinterpret_cast<uint8_t*>(&participant(0)->cursor),
          .cursor_stride = sizeof(memtally_channel_participant),
          .cursor_count = MEMTALLY_CHANNEL_PARTICIPANTS,
          .overrun = (geometry_.flags & MEMTALLY_CHANNEL_OVERRUN) != 0};
}

}  // namespace memtally::channel
