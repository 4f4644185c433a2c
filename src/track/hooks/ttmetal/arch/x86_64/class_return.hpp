// SPDX-License-Identifier: Apache-2.0
//
// CallForClass: calls a C++ member function that returns a class by value, such as a std::vector, through memory.
#pragma once

namespace memtally::track::ttmetal {

// Bytes of zeros that CallForClass is given.  More than the object needs: if the function returns a reference after
// all, it takes this for its object and finds zeros there.
inline constexpr unsigned kClassRoom = 4096;

// The function's class goes to `room`.  Returns false if the function did not return one by value: there is nothing in
// `room` then, and the function must not be called again.
inline bool CallForClass(void* function, const void* object, void* room) {
  // Such a function takes the address as a hidden first argument and returns it.
  return reinterpret_cast<void* (*)(void*, const void*)>(function)(room, object) == room;
}

}  // namespace memtally::track::ttmetal
