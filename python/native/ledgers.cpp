// SPDX-License-Identifier: Apache-2.0
//
// Ledgers as plain tuples.  memtally/_snapshot.py gives their fields names, in the same order.
#include <unistd.h>

#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>
#include <memtally/track.h>

#include "python_api.hpp"
#include "reading_lock.hpp"

namespace memtally::python {
namespace {

// A tuple that is filled from its start; what fails leaves an exception and an empty result.
class Row {
 public:
  explicit Row(Py_ssize_t size) : tuple_(PyTuple_New(size)) {}

  Row& Take(PyObject* object) {
    if (object == nullptr || !tuple_) {
      Py_XDECREF(object);
      tuple_ = Ref();
    } else {
      PyTuple_SetItem(tuple_.get(), at_++, object);
    }
    return *this;
  }
  Row& Share(PyObject* object) {
    Py_XINCREF(object);
    return Take(object);
  }
  Row& Number(uint64_t number) { return Take(PyLong_FromUnsignedLongLong(number)); }
  Row& Signed(int64_t number) { return Take(PyLong_FromLongLong(number)); }
  Row& Bool(bool value) { return Share(value ? Py_True : Py_False); }
  Row& Text(const std::string& text) {
    return Take(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  }
  template <typename T>
  Row& Maybe(const std::optional<T>& number) {
    return number ? Number(*number) : Share(Py_None);
  }
  PyObject* Done() { return tuple_.release(); }

 private:
  Ref tuple_;
  Py_ssize_t at_ = 0;
};

// A list of what `make` gives for each entry.
template <typename Entries, typename Make>
PyObject* List(const Entries& entries, Make&& make) {
  Ref list(PyList_New(static_cast<Py_ssize_t>(entries.size())));
  if (!list) return nullptr;
  Py_ssize_t at = 0;
  for (const auto& entry : entries) {
    PyObject* made = make(entry);
    if (made == nullptr) return nullptr;
    PyList_SetItem(list.get(), at++, made);
  }
  return list.release();
}

template <size_t N>
std::string Hex(const std::array<uint8_t, N>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  bool any = false;
  for (const uint8_t byte : bytes) {
    any |= byte != 0;
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return any ? text : "";
}

const char* OperationName(uint32_t operation) {
  switch (operation) {
    case MEMTALLY_OP_ALLOC:
      return "alloc";
    case MEMTALLY_OP_FREE:
      return "free";
    case MEMTALLY_OP_ALLOC_FAILED:
      return "alloc_failed";
    case MEMTALLY_OP_MARK:
      return "mark";
    case MEMTALLY_OP_CLOSE:
      return "close";
    case MEMTALLY_OP_REPLACE:
      return "replace";
    case MEMTALLY_OP_UNKNOWN_FREE:
      return "unknown_free";
    case MEMTALLY_OP_AMBIGUOUS_FREE:
      return "ambiguous_free";
    case MEMTALLY_OP_INHERITED_FREE:
      return "inherited_free";
    case MEMTALLY_OP_AFTER_CLOSE:
      return "after_close";
    case MEMTALLY_OP_DUPLICATE_REPORTER:
      return "duplicate_reporter";
    case MEMTALLY_OP_NO_ROOM:
      return "no_room";
    case MEMTALLY_OP_OPEN:
      return "open";
    default:
      return "";
  }
}

constexpr const char* kAnomalies[MEMTALLY_ANOMALIES] = {
    "unknown_free", "replaced",           "ambiguous", "inherited",
    "after_close",  "duplicate_reporter", "no_room",   "failed_alloc",
};

const char* LivenessName(Liveness liveness) {
  switch (liveness) {
    case Liveness::kAlive:
      return "alive";
    case Liveness::kDetached:
      return "detached";
    default:
      return "dead";
  }
}

PyObject* Raise(ModuleState* state, const LedgerError& error) {
  const std::string text = error.hint.empty() ? error.what : error.what + "; " + error.hint;
  const Ref message(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  if (message) {
    if (error.code == LedgerError::Code::kNotFound) {
      PyErr_SetObject(PyExc_FileNotFoundError, message.get());
    } else {
      PyErr_SetObject(state->ledger_error, message.get());
    }
  }
  return nullptr;
}

// Numbers of accounts, tags and groups in rows that many buffers share.
struct Shared {
  explicit Shared(const LedgerView& ledger) : view(ledger) {
    for (const LedgerAccount& account : view.accounts) {
      if (account.index >= account_place.size()) account_place.resize(size_t{account.index} + 1, SIZE_MAX);
      account_place[account.index] = static_cast<size_t>(&account - view.accounts.data());
    }
    for (const LedgerAccount& account : view.accounts) {
      const LedgerKind* kind = view.kind(account.kind);
      kinds.emplace_back(Text(kind != nullptr ? kind->name : "kind " + std::to_string(account.kind)));
    }
    for (uint32_t tag = 0; tag < view.tags.size(); ++tag) tags.emplace_back(Text(view.tag_path(tag)));
  }

  static PyObject* Text(const std::string& text) {
    return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  }
  const LedgerAccount* account(uint32_t index) const {
    return index < account_place.size() && account_place[index] != SIZE_MAX ? &view.accounts[account_place[index]]
                                                                            : nullptr;
  }
  PyObject* kind(uint32_t index) const {
    return account(index) != nullptr ? kinds[account_place[index]].get() : Py_None;
  }
  PyObject* tag(uint32_t index) const { return index < tags.size() && tags[index] ? tags[index].get() : Py_None; }

  const LedgerView& view;
  std::vector<size_t> account_place;
  std::vector<Ref> kinds;
  std::vector<Ref> tags;
};

PyObject* DeviceRow(const LedgerDevice& device) {
  return Row(10)
      .Number(device.index)
      .Text(Hex(device.id))
      .Signed(device.local_index)
      .Text(device.vendor)
      .Text(device.architecture)
      .Maybe(device.pci_address)
      .Maybe(device.parent)
      .Number(device.physical_bytes)
      .Bool(device.closed_at_ns.has_value())
      .Number(device.id_scheme)
      .Done();
}

PyObject* AccountRow(const Shared& shared, const LedgerAccount& account) {
  const LedgerKind* kind = shared.view.kind(account.kind);
  const LedgerKind* memory = kind != nullptr ? shared.view.kind(kind->memory) : nullptr;
  return Row(21)
      .Number(account.device)
      .Share(shared.kind(account.index))
      .Text(memory != nullptr ? memory->name : "")
      .Bool(kind != nullptr && (kind->overlaps || kind->inside.has_value() || kind->on_host))
      .Number(account.banks)
      .Number(account.capacity_bytes)
      .Number(account.capacity_bytes_per_bank)
      .Number(account.live.count)
      .Number(account.live.bytes_requested)
      .Number(account.live.bytes_reserved)
      .Number(account.peak_requested)
      .Number(account.peak_reserved)
      .Number(account.peak_reserved_slack)
      .Number(account.allocated.count)
      .Number(account.freed.count)
      .Number(account.released.count)
      .Number(account.released.bytes_reserved)
      .Number(account.failed_allocations)
      .Number(account.failed_requested)
      .Number(account.imported)
      .Number(account.imported_requested)
      .Done();
}

PyObject* BufferRow(const Shared& shared, const LedgerBuffer& buffer) {
  const LedgerAccount* account = shared.account(buffer.account);
  return Row(13)
      .Number(buffer.id)
      .Number(account != nullptr ? account->device : 0)
      .Share(shared.kind(buffer.account))
      .Number(buffer.address)
      .Number(buffer.bytes_requested)
      .Number(buffer.bytes_per_bank)
      .Number(buffer.bytes_per_bank * (account != nullptr ? account->banks : 1))
      .Share(shared.tag(buffer.tag))
      .Number(buffer.group)
      .Number(buffer.thread_id)
      .Number(buffer.time_ns)
      .Bool(buffer.imported)
      .Bool(buffer.released)
      .Done();
}

PyObject* EventRow(const Shared& shared, const LedgerEvent& event) {
  const LedgerAccount* account = event.account ? shared.account(*event.account) : nullptr;
  return Row(13)
      .Number(event.time_ns)
      .Take(PyUnicode_FromString(OperationName(event.operation)))
      .Share(event.account ? shared.kind(*event.account) : Py_None)
      .Share(shared.tag(event.tag))
      .Number(event.id)
      .Number(event.address)
      .Number(event.bytes_requested)
      .Number(event.bytes_per_bank)
      .Number(event.bytes_per_bank * (account != nullptr ? account->banks : 1))
      .Maybe(account != nullptr ? std::optional<uint64_t>(account->device) : std::nullopt)
      .Number(event.thread_id)
      .Number(event.lane)
      .Number(event.number)
      .Done();
}

PyObject* ViewRow(const LedgerView& view, bool with_events) {
  const Shared shared(view);
  Row counters(10);
  for (const uint64_t number :
       {view.counters.lost_events, view.counters.lost_bytes, view.counters.lost_tags, view.counters.lost_groups,
        view.counters.lost_registrations, view.counters.signal_overflow, view.counters.paused_events,
        view.counters.refused_pages, view.counters.events, view.counters.unread_events}) {
    counters.Number(number);
  }
  Ref anomalies(PyDict_New());
  if (!anomalies) return nullptr;
  for (size_t i = 0; i < view.anomalies.size(); ++i) {
    const Ref count(PyLong_FromUnsignedLongLong(view.anomalies[i].count));
    if (!count || PyDict_SetItemString(anomalies.get(), kAnomalies[i], count.get()) != 0) return nullptr;
  }
  Row row(18);
  row.Text(view.path)
      .Number(view.visible_pid != 0 ? view.visible_pid : view.identity.pid)
      .Number(view.identity.parent_pid)
      .Text(view.identity.comm)
      .Text(Hex(view.identity.run_id))
      .Text(Hex(view.identity.launch_id))
      .Take(PyUnicode_FromString(LivenessName(view.liveness)))
      .Bool(view.exited_normally)
      .Bool(view.totals_exact && view.buffers_exact)
      .Number(view.start_time_ns)
      .Take(List(view.gaps, Shared::Text))
      .Take(List(view.devices, DeviceRow))
      .Take(List(view.accounts, [&](const LedgerAccount& account) { return AccountRow(shared, account); }))
      .Take(List(view.buffers, [&](const LedgerBuffer& buffer) { return BufferRow(shared, buffer); }))
      .Take(
          List(view.groups, [](const LedgerGroup& group) { return Row(2).Number(group.id).Text(group.name).Done(); }));
  static const std::vector<LedgerEvent> kNoEvents;
  row.Take(
      List(with_events ? view.events : kNoEvents, [&](const LedgerEvent& event) { return EventRow(shared, event); }));
  row.Take(anomalies.release()).Take(counters.Done());
  return row.Done();
}

// read(path, with_events) -> the ledger.
PyObject* Read(PyObject* module, PyObject* arguments) {
  const char* path = nullptr;
  int with_events = 0;
  if (PyArg_ParseTuple(arguments, "sp", &path, &with_events) == 0) return nullptr;
  const std::string name = path;
  LedgerView view;
  LedgerError error;
  bool done = false;
  Py_BEGIN_ALLOW_THREADS;
  {
    const std::lock_guard guard(ReadingLock());
    const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(name, &error);
    done = reader != nullptr && reader->Read(ReadLevel::kAll, &view, &error);
  }
  Py_END_ALLOW_THREADS;
  if (!done) return Raise(StateOf(module), error);
  return ViewRow(view, with_events != 0);
}

// find() -> (paths of all ledgers, what could not be looked at)
PyObject* Find(PyObject*, PyObject*) {
  std::vector<std::string> problems;
  std::vector<LedgerPlace> places;
  Py_BEGIN_ALLOW_THREADS;
  {
    const std::lock_guard guard(ReadingLock());
    places = FindLedgers(&problems);
  }
  Py_END_ALLOW_THREADS;
  return Row(2)
      .Take(List(places, [](const LedgerPlace& place) { return PyUnicode_DecodeFSDefault(place.path.c_str()); }))
      .Take(List(problems, Shared::Text))
      .Done();
}

PyMethodDef functions[] = {
    {"read", Read, METH_VARARGS, nullptr},
    {"find", Find, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int AddLedgers(PyObject* module) {
  ModuleState* state = StateOf(module);
  state->ledger_error =
      PyErr_NewExceptionWithDoc("memtally.LedgerError", "A ledger that cannot be read.", PyExc_RuntimeError, nullptr);
  if (state->ledger_error == nullptr || PyModule_AddObjectRef(module, "LedgerError", state->ledger_error) != 0)
    return -1;
  return PyModule_AddFunctions(module, functions);
}

}  // namespace memtally::python
