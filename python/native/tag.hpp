// SPDX-License-Identifier: Apache-2.0
//
// Tags that follow Python's contexts.
//
// A context variable holds the innermost *frame*: a name, and the frame around it.  Tasks and contexts copy the
// variable, so that each has its own stack; threads begin with none.  The tracker's own notion, one tag a thread, is
// set when a frame is entered or left, and when a task goes on; then allocations of native code have the right tag,
// too.
#pragma once

#include <memtally/track.h>

#include "python_api.hpp"

namespace memtally::python {

// While one lives, this thread's allocations have the tag of the present context, even if the thread has none itself:
// in a function that a context was carried to.
class ContextTag {
 public:
  ContextTag(ModuleState* state, const memtally_api* api);
  ~ContextTag();
  ContextTag(const ContextTag&) = delete;
  ContextTag& operator=(const ContextTag&) = delete;

 private:
  const memtally_api* api_ = nullptr;  // to be given back to, null: nothing was changed
};

}  // namespace memtally::python
