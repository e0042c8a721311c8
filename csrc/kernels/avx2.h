/* What the AVX2 kernels share. Compiled for AVX2 by pragma, so that the whole core builds with one
 * command line; nothing outside of kernels/ may include it. */
#ifndef EDGE_KERNELS_AVX2_H
#define EDGE_KERNELS_AVX2_H

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "../kernels.h"
#include "../requantize.h"

#define EDGE_INLINE static inline __attribute__((always_inline))

typedef struct edge_avx2_range {
  __m256 most; /* max - zero point: keeps the conversion in range, as XNNPACK does */
  __m256i zero_point;
  __m128i min;
} edge_avx2_range;

EDGE_INLINE edge_avx2_range edge_avx2_range_of(const edge_qs8_output *output) {
  return (edge_avx2_range){
      _mm256_set1_ps((float)(output->max - output->zero_point)),
      _mm256_set1_epi16((int16_t)output->zero_point),
      _mm_set1_epi8((int8_t)output->min),
  };
}

/* 16 accumulators to int8. The packing of 32 to 16 bits works within 128-bit halves: of `low` =
 * a0-3 b0-3 and `high` = c0-3 d0-3 the result is a c b d. */
EDGE_INLINE __m128i edge_avx2_requantize(__m256i low, __m256i high, __m256 scale_low,
                                         __m256 scale_high, edge_avx2_range range) {
  const __m256 x = _mm256_min_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(low), scale_low), range.most);
  const __m256 y = _mm256_min_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(high), scale_high), range.most);
  const __m256i pairs = _mm256_adds_epi16(
      _mm256_packs_epi32(_mm256_cvtps_epi32(x), _mm256_cvtps_epi32(y)), range.zero_point);
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  return _mm_max_epi8(bytes, range.min);
}

/* Writes the first `count` of 16 bytes. */
EDGE_INLINE void edge_avx2_store(int8_t *out, __m128i bytes, size_t count) {
  if (count >= 16) {
    _mm_storeu_si128((__m128i *)out, bytes);
    return;
  }
  int8_t all[16];
  _mm_storeu_si128((__m128i *)all, bytes);
  memcpy(out, all, count);
}

#endif
