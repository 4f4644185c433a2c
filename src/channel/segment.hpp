// SPDX-License-Identifier: Apache-2.0
//
// Segment: the memory of a channel and who takes part in it.  A transport is a Segment that says where the memory comes
// from and how one knows who lives.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include <memtally/abi/channel_format.h>
#include <memtally/channel/endpoint.hpp>
#include <memtally/channel/event.hpp>
#include <memtally/channel/options.hpp>
#include <memtally/channel/ring_broadcast.hpp>
#include <memtally/channel/ring_mpmc.hpp>
#include <memtally/channel/ring_mpsc.hpp>
#include <memtally/channel/ring_spsc.hpp>

namespace memtally::channel {

// What a channel is like; a private copy, since the shared one may change under our hands.
struct Geometry {
  uint32_t mode = 0;   // enum memtally_channel_mode
  uint32_t flags = 0;  // enum memtally_channel_flag
  uint32_t alignment = 8;
  uint32_t descriptor_count = 0;
  uint64_t capacity = 0;
  uint64_t stride = 0;
  uint64_t ring_offset = 0;
  uint64_t file_bytes = 0;

  // For options that were checked (channel_uri.hpp).
  static Geometry For(const ChannelOptions& options);
  RingKind Kind() const;
  uint64_t MaxMessageBytes() const;
  // What is wrong with it, in words; "" if nothing is.
  std::string Fault() const;
  bool operator==(const Geometry&) const = default;
};

class Segment {
 public:
  virtual ~Segment() = default;
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  const Geometry& geometry() const { return geometry_; }
  const ChannelOptions& options() const { return options_; }  // this handle's
  memtally_channel_header* header() const { return header_; }
  memtally_channel_participant* participant(int slot) const {
    return reinterpret_cast<memtally_channel_participant*>(base_ + MEMTALLY_CHANNEL_HEADER_BYTES) + slot;
  }
  std::byte* base() const { return base_; }
  bool sleepers_possible() const { return (geometry_.flags & MEMTALLY_CHANNEL_SLEEPERS) != 0; }
  bool metrics() const { return (geometry_.flags & MEMTALLY_CHANNEL_METRICS) != 0; }
  virtual bool shared() const = 0;
  // Whether this process inherited the segment by fork.
  bool inherited() const { return inherited_; }
  const std::atomic<bool>& inherited_flag() const { return inherited_; }

  // Takes a place; -1 with the reason.  `ready(slot)` runs before anybody else can join or leave.
  int Join(uint32_t role, Status* status, const std::function<void(int)>& ready = {});
  void Leave(int slot);
  // Finds out who died since the last time, and frees their places.  Cheap enough for ten times a second.
  virtual void BuryTheDead() {}
  // Whether there is a living participant with that role.
  bool Anybody(uint32_t role) const;
  // If the next message was claimed by a dead producer, fills it as aborted.  True if it did.
  bool FillHole(MpscConsumer<>* consumer);

  SpscMemory Spsc() const;
  MpscMemory Mpsc() const;
  SlotsMemory Slots() const;
  BroadcastMemory Broadcast() const;
  uint64_t* Claim(int slot) const { return &participant(slot)->claim; }

  Event DataEvent() const { return {&header_->data_event, shared()}; }
  Event RoomEvent() const { return {&header_->room_event, shared()}; }

 protected:
  std::atomic<bool> inherited_ = false;

  Segment(const Geometry& geometry, const ChannelOptions& options) : geometry_(geometry), options_(options) {}
  void SetBase(std::byte* base) {
    base_ = base;
    header_ = reinterpret_cast<memtally_channel_header*>(base);
  }
  // Writes header and participants of a new channel into zeroed memory; magic last.
  void Format() const;

  // Held while places are given and taken: false if it could not be had.
  virtual bool LockSetup(bool wait) = 0;
  virtual void UnlockSetup() = 0;
  // Makes the place's owner known as alive as long as this process lives, and not any longer.
  virtual bool HoldLife(int /*slot*/) { return true; }
  virtual void DropLife(int /*slot*/) {}
  virtual bool Lives(int /*slot*/) const { return true; }
  // REQUIRES: setup lock.
  void Bury(int slot);
  void FreeSettledPlaces();

 private:
  void FoldCounts(int slot);

  Geometry geometry_;
  ChannelOptions options_;
  std::byte* base_ = nullptr;
  memtally_channel_header* header_ = nullptr;
};

// ---- transports

// Private memory, with huge pages and prefaulted if the options ask for it.  Throws ChannelError.
std::shared_ptr<Segment> MakeMemorySegment(const ChannelOptions& options);

// The channel `name` of the machine, found or made.  Throws ChannelError.
std::shared_ptr<Segment> OpenIpcSegment(const std::string& name, const ChannelOptions& options);

}  // namespace memtally::channel
