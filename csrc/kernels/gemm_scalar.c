/* float32 and int16 for the processor that the compiler was told of: x86-64's SSE2, aarch64's
 * NEON, or plain registers. */
#include <string.h>

#include "../kernels.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define EDGE_ISA scalar
#define EDGE_LANES 4
#define EDGE_ROWS 2

typedef int32_t edge_pairs __attribute__((vector_size(16)));

/* sum + weights * pair, for pairs of int16, modulo 2^32. */
static inline __attribute__((always_inline)) edge_pairs add_products(edge_pairs sum,
                                                                     edge_pairs weights,
                                                                     int32_t pair) {
#if defined(__SSE2__)
  return (edge_pairs)_mm_add_epi32((__m128i)sum,
                                   _mm_madd_epi16((__m128i)weights, _mm_set1_epi32(pair)));
#else
  int16_t w[8];
  int16_t x[2];
  uint32_t all[4];
  memcpy(w, &weights, sizeof w);
  memcpy(x, &pair, sizeof x);
  memcpy(all, &sum, sizeof all);
  for (int i = 0; i < 4; i++) {
    all[i] += (uint32_t)(w[2 * i] * x[0]) + (uint32_t)(w[2 * i + 1] * x[1]);
  }
  memcpy(&sum, all, sizeof sum);
  return sum;
#endif
}

#include "gemm.h"
