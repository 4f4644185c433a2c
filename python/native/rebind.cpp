// SPDX-License-Identifier: Apache-2.0
//
// Puts functions of a hook in front of those that loaded libraries call already, as preloading would have done.
//
// A call between libraries goes through a word in the caller's global offset table; the relocations name the function
// that belongs there.  Words of functions that the hook has are set to the hook's.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "python_api.hpp"

namespace memtally::python {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kJumpSlot = R_X86_64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
constexpr uint32_t kJumpSlot = R_AARCH64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_AARCH64_GLOB_DAT;
#else
#error "relocations of this processor are not known"
#endif

struct Rebinding {
  void* hook;
  uintptr_t hook_begin = 0;  // its own table stays
  const char* prefix;        // of the symbols
  uint32_t words = 0;
  bool refused = false;
};

// The dynamic section's addresses are absolute in glibc, except where the loader leaves them relative.
uintptr_t Absolute(const dl_phdr_info& object, uintptr_t address) {
  return address < object.dlpi_addr ? object.dlpi_addr + address : address;
}

bool Write(uintptr_t* word, uintptr_t value) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(word) & ~(page - 1);
  // It may be read-only since the library was loaded. It stays writable: another thread may be doing the same.
  if (mprotect(reinterpret_cast<void*>(begin), page, PROT_READ | PROT_WRITE) != 0) return false;
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
  return true;
}

void RebindTable(const dl_phdr_info& object, const ElfW(Rela) * table, size_t bytes, const ElfW(Sym) * symbols,
                 const char* strings, Rebinding* rebinding) {
  for (size_t i = 0; i < bytes / sizeof(*table); ++i) {
    const uint32_t type = static_cast<uint32_t>(ELF64_R_TYPE(table[i].r_info));
    if (type != kJumpSlot && type != kGlobalData) continue;
    const char* name = strings + symbols[ELF64_R_SYM(table[i].r_info)].st_name;
    if (strncmp(name, rebinding->prefix, strlen(rebinding->prefix)) != 0) continue;
    void* target = dlsym(rebinding->hook, name);
    Dl_info info;
    if (target == nullptr || dladdr(target, &info) == 0) continue;
    if (reinterpret_cast<uintptr_t>(info.dli_fbase) != rebinding->hook_begin) continue;
    auto* word = reinterpret_cast<uintptr_t*>(object.dlpi_addr + table[i].r_offset);
    if (*word == reinterpret_cast<uintptr_t>(target)) continue;
    if (Write(word, reinterpret_cast<uintptr_t>(target))) {
      ++rebinding->words;
    } else {
      rebinding->refused = true;
    }
  }
}

int RebindObject(dl_phdr_info* object, size_t, void* context) {
  auto* rebinding = static_cast<Rebinding*>(context);
  if (object->dlpi_addr == rebinding->hook_begin) return 0;
  const ElfW(Dyn)* dynamic = nullptr;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    if (object->dlpi_phdr[i].p_type == PT_DYNAMIC) {
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    }
  }
  if (dynamic == nullptr) return 0;
  uintptr_t symbols = 0, strings = 0, jumps = 0, relocations = 0;
  size_t jump_bytes = 0, relocation_bytes = 0;
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    const uintptr_t value = dynamic->d_un.d_ptr;
    switch (dynamic->d_tag) {
      case DT_SYMTAB:
        symbols = Absolute(*object, value);
        break;
      case DT_STRTAB:
        strings = Absolute(*object, value);
        break;
      case DT_JMPREL:
        jumps = Absolute(*object, value);
        break;
      case DT_PLTRELSZ:
        jump_bytes = dynamic->d_un.d_val;
        break;
      case DT_RELA:
        relocations = Absolute(*object, value);
        break;
      case DT_RELASZ:
        relocation_bytes = dynamic->d_un.d_val;
        break;
      default:
        break;
    }
  }
  if (symbols == 0 || strings == 0) return 0;
  const auto* symbol_table = reinterpret_cast<const ElfW(Sym)*>(symbols);
  const auto* names = reinterpret_cast<const char*>(strings);
  if (jumps != 0) {
    RebindTable(*object, reinterpret_cast<const ElfW(Rela)*>(jumps), jump_bytes, symbol_table, names, rebinding);
  }
  if (relocations != 0) {
    RebindTable(*object, reinterpret_cast<const ElfW(Rela)*>(relocations), relocation_bytes, symbol_table, names,
                rebinding);
  }
  return 0;
}

// is_loaded(part of a library's name) -> path of the first loaded library that has it, or None
PyObject* IsLoaded(PyObject*, PyObject* arguments) {
  struct Search {
    const char* part;
    std::string found;
  } search{};
  if (PyArg_ParseTuple(arguments, "s", &search.part) == 0) return nullptr;
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* context) {
        auto* wanted = static_cast<Search*>(context);
        if (object->dlpi_name == nullptr || strstr(object->dlpi_name, wanted->part) == nullptr) return 0;
        wanted->found = object->dlpi_name;
        return 1;
      },
      &search);
  if (search.found.empty()) Py_RETURN_NONE;
  return PyUnicode_DecodeFSDefault(search.found.c_str());
}

// load_hook(path): in front of what is loaded later.
PyObject* LoadHook(PyObject*, PyObject* arguments) {
  const char* path = nullptr;
  if (PyArg_ParseTuple(arguments, "s", &path) == 0) return nullptr;
  if (dlopen(path, RTLD_NOW | RTLD_GLOBAL) == nullptr) return PyErr_Format(PyExc_ImportError, "%s", dlerror());
  Py_RETURN_NONE;
}

// rebind(path of the loaded hook, prefix of symbols) -> how many words were set
PyObject* Rebind(PyObject*, PyObject* arguments) {
  const char* path = nullptr;
  Rebinding rebinding{};
  if (PyArg_ParseTuple(arguments, "ss", &path, &rebinding.prefix) == 0) return nullptr;
  rebinding.hook = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  link_map* map = nullptr;
  if (rebinding.hook == nullptr || dlinfo(rebinding.hook, RTLD_DI_LINKMAP, &map) != 0) {
    return PyErr_Format(PyExc_ImportError, "%s is not loaded", path);
  }
  rebinding.hook_begin = map->l_addr;
  dl_iterate_phdr(RebindObject, &rebinding);
  dlclose(rebinding.hook);
  if (rebinding.refused) {
    return PyErr_Format(
        PyExc_RuntimeError,
        "the system does not let calls between loaded libraries be changed: import memtally.ttnn before "
        "ttnn, or use `memtally run`");
  }
  return PyLong_FromUnsignedLong(rebinding.words);
}

PyMethodDef functions[] = {
    {"is_loaded", IsLoaded, METH_VARARGS, nullptr},
    {"load_hook", LoadHook, METH_VARARGS, nullptr},
    {"rebind", Rebind, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int AddRebind(PyObject* module) { return PyModule_AddFunctions(module, functions); }

}  // namespace memtally::python
