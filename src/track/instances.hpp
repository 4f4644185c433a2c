// SPDX-License-Identifier: Apache-2.0
//
// Instances: all copies of this library and all gates of track.h in the process, found through ELF notes of the loaded
// objects.
#pragma once

#include <memtally/track.h>

namespace memtally::track {

// The calls of the first copy of the library that was loaded: this one's, or another's.
const memtally_api* PrimaryApi(const memtally_api* own);

// Opens every gate that has not found a library.
void OpenGates(const memtally_api* api);

}  // namespace memtally::track
