/* int8 matrix product by SMMLA: two rows times two columns, eight elements deep, in one register,
 * modulo 2^32.
 *
 * Two neighbouring columns of a group of eight weights are one register as they are packed. A tile
 * of 4 x 16 is 2 pairs of rows x 8 pairs of columns; a pair without a second row repeats the first.
 */
#include "../target.h"
#if EDGE_NEON_DOT
#define EDGE_FOR_NEON_I8MM
#include "neon.h"

enum { MR = 4, NR = 16, KR = 8, QUADS = NR / 4, PAIRS = NR / 2 };

/* Accumulators of rows r and r + 1, columns c and c + 1: [r, c] [r, c + 1] [r + 1, c] [r + 1, c +
 * 1]
 */
typedef int32x4_t edge_block;

EDGE_INLINE int8x16_t load_rows(const edge_qs8_gemm *g, size_t rows, size_t r, const int8_t *lhs) {
  const size_t second = r + 1 < rows ? r + 1 : r;
  return vcombine_s8(vld1_s8(lhs + (ptrdiff_t)r * g->lhs_row),
                     vld1_s8(lhs + (ptrdiff_t)second * g->lhs_row));
}

EDGE_INLINE void store(const edge_qs8_gemm *g, size_t rows, edge_block acc[][PAIRS], int8_t *out) {
  int32x4_t sums[MR][QUADS];
  for (size_t r = 0; r < rows; r++) {
    for (size_t q = 0; q < QUADS; q++) {
      const edge_block a = acc[r / 2][2 * q];
      const edge_block b = acc[r / 2][2 * q + 1];
      sums[r][q] = r % 2 == 0 ? vcombine_s32(vget_low_s32(a), vget_low_s32(b))
                              : vcombine_s32(vget_high_s32(a), vget_high_s32(b));
    }
  }
  edge_neon_store_rows(g, rows, QUADS, sums[0], out);
}

/* `rows` is a constant wherever this is inlined. */
EDGE_INLINE void tile(const edge_qs8_gemm *g, size_t rows, const int8_t *lhs, int8_t *out) {
  edge_block acc[MR / 2][PAIRS];
  const int8_t *weights = g->weights;
  for (size_t r = 0; r < rows; r += 2) {
    for (size_t p = 0; p < PAIRS; p++) {
      const int32x2_t bias = vld1_s32(g->bias + 2 * p);
      acc[r / 2][p] = vcombine_s32(bias, bias);
    }
  }
  for (size_t t = 0; t < g->runs; t++) {
    const int8_t *run = lhs + g->lhs_runs[t];
    for (size_t k = 0; k < g->depth; k += KR) {
      int8x16_t x[MR / 2];
      for (size_t r = 0; r < rows; r += 2) x[r / 2] = load_rows(g, rows, r, run + k);
      for (size_t p = 0; p < PAIRS; p++) {
        const int8x16_t w = vld1q_s8(weights + 16 * p);
        for (size_t r = 0; r < rows; r += 2) acc[r / 2][p] = vmmlaq_s32(acc[r / 2][p], x[r / 2], w);
      }
      weights += NR * KR;
    }
  }
  store(g, rows, acc, out);
}

void edge_qs8_gemm__neoni8mm(const edge_qs8_gemm *g) {
  EDGE_NEON_TILES(g, tile, int8_t);
}

#include "neon_end.h"
#endif
