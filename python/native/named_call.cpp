// SPDX-License-Identifier: Apache-2.0
//
// NamedCall stands in for the __call__ of a class whose instances know their names: each call runs under a tag of that
// name.  In C++, since it stands before every operation of a model.
#include "python_api.hpp"

namespace memtally::python {
namespace {

// clang-format off
struct NamedCall {
  PyObject_HEAD
  PyObject* call;    // what it stands in for
  PyObject* name;    // of the attribute that has an instance's name
  PyObject* tags;    // dict: name -> the tag's methods (enter, exit)
  PyObject* method;  // types.MethodType
};
// clang-format on

NamedCall* As(PyObject* object) { return reinterpret_cast<NamedCall*>(object); }

PyObject* New(PyTypeObject* type, PyObject* arguments, PyObject*) {
  PyObject *call = nullptr, *name = nullptr;
  if (PyArg_ParseTuple(arguments, "OU", &call, &name) == 0) return nullptr;
  const Ref types(PyImport_ImportModule("types"));
  if (!types) return nullptr;
  Ref method(PyObject_GetAttrString(types.get(), "MethodType"));
  Ref tags(PyDict_New());
  if (!method || !tags) return nullptr;
  auto* self = PyObject_New(NamedCall, type);
  if (self == nullptr) return nullptr;
  Py_INCREF(call);
  Py_INCREF(name);
  self->call = call;
  self->name = name;
  self->tags = tags.release();
  self->method = method.release();
  return reinterpret_cast<PyObject*>(self);
}

void Delete(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_DECREF(As(self)->call);
  Py_DECREF(As(self)->name);
  Py_DECREF(As(self)->tags);
  Py_DECREF(As(self)->method);
  PyObject_Free(self);
  Py_DECREF(type);
}

// The pair of the tag's methods; borrowed.
PyObject* MethodsOf(NamedCall* self, PyTypeObject* type, PyObject* name) {
  PyObject* known = PyDict_GetItemWithError(self->tags, name);
  if (known != nullptr || PyErr_Occurred() != nullptr) return known;
  const Ref tag(PyObject_CallFunctionObjArgs(reinterpret_cast<PyObject*>(StateOf(type)->tag_type), name, nullptr));
  if (!tag) return nullptr;
  Ref enter(PyObject_GetAttrString(tag.get(), "__enter__"));
  Ref leave(PyObject_GetAttrString(tag.get(), "__exit__"));
  if (!enter || !leave) return nullptr;
  const Ref pair(PyTuple_Pack(2, enter.get(), leave.get()));
  if (!pair || PyDict_SetItem(self->tags, name, pair.get()) != 0) return nullptr;
  return PyDict_GetItemWithError(self->tags, name);
}

// Called with the instance first.
PyObject* Call(PyObject* self, PyObject* arguments, PyObject* keywords) {
  NamedCall* named = As(self);
  PyObject* instance = PyTuple_GetItem(arguments, 0);
  if (instance == nullptr) return nullptr;
  const Ref name(PyObject_GetAttr(instance, named->name));
  if (!name) return nullptr;
  PyObject* methods = MethodsOf(named, Py_TYPE(self), name.get());
  if (methods == nullptr) return nullptr;
  const Ref entered(PyObject_CallObject(PyTuple_GetItem(methods, 0), nullptr));
  if (!entered) return nullptr;
  PyObject* result = PyObject_Call(named->call, arguments, keywords);
  PyObject *type = nullptr, *value = nullptr, *trace = nullptr;
  if (result == nullptr) PyErr_Fetch(&type, &value, &trace);
  const Ref left(PyObject_CallObject(PyTuple_GetItem(methods, 1), nullptr));
  if (result == nullptr) {
    PyErr_Restore(type, value, trace);
  } else if (!left) {
    Py_CLEAR(result);
  }
  return result;
}

PyObject* Bind(PyObject* self, PyObject* instance, PyObject*) {
  if (instance == nullptr || instance == Py_None) {
    Py_INCREF(self);
    return self;
  }
  return PyObject_CallFunctionObjArgs(As(self)->method, self, instance, nullptr);
}

PyObject* Wrapped(PyObject* self, void*) {
  Py_INCREF(As(self)->call);
  return As(self)->call;
}

PyGetSetDef members[] = {
    {"__wrapped__", Wrapped, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(New)},
    {Py_tp_dealloc, reinterpret_cast<void*>(Delete)},
    {Py_tp_call, reinterpret_cast<void*>(Call)},
    {Py_tp_descr_get, reinterpret_cast<void*>(Bind)},
    {Py_tp_getset, members},
    {0, nullptr},
};
PyType_Spec spec = {.name = "memtally._native.NamedCall",
                    .basicsize = sizeof(NamedCall),
                    .itemsize = 0,
                    .flags = Py_TPFLAGS_DEFAULT,
                    .slots = slots};

}  // namespace

int AddNamedCall(PyObject* module) {
  const Ref type(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return type ? PyModule_AddObjectRef(module, "NamedCall", type.get()) : -1;
}

}  // namespace memtally::python
