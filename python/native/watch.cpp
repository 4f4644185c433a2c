// SPDX-License-Identifier: Apache-2.0
//
// Watches a region of the program: a thread without Python reads the ledgers before their flight recorders go round.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <memtally/track.h>

#include "python_api.hpp"
#include "reading_lock.hpp"
#include "region_peak.hpp"

namespace memtally::python {
namespace {

using std::chrono::microseconds;

// A reading may take this part of a core, unless the recorders fill up faster.
constexpr int64_t kRest = 19;
constexpr microseconds kShortest{2000};
constexpr microseconds kLongest{100000};
constexpr microseconds kHurry{300};

int64_t ThreadTimeNs() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

class Watcher {
 public:
  Watcher(std::string launch_id, bool with_children)
      : pid_(getpid()), peak_(static_cast<uint32_t>(pid_), std::move(launch_id), with_children) {
    Advance();
    thread_ = std::thread([this] { Run(); });
  }

  // REQUIRES: the process that made it.
  void Finish() {
    {
      const std::lock_guard guard(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    if (!thread_.joinable()) return;
    thread_.join();
    Advance();
  }

  ~Watcher() { Finish(); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  bool is_ours() const { return getpid() == pid_; }
  const RegionPeak& peak() const { return peak_; }

 private:
  void Advance() {
    const std::lock_guard guard(ReadingLock());
    peak_.Advance(memtally_ledger_path());
  }

  void Run() {
    microseconds rest{5000};
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, rest, [this] { return ended_; })) {
      lock.unlock();
      const int64_t begin = ThreadTimeNs();
      Advance();
      const microseconds took{(ThreadTimeNs() - begin) / 1000};
      rest = std::clamp(took * kRest, kShortest, kLongest);
      if (peak_.fullness() > 0.2) rest = kHurry;
      lock.lock();
    }
  }

  pid_t pid_;
  RegionPeak peak_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  std::thread thread_;
};

// clang-format off
struct Watch {
  PyObject_HEAD
  Watcher* watcher;
};
// clang-format on

Watcher*& WatcherOf(PyObject* self) { return reinterpret_cast<Watch*>(self)->watcher; }

PyObject* NewWatch(PyTypeObject* type, PyObject* arguments, PyObject*) {
  const char* launch_id = nullptr;
  int with_children = 0;
  if (PyArg_ParseTuple(arguments, "sp", &launch_id, &with_children) == 0) return nullptr;
  auto* watch = PyObject_New(Watch, type);
  if (watch == nullptr) return nullptr;
  watch->watcher = nullptr;
  const std::string launch = launch_id;
  std::string problem;
  Py_BEGIN_ALLOW_THREADS;
  try {
    watch->watcher = new Watcher(launch, with_children != 0);
  } catch (const std::exception& error) {
    problem = error.what();
  }
  Py_END_ALLOW_THREADS;
  if (watch->watcher == nullptr) {
    Py_DECREF(reinterpret_cast<PyObject*>(watch));
    return PyErr_Format(PyExc_RuntimeError, "the region cannot be watched: %s", problem.c_str());
  }
  return reinterpret_cast<PyObject*>(watch);
}

void DeleteWatch(PyObject* self) {
  Watcher* watcher = WatcherOf(self);
  // In a forked child there is no thread to wait for, and its lock may be held for ever: it stays.
  if (watcher != nullptr && watcher->is_ours()) {
    Py_BEGIN_ALLOW_THREADS;
    delete watcher;
    Py_END_ALLOW_THREADS;
  }
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* Places(const std::map<PlaceKey, PlacePeak>& places) {
  Ref list(PyList_New(0));
  if (!list) return nullptr;
  for (const auto& [key, place] : places) {
    const Ref row(Py_BuildValue(
        "sssOKKKKKK", place.device_name.c_str(), key.kind.c_str(), place.memory.c_str(),
        place.is_summed ? Py_True : Py_False, static_cast<unsigned long long>(place.peak_requested),
        static_cast<unsigned long long>(place.peak_reserved), static_cast<unsigned long long>(place.slack()),
        static_cast<unsigned long long>(place.start_reserved), static_cast<unsigned long long>(place.live_requested),
        static_cast<unsigned long long>(place.live_reserved)));
    if (!row || PyList_Append(list.get(), row.get()) != 0) return nullptr;
  }
  return list.release();
}

// finish() -> (exact, total peak, total slack, kinds, memories, paths of descendants' ledgers, readings)
PyObject* Finish(PyObject* self, PyObject*) {
  Watcher* watcher = WatcherOf(self);
  if (!watcher->is_ours()) {
    return PyErr_Format(
        PyExc_RuntimeError,
        "this region was begun before the process forked: end it in the process that began it, and begin "
        "another one here");
  }
  Py_BEGIN_ALLOW_THREADS;
  watcher->Finish();
  Py_END_ALLOW_THREADS;
  const RegionPeak& peak = watcher->peak();
  Ref kinds(Places(peak.kinds()));
  Ref memories(Places(peak.memories()));
  Ref children(PyList_New(0));
  if (!kinds || !memories || !children) return nullptr;
  for (const std::string& path : peak.child_paths()) {
    const Ref text(PyUnicode_DecodeFSDefault(path.c_str()));
    if (!text || PyList_Append(children.get(), text.get()) != 0) return nullptr;
  }
  return Py_BuildValue("OKKNNNK", peak.is_exact() ? Py_True : Py_False,
                       static_cast<unsigned long long>(peak.total_peak()),
                       static_cast<unsigned long long>(peak.total_slack()), kinds.release(), memories.release(),
                       children.release(), static_cast<unsigned long long>(peak.readings()));
}

PyMethodDef methods[] = {
    {"finish", Finish, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(NewWatch)},
    {Py_tp_dealloc, reinterpret_cast<void*>(DeleteWatch)},
    {Py_tp_methods, methods},
    {0, nullptr},
};
PyType_Spec spec = {.name = "memtally._native.Watch",
                    .basicsize = sizeof(Watch),
                    .itemsize = 0,
                    .flags = Py_TPFLAGS_DEFAULT,
                    .slots = slots};

}  // namespace

int AddWatch(PyObject* module) {
  ModuleState* state = StateOf(module);
  state->watch_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  if (state->watch_type == nullptr) return -1;
  return PyModule_AddObjectRef(module, "Watch", reinterpret_cast<PyObject*>(state->watch_type));
}

}  // namespace memtally::python
