// SPDX-License-Identifier: Apache-2.0
//
// The calls of <memtally/track.h>, and how the tracker comes into a process that was started without it.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include <memtally/track.h>

#include "generation.hpp"
#include "python_api.hpp"
#include "reading_lock.hpp"
#include "tag.hpp"

namespace memtally::python {
namespace {

std::atomic<uint64_t> forks{0};

void BeforeFork() { ReadingLock().lock(); }
void AfterFork() { ReadingLock().unlock(); }
void InChild() {
  forks.fetch_add(1, std::memory_order_relaxed);
  ReadingLock().unlock();
}

// A number of bytes, an address or an id.
bool ToNumber(PyObject* object, const char* what, uint64_t* number) {
  *number = PyLong_AsUnsignedLongLong(object);
  if (*number != UINT64_MAX || PyErr_Occurred() == nullptr) return true;
  if (PyErr_ExceptionMatches(PyExc_OverflowError) != 0) {
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "%s has to be between 0 and 2**64 - 1, not %R", what, object);
  } else {
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "%s has to be an integer, not %R", what, object);
  }
  return false;
}

bool ToNumber32(PyObject* object, const char* what, uint32_t* number) {
  uint64_t wide = 0;
  if (!ToNumber(object, what, &wide)) return false;
  if (wide > UINT32_MAX) {
    PyErr_Format(PyExc_ValueError, "%s has to be below 2**32, not %R", what, object);
    return false;
  }
  *number = static_cast<uint32_t>(wide);
  return true;
}

using GetApi = const memtally_api* (*)(uint32_t version);

// The tracker that is in the process already, by the ways in which it is found.
GetApi FindTracker() {
  auto get = reinterpret_cast<GetApi>(dlsym(RTLD_DEFAULT, "memtally_get_api"));
  if (get == nullptr) {
    void* library = dlopen("libmemtally.so.0", RTLD_LAZY | RTLD_NOLOAD);
    if (library != nullptr) get = reinterpret_cast<GetApi>(dlsym(library, "memtally_get_api"));
  }
  return get;
}

// track(library) -> (active, was there before, path of the library that is used)
PyObject* Track(PyObject*, PyObject* arguments) {
  const char* path = nullptr;
  if (PyArg_ParseTuple(arguments, "s", &path) == 0) return nullptr;
  GetApi get = FindTracker();
  const bool was_there = get != nullptr;
  if (get == nullptr) {
    void* library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) {
      PyErr_Format(PyExc_ImportError,
                   "memtally's tracker cannot be loaded: %s. Is the wheel for this machine? "
                   "`pip install --force-reinstall memtally` puts it back.",
                   dlerror());
      return nullptr;
    }
    get = reinterpret_cast<GetApi>(dlsym(library, "memtally_get_api"));
  }
  if (get == nullptr) {
    PyErr_Format(PyExc_ImportError, "%s is no memtally library", path);
    return nullptr;
  }
  Dl_info info;
  const char* found = dladdr(reinterpret_cast<void*>(get), &info) != 0 ? info.dli_fname : path;
  // A gate that found nothing earlier is opened by the library as it is loaded, but not by one that came before.
  if (get(MEMTALLY_API_VERSION) != nullptr && memtally_open() == nullptr) {
    __atomic_store_n(&memtally_gate_v1.api, get(MEMTALLY_API_VERSION), __ATOMIC_RELEASE);
  }
  return Py_BuildValue("OOs", memtally_open() != nullptr ? Py_True : Py_False, was_there ? Py_True : Py_False, found);
}

PyObject* IsTracked(PyObject*, PyObject*) { return PyBool_FromLong(memtally_open() != nullptr); }

PyObject* LedgerPath(PyObject*, PyObject*) {
  const char* path = memtally_ledger_path();
  return PyUnicode_DecodeFSDefault(path == nullptr ? "" : path);
}

// register_device(id, scheme, local_index, pci_address or None, parent, physical_bytes, vendor, architecture, reporter)
PyObject* RegisterDevice(PyObject*, PyObject* arguments) {
  memtally_device_info info{};
  info.size = sizeof(info);
  const char* id = nullptr;
  Py_ssize_t id_bytes = 0;
  unsigned long long physical_bytes = 0;
  PyObject* pci_address = nullptr;
  if (PyArg_ParseTuple(arguments, "y#IiOIKsss", &id, &id_bytes, &info.id_scheme, &info.local_index, &pci_address,
                       &info.parent, &physical_bytes, &info.vendor, &info.architecture, &info.reporter) == 0) {
    return nullptr;
  }
  info.physical_bytes = physical_bytes;
  memcpy(info.id, id,
         static_cast<size_t>(id_bytes) < sizeof(info.id) ? static_cast<size_t>(id_bytes) : sizeof(info.id));
  if (pci_address != Py_None) {
    info.pci_known = 1;
    if (!ToNumber32(pci_address, "pci_address", &info.pci_address)) return nullptr;
  }
  return PyLong_FromUnsignedLong(memtally_register_device(&info));
}

// register_kind(device, kind, capacity_bytes, banks, capacity_bytes_per_bank)
PyObject* RegisterKind(PyObject*, PyObject* arguments) {
  unsigned int device = 0, kind = 0, banks = 0;
  unsigned long long capacity = 0, per_bank = 0;
  if (PyArg_ParseTuple(arguments, "IIKIK", &device, &kind, &capacity, &banks, &per_bank) == 0) return nullptr;
  memtally_register_kind(device, kind, capacity, banks, per_bank);
  Py_RETURN_NONE;
}

PyObject* DefineKind(PyObject*, PyObject* arguments) {
  const char* name = nullptr;
  unsigned int memory = 0, inside = 0, flags = 0;
  if (PyArg_ParseTuple(arguments, "sIII", &name, &memory, &inside, &flags) == 0) return nullptr;
  return PyLong_FromUnsignedLong(memtally_define_kind(name, memory, inside, flags));
}

// alloc(device, kind, id, address, bytes_requested, bytes_per_bank, group, imported)
PyObject* Alloc(PyObject* module, PyObject* arguments) {
  PyObject *device = nullptr, *kind = nullptr, *id = nullptr, *address = nullptr, *requested = nullptr,
           *per_bank = nullptr, *group = nullptr;
  int imported = 0;
  if (PyArg_ParseTuple(arguments, "OOOOOOOp", &device, &kind, &id, &address, &requested, &per_bank, &group,
                       &imported) == 0) {
    return nullptr;
  }
  memtally_buffer buffer{};
  buffer.size = sizeof(buffer);
  if (!ToNumber32(device, "device", &buffer.device) || !ToNumber32(kind, "kind", &buffer.kind) ||
      !ToNumber(id, "id", &buffer.id) || !ToNumber(address, "address", &buffer.address) ||
      !ToNumber(requested, "bytes_requested", &buffer.bytes_requested) ||
      !ToNumber(per_bank, "bytes_per_bank", &buffer.bytes_per_bank) || !ToNumber(group, "group", &buffer.group)) {
    return nullptr;
  }
  buffer.imported = static_cast<uint32_t>(imported);
  if (const memtally_api* api = memtally_open()) {
    const ContextTag tag(StateOf(module), api);
    api->alloc_buffer(&buffer);
  }
  Py_RETURN_NONE;
}

PyObject* Free(PyObject*, PyObject* arguments) {
  PyObject *device = nullptr, *kind = nullptr, *id = nullptr;
  if (PyArg_ParseTuple(arguments, "OOO", &device, &kind, &id) == 0) return nullptr;
  uint32_t device_number = 0, kind_number = 0;
  uint64_t id_number = 0;
  if (!ToNumber32(device, "device", &device_number) || !ToNumber32(kind, "kind", &kind_number) ||
      !ToNumber(id, "id", &id_number)) {
    return nullptr;
  }
  memtally_free(device_number, kind_number, id_number);
  Py_RETURN_NONE;
}

PyObject* AllocFailed(PyObject* module, PyObject* arguments) {
  PyObject *device = nullptr, *kind = nullptr, *requested = nullptr, *per_bank = nullptr;
  if (PyArg_ParseTuple(arguments, "OOOO", &device, &kind, &requested, &per_bank) == 0) return nullptr;
  uint32_t device_number = 0, kind_number = 0;
  uint64_t requested_number = 0, per_bank_number = 0;
  if (!ToNumber32(device, "device", &device_number) || !ToNumber32(kind, "kind", &kind_number) ||
      !ToNumber(requested, "bytes_requested", &requested_number) ||
      !ToNumber(per_bank, "bytes_per_bank", &per_bank_number)) {
    return nullptr;
  }
  if (const memtally_api* api = memtally_open()) {
    const ContextTag tag(StateOf(module), api);
    api->alloc_failed(device_number, kind_number, requested_number, per_bank_number);
  }
  Py_RETURN_NONE;
}

PyObject* CloseDevice(PyObject*, PyObject* device) {
  uint32_t number = 0;
  if (!ToNumber32(device, "device", &number)) return nullptr;
  memtally_close_device(number);
  Py_RETURN_NONE;
}

PyObject* Mark(PyObject*, PyObject* name) {
  const char* text = PyUnicode_Check(name) != 0 ? PyUnicode_AsUTF8AndSize(name, nullptr) : nullptr;
  if (text == nullptr) {
    if (PyErr_Occurred() == nullptr) PyErr_Format(PyExc_TypeError, "memtally.mark takes a name, not %R", name);
    return nullptr;
  }
  memtally_mark(text);
  Py_RETURN_NONE;
}

PyObject* NameGroup(PyObject*, PyObject* arguments) {
  unsigned long long group = 0;
  const char* name = nullptr;
  if (PyArg_ParseTuple(arguments, "Kz", &group, &name) == 0) return nullptr;
  if (name != nullptr) {
    memtally_name_group(group, name);
  } else {
    memtally_forget_group(group);
  }
  Py_RETURN_NONE;
}

PyObject* Pause(PyObject*, PyObject* on) {
  if (PyObject_IsTrue(on) != 0) {
    memtally_pause();
  } else {
    memtally_resume();
  }
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"track", Track, METH_VARARGS, nullptr},
    {"is_tracked", IsTracked, METH_NOARGS, nullptr},
    {"ledger_path", LedgerPath, METH_NOARGS, nullptr},
    {"register_device", RegisterDevice, METH_VARARGS, nullptr},
    {"register_kind", RegisterKind, METH_VARARGS, nullptr},
    {"define_kind", DefineKind, METH_VARARGS, nullptr},
    {"alloc", Alloc, METH_VARARGS, nullptr},
    {"free", Free, METH_VARARGS, nullptr},
    {"alloc_failed", AllocFailed, METH_VARARGS, nullptr},
    {"close_device", CloseDevice, METH_O, nullptr},
    {"mark", Mark, METH_O, nullptr},
    {"name_group", NameGroup, METH_VARARGS, nullptr},
    {"pause", Pause, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

std::mutex& ReadingLock() {
  static auto* lock = new std::mutex;  // never destroyed: somebody may fork at the very end
  return *lock;
}

uint64_t Generation(const memtally_api* api) { return api == nullptr ? 0 : forks.load(std::memory_order_relaxed) + 1; }

int AddTracking(PyObject* module) {
  static std::atomic<bool> watches_forks{false};
  if (!watches_forks.exchange(true)) pthread_atfork(BeforeFork, AfterFork, InChild);
  return PyModule_AddFunctions(module, functions);
}

}  // namespace memtally::python
