// SPDX-License-Identifier: Apache-2.0
#include "tag.hpp"

#include <vector>

#include "generation.hpp"

namespace memtally::python {
namespace {

// clang-format off
struct Frame {
  PyObject_HEAD
  PyObject* name;       // str
  Frame* parent;        // the frame around it, or null
  uint64_t generation;  // of `number`
  uint32_t number;      // the tag's in the ledger
  uint32_t before;      // the thread's tag when it was entered
};

struct Tag {
  PyObject_HEAD
  PyObject* name;  // str
  Frame* handed;   // entered in place of a new frame, or null
};
// clang-format on

// The tag that this thread had before the callback of an event loop that was running when loops began to be followed.
struct Unfollowed {
  bool pending = false;
  uint32_t before = 0;
};
thread_local Unfollowed unfollowed;

Frame* AsFrame(PyObject* object) { return reinterpret_cast<Frame*>(object); }
Tag* AsTag(PyObject* object) { return reinterpret_cast<Tag*>(object); }

// The frame that the context variable holds: a new reference to it or to None; null with an exception.
PyObject* PresentFrame(ModuleState* state) { return PyObject_CallFunctionObjArgs(state->frame_get, Py_None, nullptr); }

bool SetFrame(ModuleState* state, PyObject* frame) {
  const Ref token(PyObject_CallFunctionObjArgs(state->frame_set, frame, nullptr));
  return static_cast<bool>(token);
}

// The tag's number below `parent`. Leaves the thread with that tag.
uint32_t Intern(const memtally_api* api, uint32_t parent, PyObject* name) {
  const char* text = PyUnicode_AsUTF8AndSize(name, nullptr);
  if (text == nullptr) {
    PyErr_Clear();
    text = "?";
  }
  api->exchange_tag(parent);
  api->push_tag(text);
  const uint32_t number = api->current_tag();
  api->pop_tag();
  api->exchange_tag(number);
  return number;
}

// The number of the frame in the present ledger. May change the thread's tag.
uint32_t NumberOf(const memtally_api* api, uint64_t generation, Frame* frame) {
  if (frame->generation == generation) return frame->number;
  std::vector<Frame*> outdated;
  Frame* known = frame;
  for (; known != nullptr && known->generation != generation; known = known->parent) outdated.push_back(known);
  uint32_t number = known != nullptr ? known->number : 0;
  for (auto at = outdated.rbegin(); at != outdated.rend(); ++at) {
    number = Intern(api, number, (*at)->name);
    (*at)->number = number;
    (*at)->generation = generation;
  }
  return number;
}

Frame* NewFrame(ModuleState* state, PyObject* name, Frame* parent) {
  auto* frame = PyObject_New(Frame, state->frame_type);
  if (frame == nullptr) return nullptr;
  Py_INCREF(name);
  Py_XINCREF(reinterpret_cast<PyObject*>(parent));
  frame->name = name;
  frame->parent = parent;
  frame->generation = 0;
  frame->number = frame->before = 0;
  return frame;
}

void DeleteFrame(PyObject* self) {
  // Long chains are taken apart without recursion.
  while (self != nullptr) {
    Frame* frame = AsFrame(self);
    PyTypeObject* type = Py_TYPE(self);
    PyObject* parent = reinterpret_cast<PyObject*>(frame->parent);
    Py_DECREF(frame->name);
    PyObject_Free(self);
    Py_DECREF(type);
    if (parent == nullptr) return;
    if (Py_REFCNT(parent) > 1) {
      Py_DECREF(parent);
      return;
    }
    self = parent;
  }
}

PyObject* FramePath(PyObject* self, void*) {
  const Ref names(PyList_New(0));
  if (!names) return nullptr;
  for (Frame* frame = AsFrame(self); frame != nullptr; frame = frame->parent) {
    if (PyList_Append(names.get(), frame->name) != 0) return nullptr;
  }
  if (PyList_Reverse(names.get()) != 0) return nullptr;
  const Ref separator(PyUnicode_FromString(" / "));
  return separator ? PyUnicode_Join(separator.get(), names.get()) : nullptr;
}

// asyncio tells nobody that a task goes on. Once a tag is entered in one, memtally._asyncio asks its event loops to.
bool FollowAsyncio(ModuleState* state) {
  if (state->running_loop == nullptr) {
    const Ref events(PyImport_GetModule(state->events_name));
    if (!events) return PyErr_Occurred() == nullptr;
    state->running_loop = PyObject_GetAttrString(events.get(), "_get_running_loop");
    if (state->running_loop == nullptr) {  // the module is only being imported
      PyErr_Clear();
      return true;
    }
  }
  const Ref loop(PyObject_CallObject(state->running_loop, nullptr));
  if (!loop) return false;
  if (loop.get() == Py_None) return true;
  const Ref follower(PyImport_ImportModule("memtally._asyncio"));
  if (!follower) return false;
  const Ref done(PyObject_CallMethod(follower.get(), "follow", nullptr));
  if (!done) return false;
  if (const memtally_api* api = memtally_open()) unfollowed = {true, api->current_tag()};
  state->follows_asyncio = true;
  return true;
}

PyObject* Enter(PyObject* self, PyObject*) {
  Tag* tag = AsTag(self);
  ModuleState* state = StateOf(Py_TYPE(self));
  if (!state->follows_asyncio && !FollowAsyncio(state)) return nullptr;
  const Ref present(PresentFrame(state));
  if (!present) return nullptr;
  Frame* around = present.get() == Py_None ? nullptr : AsFrame(present.get());
  const Ref made(reinterpret_cast<PyObject*>(NewFrame(state, tag->name, around)));
  if (!made) return nullptr;
  Frame* frame = AsFrame(made.get());
  if (!SetFrame(state, made.get())) return nullptr;
  if (const memtally_api* api = memtally_open()) {
    const uint64_t generation = Generation(api);
    frame->before = api->current_tag();
    if (tag->handed != nullptr) {
      frame->number = NumberOf(api, generation, tag->handed);
      api->exchange_tag(frame->number);
    } else {
      // Without a frame around it, what native code has set is.
      const uint32_t parent = around != nullptr ? NumberOf(api, generation, around) : frame->before;
      frame->number = Intern(api, parent, tag->name);
    }
    frame->generation = generation;
  }
  Py_INCREF(self);
  return self;
}

PyObject* Exit(PyObject* self, PyObject*) {
  ModuleState* state = StateOf(Py_TYPE(self));
  const Ref present(PresentFrame(state));
  if (!present) return nullptr;
  if (present.get() == Py_None) Py_RETURN_NONE;  // entered in another context
  Frame* frame = AsFrame(present.get());
  if (!SetFrame(state, frame->parent != nullptr ? reinterpret_cast<PyObject*>(frame->parent) : Py_None)) return nullptr;
  if (const memtally_api* api = memtally_open()) {
    const uint64_t generation = Generation(api);
    if (frame->generation == generation) {
      api->exchange_tag(frame->before);
    } else {
      api->exchange_tag(frame->parent != nullptr ? NumberOf(api, generation, frame->parent) : 0);
    }
  }
  Py_RETURN_NONE;
}

// A tag object is entered any number of times, by any threads: what an entry needs is in its frame.
PyObject* NewTag(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  static char name_word[] = "name";
  static char* words[] = {name_word, nullptr};
  PyObject* name = nullptr;
  if (PyArg_ParseTupleAndKeywords(arguments, keywords, "O:tag", words, &name) == 0) return nullptr;
  if (PyUnicode_Check(name) == 0) {
    PyErr_Format(PyExc_TypeError, "memtally.tag takes a name, as in memtally.tag(\"layer 3\"), not %R", name);
    return nullptr;
  }
  auto* tag = PyObject_New(Tag, type);
  if (tag == nullptr) return nullptr;
  Py_INCREF(name);
  tag->name = name;
  tag->handed = nullptr;
  return reinterpret_cast<PyObject*>(tag);
}

void DeleteTag(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_DECREF(AsTag(self)->name);
  Py_XDECREF(reinterpret_cast<PyObject*>(AsTag(self)->handed));
  PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* Decorate(PyObject* self, PyObject* arguments, PyObject* keywords) {
  ModuleState* state = StateOf(Py_TYPE(self));
  static char function_word[] = "function";
  static char* words[] = {function_word, nullptr};
  PyObject* function = nullptr;
  if (PyArg_ParseTupleAndKeywords(arguments, keywords, "O:tag", words, &function) == 0) return nullptr;
  if (state->decorate == nullptr) {
    const Ref module(PyImport_ImportModule("memtally._decorate"));
    if (!module) return nullptr;
    state->decorate = PyObject_GetAttrString(module.get(), "decorate");
    if (state->decorate == nullptr) return nullptr;
  }
  return PyObject_CallFunctionObjArgs(state->decorate, self, function, nullptr);
}

PyObject* TagName(PyObject* self, void*) {
  Py_INCREF(AsTag(self)->name);
  return AsTag(self)->name;
}

PyObject* TagText(PyObject* self) { return PyUnicode_FromFormat("memtally.tag(%R)", AsTag(self)->name); }

PyObject* CurrentTag(PyObject* module, PyObject*) { return PresentFrame(StateOf(module)); }

PyObject* Adopt(PyObject* module, PyObject* frame) {
  ModuleState* state = StateOf(module);
  if (Py_TYPE(frame) != state->frame_type) {
    PyErr_Format(PyExc_TypeError, "memtally.adopt takes what memtally.current_tag() gave elsewhere, not %R", frame);
    return nullptr;
  }
  auto* tag = PyObject_New(Tag, state->tag_type);
  if (tag == nullptr) return nullptr;
  tag->name = AsFrame(frame)->name;
  tag->handed = AsFrame(frame);
  Py_INCREF(tag->name);
  Py_INCREF(frame);
  return reinterpret_cast<PyObject*>(tag);
}

// exchange(frame, number) -> (frame, number): the present frame, and the thread's tag, for others.
PyObject* Exchange(PyObject* module, PyObject* arguments) {
  ModuleState* state = StateOf(module);
  PyObject* frame = nullptr;
  unsigned int number = 0;
  if (PyArg_ParseTuple(arguments, "OI", &frame, &number) == 0) return nullptr;
  Ref present(PresentFrame(state));
  if (!present || !SetFrame(state, frame)) return nullptr;
  uint32_t before = 0;
  if (const memtally_api* api = memtally_open()) {
    before = api->current_tag();
    if (frame != Py_None) number = NumberOf(api, Generation(api), AsFrame(frame));
    api->exchange_tag(number);
  }
  return Py_BuildValue("NI", present.release(), before);
}

// A task goes on in `context`: the thread's tag becomes the context's. Returns what it was, or -1 if it stays.
PyObject* EnterContext(PyObject* module, PyObject* context) {
  const Ref variable(PyObject_GetAttrString(module, "frame_variable"));
  if (!variable) return nullptr;
  const Ref frame(PyObject_CallMethod(context, "get", "O", variable.get()));
  if (!frame) return nullptr;
  const memtally_api* api = memtally_open();
  if (api == nullptr) return PyLong_FromLong(-1);
  if (unfollowed.pending) {
    api->exchange_tag(unfollowed.before);
    unfollowed.pending = false;
  }
  const uint32_t before = api->current_tag();
  if (frame.get() != Py_None) api->exchange_tag(NumberOf(api, Generation(api), AsFrame(frame.get())));
  return PyLong_FromUnsignedLong(before);
}

PyObject* LeaveContext(PyObject*, PyObject* before) {
  const long number = PyLong_AsLong(before);
  if (number == -1) {
    if (PyErr_Occurred() != nullptr) return nullptr;
    Py_RETURN_NONE;
  }
  if (const memtally_api* api = memtally_open()) api->exchange_tag(static_cast<uint32_t>(number));
  Py_RETURN_NONE;
}

PyMethodDef tag_methods[] = {
    {"__enter__", Enter, METH_NOARGS, nullptr},
    {"__exit__", Exit, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef tag_members[] = {
    {"name", TagName, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot tag_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(NewTag)},
    {Py_tp_dealloc, reinterpret_cast<void*>(DeleteTag)},
    {Py_tp_call, reinterpret_cast<void*>(Decorate)},
    {Py_tp_repr, reinterpret_cast<void*>(TagText)},
    {Py_tp_methods, tag_methods},
    {Py_tp_getset, tag_members},
    {Py_tp_doc,
     const_cast<char*>("tag(name)\n--\n\nTags what is allocated inside: a context manager and a decorator.")},
    {0, nullptr},
};
PyType_Spec tag_spec = {
    .name = "memtally.tag", .basicsize = sizeof(Tag), .itemsize = 0, .flags = Py_TPFLAGS_DEFAULT, .slots = tag_slots};

PyGetSetDef frame_members[] = {
    {"path", FramePath, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot frame_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(DeleteFrame)},
    {Py_tp_getset, frame_members},
    {Py_tp_doc, const_cast<char*>("The tag that was current somewhere: hand it to memtally.adopt().")},
    {0, nullptr},
};
PyType_Spec frame_spec = {.name = "memtally.CurrentTag",
                          .basicsize = sizeof(Frame),
                          .itemsize = 0,
                          .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                          .slots = frame_slots};

PyMethodDef functions[] = {
    {"current_tag", CurrentTag, METH_NOARGS, nullptr}, {"adopt", Adopt, METH_O, nullptr},
    {"exchange", Exchange, METH_VARARGS, nullptr},     {"enter_context", EnterContext, METH_O, nullptr},
    {"leave_context", LeaveContext, METH_O, nullptr},  {nullptr, nullptr, 0, nullptr},
};

}  // namespace

ContextTag::ContextTag(ModuleState* state, const memtally_api* api) {
  if (api->current_tag() != 0) return;
  const Ref present(PresentFrame(state));
  if (!present) {
    PyErr_Clear();
    return;
  }
  if (present.get() == Py_None) return;
  api->exchange_tag(NumberOf(api, Generation(api), AsFrame(present.get())));
  api_ = api;
}

ContextTag::~ContextTag() {
  if (api_ != nullptr) api_->exchange_tag(0);
}

int AddTags(PyObject* module) {
  ModuleState* state = StateOf(module);
  state->frame_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &frame_spec, nullptr));
  state->tag_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &tag_spec, nullptr));
  if (state->frame_type == nullptr || state->tag_type == nullptr) return -1;
  if (PyModule_AddObjectRef(module, "tag", reinterpret_cast<PyObject*>(state->tag_type)) != 0) return -1;
  return PyModule_AddFunctions(module, functions);
}

}  // namespace memtally::python
