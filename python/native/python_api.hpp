// SPDX-License-Identifier: Apache-2.0
//
// Python's limited API, as of 3.10, and what the parts of the extension share: one module state an interpreter.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <utility>

namespace memtally::python {

// A reference that is given back at the end of its scope.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* object) : object_(object) {}  // takes the reference
  ~Ref() { Py_XDECREF(object_); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;

  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

struct ModuleState {
  PyObject* frame_get;       // of the context variable that has the present frame of tags
  PyObject* frame_set;       //
  PyObject* decorate;        // memtally._decorate.decorate, once it was needed
  PyObject* ledger_error;    // memtally.LedgerError
  PyTypeObject* tag_type;    // memtally.tag
  PyTypeObject* frame_type;  // what the context variable holds
  PyTypeObject* watch_type;  // watches a region of the program
  PyObject* events_name;     // "asyncio.events"
  PyObject* running_loop;    // asyncio's function, once that is imported
  bool follows_asyncio;      // steps of tasks are told to us
};

extern PyModuleDef module_definition;

inline ModuleState* StateOf(PyObject* module) { return static_cast<ModuleState*>(PyModule_GetState(module)); }
inline ModuleState* StateOf(PyTypeObject* type) { return static_cast<ModuleState*>(PyType_GetModuleState(type)); }

// The parts add their types and functions. Each returns 0, or -1 with an exception set.
int AddTags(PyObject* module);
int AddTracking(PyObject* module);
int AddLedgers(PyObject* module);
int AddWatch(PyObject* module);
int AddRebind(PyObject* module);
int AddNamedCall(PyObject* module);

}  // namespace memtally::python
