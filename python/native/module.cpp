// SPDX-License-Identifier: Apache-2.0
//
// The extension memtally._native.  It holds no Python object outside the module's state, so that each interpreter of a
// process can have one, also one with a lock of its own.
#include <cstdlib>

#include "python_api.hpp"

namespace memtally::python {
namespace {

int Execute(PyObject* module) {
  ModuleState* state = StateOf(module);
  const Ref contextvars(PyImport_ImportModule("contextvars"));
  if (!contextvars) return -1;
  const Ref variable(PyObject_CallMethod(contextvars.get(), "ContextVar", "s", "memtally.tag"));
  if (!variable) return -1;
  state->frame_get = PyObject_GetAttrString(variable.get(), "get");
  state->frame_set = PyObject_GetAttrString(variable.get(), "set");
  state->events_name = PyUnicode_InternFromString("asyncio.events");
  if (state->frame_get == nullptr || state->frame_set == nullptr || state->events_name == nullptr) return -1;
  if (AddTracking(module) != 0 || AddTags(module) != 0 || AddLedgers(module) != 0 || AddWatch(module) != 0 ||
      AddRebind(module) != 0 || AddNamedCall(module) != 0) {
    return -1;
  }
  return PyModule_AddObjectRef(module, "frame_variable", variable.get());
}

int Traverse(PyObject* module, visitproc visit, void* arg) {
  ModuleState* state = StateOf(module);
  Py_VISIT(state->frame_get);
  Py_VISIT(state->frame_set);
  Py_VISIT(state->decorate);
  Py_VISIT(state->events_name);
  Py_VISIT(state->running_loop);
  Py_VISIT(state->ledger_error);
  Py_VISIT(state->tag_type);
  Py_VISIT(state->frame_type);
  Py_VISIT(state->watch_type);
  return 0;
}

int Clear(PyObject* module) {
  ModuleState* state = StateOf(module);
  Py_CLEAR(state->frame_get);
  Py_CLEAR(state->frame_set);
  Py_CLEAR(state->decorate);
  Py_CLEAR(state->events_name);
  Py_CLEAR(state->running_loop);
  Py_CLEAR(state->ledger_error);
  Py_CLEAR(state->tag_type);
  Py_CLEAR(state->frame_type);
  Py_CLEAR(state->watch_type);
  return 0;
}

// Since 3.12: interpreters may have locks of their own. Older versions know no such slot, and the limited API of 3.10
// has no name for it.
constexpr int kMultipleInterpretersSlot = 3;
PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(Execute)},
    {0, nullptr},
    {0, nullptr},
};

}  // namespace

PyModuleDef module_definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "memtally._native",
    .m_doc = "Calls of memtally's tracker and its reader of ledgers.",
    .m_size = sizeof(ModuleState),
    .m_methods = nullptr,
    .m_slots = slots,
    .m_traverse = Traverse,
    .m_clear = Clear,
    .m_free = [](void* module) { Clear(static_cast<PyObject*>(module)); },
};

}  // namespace memtally::python

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__native() {
  using memtally::python::slots;
  char* end = nullptr;
  const char* version = Py_GetVersion();  // "3.12.1 (main, ...)"
  if (std::strtol(version, &end, 10) == 3 && *end == '.' && std::strtol(end + 1, nullptr, 10) >= 12) {
    slots[1] = {memtally::python::kMultipleInterpretersSlot, reinterpret_cast<void*>(uintptr_t{2})};
  }
  return PyModuleDef_Init(&memtally::python::module_definition);
}
