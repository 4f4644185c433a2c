// SPDX-License-Identifier: Apache-2.0
//
// Which of the sixteen 32-bit entries of a cache line equal a value under a mask: SSE2.
#pragma once

#include <emmintrin.h>

#include <cstdint>

namespace memtally::writer {

// Bit i is set if (line[i] & mask) == value.  `line` is 64-byte aligned.
inline uint32_t MatchLine(const uint32_t* line, uint32_t mask, uint32_t value) {
  const __m128i m = _mm_set1_epi32(static_cast<int>(mask));
  const __m128i v = _mm_set1_epi32(static_cast<int>(value));
  const __m128i* quads = reinterpret_cast<const __m128i*>(line);
  const __m128i a = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(quads), m), v);
  const __m128i b = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(quads + 1), m), v);
  const __m128i c = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(quads + 2), m), v);
  const __m128i d = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(quads + 3), m), v);
  const __m128i low = _mm_packs_epi32(a, b);
  const __m128i high = _mm_packs_epi32(c, d);
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
}

// The same, and *empty has bit i set if line[i] == 0.
inline uint32_t MatchLineTwice(const uint32_t* line, uint32_t mask, uint32_t value, uint32_t* empty) {
  const __m128i m = _mm_set1_epi32(static_cast<int>(mask));
  const __m128i v = _mm_set1_epi32(static_cast<int>(value));
  const __m128i zero = _mm_setzero_si128();
  const __m128i* quads = reinterpret_cast<const __m128i*>(line);
  const __m128i a = _mm_load_si128(quads);
  const __m128i b = _mm_load_si128(quads + 1);
  const __m128i c = _mm_load_si128(quads + 2);
  const __m128i d = _mm_load_si128(quads + 3);
  const __m128i low = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_and_si128(a, m), v), _mm_cmpeq_epi32(_mm_and_si128(b, m), v));
  const __m128i high =
      _mm_packs_epi32(_mm_cmpeq_epi32(_mm_and_si128(c, m), v), _mm_cmpeq_epi32(_mm_and_si128(d, m), v));
  const __m128i empty_low = _mm_packs_epi32(_mm_cmpeq_epi32(a, zero), _mm_cmpeq_epi32(b, zero));
  const __m128i empty_high = _mm_packs_epi32(_mm_cmpeq_epi32(c, zero), _mm_cmpeq_epi32(d, zero));
  *empty = static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(empty_low, empty_high)));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
}

}  // namespace memtally::writer
