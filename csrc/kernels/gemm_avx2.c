/* float32 and int16 on AVX2. */
#include "../target.h"
#if EDGE_X86_64
#include "avx2.h"

#define EDGE_ISA avx2
#define EDGE_LANES 8
#define EDGE_ROWS 6

typedef int32_t edge_pairs __attribute__((vector_size(32)));

/* sum + weights * pair, for pairs of int16, modulo 2^32. */
EDGE_INLINE edge_pairs add_products(edge_pairs sum, edge_pairs weights, int32_t pair) {
  return (edge_pairs)_mm256_add_epi32((__m256i)sum,
                                      _mm256_madd_epi16((__m256i)weights, _mm256_set1_epi32(pair)));
}

#include "gemm.h"

#include "avx2_end.h"
#endif
