// SPDX-License-Identifier: Apache-2.0
#include "track/tag_table.hpp"

#include <cstring>
#include <new>

#include "ledger/writer/pages.hpp"

namespace memtally::track {

namespace {

constexpr size_t kFirstPlaces = 512;

// FNV-1a, 32 bits (the constants are those of its authors).
uint32_t HashName(const char* name, size_t bytes) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<uint8_t>(name[i])) * 16777619u;
  return hash;
}

size_t FirstPlace(uint32_t parent, uint32_t hash, size_t mask) {
  return ((uint64_t{hash} + (uint64_t{parent} << 32)) * 0x9e3779b97f4a7c15u >> 32) & mask;
}

}  // namespace

uint32_t TagTable::FindIn(const Places* places, const writer::LedgerWriter& ledger, uint32_t parent, uint32_t hash,
                          const char* name, size_t name_bytes) {
  if (places == nullptr) return 0;
  for (size_t i = FirstPlace(parent, hash, places->mask);; i = (i + 1) & places->mask) {
    const uint32_t number = places->tag[i].load(std::memory_order_acquire);
    if (number == 0) return 0;
    const memtally_tag& tag = *ledger.Tag(number);
    if (tag.name_hash != hash || tag.parent != parent || tag.name_bytes != name_bytes) continue;
    const size_t kept = name_bytes < sizeof(tag.name) - 1 ? name_bytes : sizeof(tag.name) - 1;
    if (memcmp(tag.name, name, kept) == 0) return number;
  }
}

void TagTable::Put(Places* places, const memtally_tag& tag, uint32_t number) {
  size_t i = FirstPlace(tag.parent, tag.name_hash, places->mask);
  while (places->tag[i].load(std::memory_order_relaxed) != 0) i = (i + 1) & places->mask;
  places->tag[i].store(number, std::memory_order_release);
}

bool TagTable::Grow(const writer::LedgerWriter& ledger) {
  const Places* old = places_.load(std::memory_order_relaxed);
  const size_t count = old == nullptr ? kFirstPlaces : 2 * (old->mask + 1);
  void* memory = writer::MapPages(sizeof(Places) + sizeof(std::atomic<uint32_t>) * count);
  if (memory == nullptr) return false;
  Places* bigger = new (memory) Places;
  bigger->mask = count - 1;
  for (size_t i = 0; old != nullptr && i <= old->mask; ++i) {
    const uint32_t number = old->tag[i].load(std::memory_order_relaxed);
    if (number != 0) Put(bigger, *ledger.Tag(number), number);
  }
  places_.store(bigger, std::memory_order_release);
  return true;
}

uint32_t TagTable::Intern(writer::LedgerWriter& ledger, writer::FutexLock& registry_lock, uint32_t parent,
                          const char* name) {
  const size_t name_bytes = strlen(name);
  const uint32_t hash = HashName(name, name_bytes);
  uint32_t number = FindIn(places_.load(std::memory_order_acquire), ledger, parent, hash, name, name_bytes);
  if (number != 0) return number;

  const writer::RegistryGuard guard(registry_lock);
  if (guard.held()) {
    Places* places = places_.load(std::memory_order_acquire);
    number = FindIn(places, ledger, parent, hash, name, name_bytes);
    if (number != 0) return number;
    const bool crowded = places == nullptr || 2 * (tags_ + 1) > places->mask;
    if (!crowded || Grow(ledger)) {
      number = ledger.AddTag(guard, parent, hash, name, name_bytes);
      if (number != MEMTALLY_NONE) {
        Put(places_.load(std::memory_order_relaxed), *ledger.Tag(number), number);
        ++tags_;
        return number;
      }
    }
  }
  ledger.Count(&memtally_ledger_header::lost_tags);
  return kOtherTag;
}

}  // namespace memtally::track
