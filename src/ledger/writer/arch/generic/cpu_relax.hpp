// SPDX-License-Identifier: Apache-2.0
//
// Spin loops on processors without a hint for them that all compilers know.
#pragma once

namespace memtally::writer {
inline void ArchCpuRelax() { __asm__ volatile("" ::: "memory"); }
}  // namespace memtally::writer
