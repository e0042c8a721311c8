/* int8 matrix product by SDOT: four products of int8 and their sum, modulo 2^32, in one lane.
 *
 * A tile of 4 x 16 has 16 accumulators. 16 elements of each row are loaded at once and multiplied
 * four by four with 16 columns of weights.
 */
#include "../target.h"
#if EDGE_NEON_DOT
#define EDGE_FOR_NEON_DOT
#include "neon.h"

enum { MR = 4, NR = 16, KR = 4, QUADS = NR / 4, LOAD = 16 };

/* Four k of all rows. A macro, because the lane must be a literal. */
#define STEP(lane)                                             \
  do {                                                         \
    for (size_t q = 0; q < QUADS; q++) {                       \
      const int8x16_t w = vld1q_s8(weights + 16 * q);          \
      for (size_t r = 0; r < rows; r++) {                      \
        acc[r][q] = vdotq_laneq_s32(acc[r][q], w, x[r], lane); \
      }                                                        \
    }                                                          \
    weights += NR * KR;                                        \
  } while (0)

/* One group of four, in the first lane. */
EDGE_INLINE int8x16_t load_group(const int8_t *group) {
  int32_t four;
  memcpy(&four, group, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

EDGE_INLINE const int8_t *add_run(const edge_qs8_gemm *g, size_t rows, const int8_t *lhs,
                                  const int8_t *weights, int32x4_t acc[][QUADS]) {
  int8x16_t x[MR];
  size_t k = 0;
  for (; k + LOAD <= g->depth; k += LOAD) {
    for (size_t r = 0; r < rows; r++) x[r] = vld1q_s8(lhs + (ptrdiff_t)r * g->lhs_row + k);
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
  }
  for (; k < g->depth; k += KR) {
    for (size_t r = 0; r < rows; r++) x[r] = load_group(lhs + (ptrdiff_t)r * g->lhs_row + k);
    STEP(0);
  }
  return weights;
}

/* `rows` is a constant wherever this is inlined. */
EDGE_INLINE void tile(const edge_qs8_gemm *g, size_t rows, const int8_t *lhs, int8_t *out) {
  int32x4_t acc[MR][QUADS];
  const int8_t *weights = g->weights;
  for (size_t r = 0; r < rows; r++) {
    for (size_t q = 0; q < QUADS; q++) acc[r][q] = vld1q_s32(g->bias + 4 * q);
  }
  for (size_t t = 0; t < g->runs; t++) {
    weights = add_run(g, rows, lhs + g->lhs_runs[t], weights, acc);
  }
  edge_neon_store_rows(g, rows, QUADS, acc[0], out);
}

void edge_qs8_gemm__neondot(const edge_qs8_gemm *g) {
  EDGE_NEON_TILES(g, tile, int8_t);
}

#include "neon_end.h"
#endif
