// SPDX-License-Identifier: Apache-2.0
//
// CallForClass: calls a C++ member function that returns a class by value, such as a std::vector, through memory.
#pragma once

#include <new>

namespace memtally::track::ttmetal {

inline constexpr unsigned kClassRoom = 4096;

// The function's class goes to `room`, by the address in register x8.  Cannot see whether it really returned one: true.
inline bool CallForClass(void* function, const void* object, void* room) {
  struct Room {
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    char bytes[kClassRoom];
  };
  ::new (room) Room(reinterpret_cast<Room (*)(const void*)>(function)(object));
  return true;
}

}  // namespace memtally::track::ttmetal
