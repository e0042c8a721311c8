/* int8 matrix product on NEON without dot products: operands widened to int16, a column times one
 * lane of a row by smlal, exactly. Products of two int8 pairs would not fit int16 (-128 * -128
 * twice), so that smull and sadalp on int8 are no faster than this.
 *
 * A tile is 4 rows high. With 32 registers it is 16 columns wide: 16 accumulators, 2 of weights, 4
 * of the left-hand side. 32-bit Arm has 16 registers, and tiles of 8 columns.
 */
#include "../target.h"
#if EDGE_NEON
#include "neon.h"

enum {
#ifdef __aarch64__
  NR = 16,
#else
  NR = 8,
#endif
  MR = 4,
  QUADS = NR / 4,
  LANES = 4, /* elements of a row that are loaded at once */
};

void edge_qs8_lhs__neon(void *out, const int8_t *in, size_t count) {
  int16_t *o = out;
  size_t i = 0;
  for (; i + 8 <= count; i += 8) vst1q_s16(o + i, vmovl_s8(vld1_s8(in + i)));
  for (; i < count; i++) o[i] = in[i];
}

/* NR weights of one k, widened: quads of columns. */
EDGE_INLINE void load_weights(const int8_t *weights, int16x4_t *columns) {
  for (size_t i = 0; i < NR / 8; i++) {
    const int16x8_t wide = vmovl_s8(vld1_s8(weights + 8 * i));
    columns[2 * i] = vget_low_s16(wide);
    columns[2 * i + 1] = vget_high_s16(wide);
  }
}

/* One k of all rows. A macro, because the lane must be a literal. */
#define STEP(lane)                                               \
  do {                                                           \
    load_weights(weights, w);                                    \
    weights += NR;                                               \
    for (size_t r = 0; r < rows; r++) {                          \
      for (size_t q = 0; q < QUADS; q++) {                       \
        acc[r][q] = vmlal_lane_s16(acc[r][q], w[q], x[r], lane); \
      }                                                          \
    }                                                            \
  } while (0)

EDGE_INLINE const int8_t *add_run(const edge_qs8_gemm *g, size_t rows, const int16_t *lhs,
                                  const int8_t *weights, int32x4_t acc[][QUADS]) {
  int16x4_t w[QUADS];
  int16x4_t x[MR];
  size_t k = 0;
  for (; k + LANES <= g->depth; k += LANES) {
    for (size_t r = 0; r < rows; r++) x[r] = vld1_s16(lhs + (ptrdiff_t)r * g->lhs_row + k);
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
  }
  for (; k < g->depth; k++) {
    for (size_t r = 0; r < rows; r++) x[r] = vld1_dup_s16(lhs + (ptrdiff_t)r * g->lhs_row + k);
    STEP(0);
  }
  return weights;
}

/* `rows` is a constant wherever this is inlined. */
EDGE_INLINE void tile(const edge_qs8_gemm *g, size_t rows, const int16_t *lhs, int8_t *out) {
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

void edge_qs8_gemm__neon(const edge_qs8_gemm *g) {
  EDGE_NEON_TILES(g, tile, int16_t);
}

#include "neon_end.h"
#endif
