// SPDX-License-Identifier: Apache-2.0
#include "track/hooks/ttmetal/devices.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "class_return.hpp"
#include "track/hooks/ttmetal/functions.hpp"
#include "track/hooks/ttmetal/locks.hpp"

namespace memtally::track::ttmetal {

namespace {

constexpr uint32_t kMaxChips = 256;

struct Chip {
  int32_t number;  // TT-Metal's, local to the process
  memtally_device handle;
  uint32_t meshes;  // open MeshDevices that have it
};

// Under the lock, but `chips[i].handle`, which may be read at any time.
Chip chips[kMaxChips];
uint32_t chip_count;
Device* devices;
// Changes when a device is closed: what threads remember is then too old.
std::atomic<uint32_t> generation{1};

struct Memory {
  const void* object;
  const Device* device;
  uint32_t generation;
};
__thread Memory last_used;

// The table that objects of the class point to: behind the two words in front of a virtual table's functions.
const void* ObjectTable(Function table) {
  auto* start = static_cast<void* const*>(Real(table));
  return start == nullptr ? nullptr : start + 2;
}

const void* TableOf(const void* object) { return *static_cast<const void* const*>(object); }

bool IsMesh(const void* object) { return TableOf(object) == ObjectTable(Function::kMeshTable); }

// A std::vector<int>, as it is returned.
struct IntVector {
  int32_t* begin;
  int32_t* end;
  int32_t* room;
};

// The number of a Device.  IDevice::id() is virtual and, in Device, inline: it is at the place in the table where
// MeshDevice's has MeshDevice::id(), which is exported.  Returns -1 if it cannot be told.
int32_t NumberOfDevice(const void* object) {
  auto* mesh_table = static_cast<void* const*>(ObjectTable(Function::kMeshTable));
  const void* mesh_id = Real(Function::kMeshId);
  if (mesh_table == nullptr || mesh_id == nullptr) return -1;
  constexpr unsigned kSearched = 64;
  for (unsigned i = 0; i < kSearched; ++i) {
    if (mesh_table[i] != mesh_id) continue;
    auto* function = static_cast<void* const*>(TableOf(object))[i];
    return reinterpret_cast<int32_t (*)(const void*)>(function)(object);
  }
  return -1;
}

// Writes the chips' numbers to `numbers`; returns how many.
uint32_t NumbersOf(const void* object, int32_t (&numbers)[kMaxChips]) {
  if (!IsMesh(object)) {
    numbers[0] = NumberOfDevice(object);
    return numbers[0] < 0 ? 0 : 1;
  }
  alignas(16) char room[kClassRoom] = {};
  void* function = Real(Function::kMeshChips);
  if (function == nullptr) return 0;
  if (!CallForClass(function, object, room)) {
    Disown(Function::kMeshChips);
    return 0;
  }
  IntVector vector{};
  memcpy(&vector, room, sizeof(vector));
  uint32_t count = 0;
  for (const int32_t* at = vector.begin; at != vector.end && count < kMaxChips; ++at) numbers[count++] = *at;
  if (vector.begin != nullptr) RealAs<void(void*)>(Function::kOperatorDelete)(vector.begin);
  return count;
}

// A std::unordered_map<int, uint64_t> as the C++ library lays it out.
struct MapNode {
  const MapNode* next;
  int32_t key;
  uint64_t value;
};
struct IntMap {
  void* buckets;
  size_t bucket_count;
  const MapNode* first;
  size_t count;
};

// The unique id of a chip, or 0.
uint64_t UniqueId(const void* object, int32_t number) {
  auto* context_id = RealAs<int32_t(const void*)>(Function::kContextId);
  auto* exists = RealAs<bool(int32_t)>(Function::kContextExists);
  auto* context = RealAs<const void*(int32_t)>(Function::kContext);
  auto* cluster = RealAs<const void*(const void*)>(Function::kCluster);
  auto* description = RealAs<const void*(const void*)>(Function::kClusterDescription);
  auto* ids = RealAs<const IntMap*(const void*)>(Function::kChipIds);
  auto* authentic = RealAs<bool(const void*)>(Function::kChipIdsAuthentic);
  if (!context_id || !exists || !context || !cluster || !description || !ids) return 0;
  const int32_t id = context_id(object);
  if (!exists(id)) return 0;
  const void* found = description(cluster(context(id)));
  if (found == nullptr || (authentic != nullptr && !authentic(found))) return 0;
  const IntMap* map = ids(found);
  size_t left = map->count;
  for (const MapNode* node = map->first; node != nullptr && left != 0; node = node->next, --left) {
    if (node->key == number) return node->value;
  }
  return 0;
}

// tt::ARCH
const char* ArchitectureOf(const void* object) {
  auto* architecture = RealAs<uint32_t(const void*)>(Function::kMeshArchitecture);
  if (architecture == nullptr || !IsMesh(object)) return "";
  switch (architecture(object) & 0xff) {
    case 1:
      return "grayskull";
    case 2:
      return "wormhole_b0";
    case 3:
      return "blackhole";
    case 4:
      return "quasar";
    default:
      return "";
  }
}

uint64_t PhysicalBytes(const void* object) {
  auto* channels = RealAs<int32_t(const void*)>(Function::kMeshDramChannels);
  auto* size = RealAs<uint32_t(const void*)>(Function::kMeshDramChannelSize);
  if (channels == nullptr || size == nullptr || !IsMesh(object)) return 0;
  const int32_t count = channels(object);
  return count < 0 ? 0 : uint64_t(count) * size(object);
}

// Says what the allocator manages on each chip.
void RegisterKinds(memtally_device handle, const void* allocator) {
  auto* banks = RealAs<uint32_t(const void*, const BufferType*)>(Function::kBanks);
  auto* size = RealAs<uint64_t(const void*, const BufferType*)>(Function::kBankSize);
  if (allocator == nullptr || banks == nullptr || size == nullptr) return;
  for (const BufferType type : {BufferType::kDram, BufferType::kL1, BufferType::kL1Small, BufferType::kTrace}) {
    const uint32_t count = banks(allocator, &type);
    const uint64_t bytes = size(allocator, &type);
    if (count != 0 && bytes != 0) memtally_register_kind(handle, KindOf(type), count * bytes, count, bytes);
  }
}

// All kinds are rounded to the strictest alignment among them.
uint64_t AlignmentOf(const void* allocator) {
  auto* get = RealAs<uint32_t(const void*, BufferType)>(Function::kAlignment);
  uint32_t alignment = 1;
  if (allocator == nullptr || get == nullptr) return alignment;
  for (const BufferType type : {BufferType::kDram, BufferType::kL1, BufferType::kL1Small, BufferType::kTrace}) {
    const uint32_t of_type = get(allocator, type);
    if (of_type > alignment && (of_type & (of_type - 1)) == 0) alignment = of_type;
  }
  return alignment;
}

uint32_t ChipIndex(int32_t number) {
  for (uint32_t i = 0; i < chip_count; ++i) {
    if (chips[i].number == number) return i;
  }
  if (chip_count == kMaxChips) return kMaxChips;
  chips[chip_count].number = number;
  return chip_count++;
}

// Makes the chip known to memtally, or known anew: it may have been closed.
void RegisterChip(Chip& chip, const void* object) {
  memtally_device_info info{};
  info.size = sizeof(info);
  const uint64_t unique_id = UniqueId(object, chip.number);
  if (unique_id != 0) {
    for (unsigned i = 0; i < sizeof(unique_id); ++i) info.id[i] = uint8_t(unique_id >> (8 * i));
    info.id_scheme = MEMTALLY_ID_CHIP;
  }
  info.local_index = chip.number;
  info.vendor = "tenstorrent";
  info.architecture = ArchitectureOf(object);
  info.physical_bytes = PhysicalBytes(object);
  info.reporter = "tt-metal hook";
  const memtally_device handle = memtally_register_device(&info);
  __atomic_store_n(&chip.handle, handle, __ATOMIC_RELAXED);
}

Device* Create(const void* object, const void* allocator) {
  int32_t numbers[kMaxChips];
  const uint32_t count = NumbersOf(object, numbers);
  auto* device = static_cast<Device*>(calloc(1, sizeof(Device)));
  auto* indices = static_cast<uint32_t*>(calloc(count + 1, sizeof(uint32_t)));
  if (count == 0 || device == nullptr || indices == nullptr) {
    free(device);
    free(indices);
    return nullptr;
  }
  const bool mesh = IsMesh(object);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t index = ChipIndex(numbers[i]);
    if (index == kMaxChips) break;
    Chip& chip = chips[index];
    device->part = device->part || (mesh && chip.meshes != 0);
    if (mesh ? chip.meshes++ == 0 : chip.handle == 0) RegisterChip(chip, object);
    // A part of a mesh shares the memory of the whole, whose capacities stand.
    if (chip.meshes <= 1) RegisterKinds(chip.handle, allocator);
    indices[device->chip_count++] = index;
  }
  device->chips = indices;
  device->object = object;
  device->allocator = allocator;
  device->alignment = AlignmentOf(allocator);
  device->next = devices;
  devices = device;
  return device;
}

Device* FindOpen(const void* object) {
  Device* device = devices;
  while (device != nullptr && device->object != object) device = device->next;
  return device;
}

}  // namespace

bool IsDeviceTable(const void* table) {
  return table != nullptr &&
         (table == ObjectTable(Function::kMeshTable) || table == ObjectTable(Function::kDeviceTable));
}

const Device* FindDevice(const void* object, const void* buffer) {
  const uint32_t now = generation.load(std::memory_order_acquire);
  if (__builtin_expect(last_used.object == object && last_used.generation == now, 1)) {
    if (buffer == nullptr || __atomic_load_n(&last_used.device->allocator, __ATOMIC_ACQUIRE) != nullptr)
      return last_used.device;
  }
  const void* allocator = buffer != nullptr ? AllocatorOf(buffer) : nullptr;
  const Lock lock(LockName::kDevices);
  Device* device = FindOpen(object);
  if (device == nullptr && IsDeviceTable(TableOf(object))) device = Create(object, allocator);
  if (device == nullptr) return nullptr;
  if (device->allocator == nullptr && allocator != nullptr) {
    device->alignment = AlignmentOf(allocator);
    for (uint32_t i = 0; i < device->chip_count; ++i) RegisterKinds(HandleOf(device->chips[i]), allocator);
    __atomic_store_n(&device->allocator, allocator, __ATOMIC_RELEASE);
  }
  last_used = {object, device, now};
  return device;
}

memtally_device HandleOf(uint32_t chip) { return __atomic_load_n(&chips[chip].handle, __ATOMIC_RELAXED); }

const Device* FindOpenDevice(const void* object) {
  const Lock lock(LockName::kDevices);
  return FindOpen(object);
}

uint32_t AfterClose(const void* object, memtally_device* closed, uint32_t room) {
  const Lock lock(LockName::kDevices);
  Device* device = FindOpen(object);
  if (device == nullptr) return 0;
  uint32_t count = 0;
  for (uint32_t i = 0; i < device->chip_count; ++i) {
    Chip& chip = chips[device->chips[i]];
    if (chip.meshes == 0 || --chip.meshes != 0) continue;
    if (count < room) closed[count++] = chip.handle;
  }
  device->object = nullptr;
  generation.fetch_add(1, std::memory_order_acq_rel);
  return count;
}

}  // namespace memtally::track::ttmetal
