// SPDX-License-Identifier: Apache-2.0
#include "track/hooks/ttmetal/part_buffers.hpp"

#include <cstdlib>

#include <memtally/track.h>

#include "track/hooks/ttmetal/locks.hpp"

namespace memtally::track::ttmetal {

namespace {

struct PartBuffer {
  PartBuffer* next;
  const Device* device;
  uint32_t kind;
  uint64_t id;
};

constexpr uint32_t kBuckets = 1024;

PartBuffer* buckets[kBuckets];

PartBuffer** BucketOf(uint64_t id) { return &buckets[(id ^ (id >> 10)) % kBuckets]; }

}  // namespace

void AddPartBuffer(const Device* device, uint32_t kind, uint64_t id) {
  auto* buffer = static_cast<PartBuffer*>(malloc(sizeof(PartBuffer)));
  if (buffer == nullptr) return;
  const Lock lock(LockName::kPartBuffers);
  PartBuffer** bucket = BucketOf(id);
  *buffer = {*bucket, device, kind, id};
  *bucket = buffer;
}

void RemovePartBuffer(const Device* device, uint32_t kind, uint64_t id) {
  const Lock lock(LockName::kPartBuffers);
  for (PartBuffer** at = BucketOf(id); *at != nullptr; at = &(*at)->next) {
    PartBuffer* buffer = *at;
    if (buffer->device != device || buffer->kind != kind || buffer->id != id) continue;
    *at = buffer->next;
    free(buffer);
    break;
  }
}

void FreePartBuffers(const Device* device) {
  const Lock lock(LockName::kPartBuffers);
  for (PartBuffer*& bucket : buckets) {
    for (PartBuffer** at = &bucket; *at != nullptr;) {
      PartBuffer* buffer = *at;
      if (buffer->device != device) {
        at = &buffer->next;
        continue;
      }
      *at = buffer->next;
      for (uint32_t i = 0; i < device->chip_count; ++i) {
        memtally_free(HandleOf(device->chips[i]), buffer->kind, buffer->id);
      }
      free(buffer);
    }
  }
}

}  // namespace memtally::track::ttmetal
