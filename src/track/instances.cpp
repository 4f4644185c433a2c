// SPDX-License-Identifier: Apache-2.0
//
// Notes of owner "memtally": type 1 is a gate of track.h, type 2 a copy of the library.  Their text is the distance
// from itself to the thing.
#include "track/instances.hpp"

#include <link.h>

#include <cstring>

namespace memtally::track {

// What a copy of the library shows to the others.  Its layout is fixed: copies of different versions meet here.
struct Instance {
  uint64_t claimed;  // nonzero once this copy serves
  const memtally_api* api;
};

extern "C" {
[[gnu::visibility("hidden")]] extern Instance memtally_instance_v1;
[[gnu::used]] Instance memtally_instance_v1{};
}

__asm__(
    ".pushsection .note.memtally,\"a\",%note\n"
    ".balign 4\n"
    ".long 9\n"
    ".long 8\n"
    ".long 2\n"
    ".asciz \"memtally\"\n"
    ".balign 4\n"
    "771: .quad memtally_instance_v1 - 771b\n"
    ".popsection\n");

namespace {

constexpr char kOwner[] = "memtally";
enum NoteType : uint32_t { kGate = 1, kLibrary = 2 };

// Whether [address, address + bytes) lies in a writable segment of the object.
bool IsWritable(const dl_phdr_info& object, uintptr_t address, size_t bytes) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object.dlpi_phdr[i];
    const uintptr_t begin = object.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && (segment.p_flags & PF_W) != 0 && address >= begin &&
        address + bytes <= begin + segment.p_memsz) {
      return true;
    }
  }
  return false;
}

// Calls visit(type, address) for each of our notes in an object.
template <typename Visit>
void VisitNotes(const dl_phdr_info& object, Visit&& visit) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const size_t align = segment.p_align == 8 ? 8 : 4;
    const uint8_t* at = reinterpret_cast<const uint8_t*>(object.dlpi_addr + segment.p_vaddr);
    const uint8_t* const end = at + segment.p_memsz;
    while (static_cast<size_t>(end - at) >= sizeof(ElfW(Nhdr))) {
      ElfW(Nhdr) note;
      memcpy(&note, at, sizeof(note));
      const size_t name_bytes = (size_t{note.n_namesz} + align - 1) & ~(align - 1);
      const size_t text_bytes = (size_t{note.n_descsz} + align - 1) & ~(align - 1);
      const uint8_t* const name = at + sizeof(note);
      if (name_bytes > static_cast<size_t>(end - name) || text_bytes > static_cast<size_t>(end - name) - name_bytes) {
        break;
      }
      const uint8_t* const text = name + name_bytes;
      int64_t distance = 0;
      if (note.n_namesz == sizeof(kOwner) && memcmp(name, kOwner, sizeof(kOwner)) == 0 &&
          note.n_descsz == sizeof(distance)) {
        memcpy(&distance, text, sizeof(distance));
        visit(uint32_t{note.n_type}, reinterpret_cast<uintptr_t>(text) + static_cast<uintptr_t>(distance));
      }
      at = text + text_bytes;
    }
  }
}

int FindClaimed(dl_phdr_info* object, size_t, void* result) {
  VisitNotes(*object, [&](uint32_t type, uintptr_t address) {
    if (type != kLibrary || !IsWritable(*object, address, sizeof(Instance))) return;
    auto* instance = reinterpret_cast<Instance*>(address);
    if (__atomic_load_n(&instance->claimed, __ATOMIC_ACQUIRE) != 0) *static_cast<Instance**>(result) = instance;
  });
  return *static_cast<Instance**>(result) != nullptr ? 1 : 0;
}

int OpenGatesOf(dl_phdr_info* object, size_t, void* api) {
  VisitNotes(*object, [&](uint32_t type, uintptr_t address) {
    if (type != kGate || !IsWritable(*object, address, sizeof(memtally_gate))) return;
    auto* gate = reinterpret_cast<memtally_gate*>(address);
    const memtally_api* closed = __atomic_load_n(&gate->api, __ATOMIC_ACQUIRE);
    if (closed != nullptr && closed != MEMTALLY_ABSENT) return;
    __atomic_compare_exchange_n(&gate->api, &closed, static_cast<const memtally_api*>(api), false, __ATOMIC_ACQ_REL,
                                __ATOMIC_ACQUIRE);
  });
  return 0;
}

}  // namespace

const memtally_api* PrimaryApi(const memtally_api* own) {
  if (__atomic_load_n(&memtally_instance_v1.claimed, __ATOMIC_ACQUIRE) != 0) return memtally_instance_v1.api;
  Instance* claimed = nullptr;
  dl_iterate_phdr(FindClaimed, &claimed);
  const memtally_api* primary = claimed != nullptr ? claimed->api : own;
  memtally_instance_v1.api = primary;
  __atomic_store_n(&memtally_instance_v1.claimed, uint64_t{1}, __ATOMIC_RELEASE);
  return primary;
}

void OpenGates(const memtally_api* api) { dl_iterate_phdr(OpenGatesOf, const_cast<memtally_api*>(api)); }

}  // namespace memtally::track
