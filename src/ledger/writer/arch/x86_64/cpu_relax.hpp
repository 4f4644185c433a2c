// SPDX-License-Identifier: Apache-2.0
//
// Tells an x86-64 processor that this is a spin loop.
#pragma once

namespace memtally::writer {
inline void ArchCpuRelax() { __builtin_ia32_pause(); }
}  // namespace memtally::writer
