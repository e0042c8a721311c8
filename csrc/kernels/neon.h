/* What the NEON kernels share. Compiled for their instructions by pragma, as avx2.h is: define
 * EDGE_FOR_NEON_DOT or EDGE_FOR_NEON_I8MM before including this. Nothing outside of kernels/ may.
 *
 * One source for both Arms: where 32-bit Arm lacks an instruction, an inline function below stands
 * for it. There NEON takes denormal floats for 0, scalar code does not. That cannot be seen in an
 * int8: a product that either side holds for denormal rounds to 0, and so does one with a denormal
 * scale, which is at most 2^31 * 2^-126.
 */
#ifndef EDGE_KERNELS_NEON_H
#define EDGE_KERNELS_NEON_H

#if defined(__clang__)
#if defined(EDGE_FOR_NEON_I8MM)
#pragma clang attribute push(__attribute__((target("i8mm"))), apply_to = function)
#elif defined(EDGE_FOR_NEON_DOT)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma clang attribute push
#endif
#else
#pragma GCC push_options
#if defined(EDGE_FOR_NEON_I8MM)
#pragma GCC target("arch=armv8.2-a+i8mm")
#elif defined(EDGE_FOR_NEON_DOT)
#pragma GCC target("arch=armv8.2-a+dotprod")
#elif !defined(__aarch64__)
#pragma GCC target("fpu=neon")
#endif
#endif

#include <arm_neon.h>
#include <string.h>

#include "../kernels.h"

#define EDGE_INLINE static inline __attribute__((always_inline))

/* Nearest, halves to even, for values within one byte or two around 0. */
EDGE_INLINE int32x4_t edge_neon_round_even(float32x4_t value) {
#ifdef __aarch64__
  return vcvtnq_s32_f32(value);
#else
  /* The sum is in [2^23, 2^24), where neighbouring floats are 1 apart: the addition rounds. */
  const float32x4_t magic = vdupq_n_f32(12582912.0F); /* 1.5 * 2^23 */
  return vsubq_s32(vreinterpretq_s32_f32(vaddq_f32(value, magic)), vreinterpretq_s32_f32(magic));
#endif
}

/* Four accumulators to the outputs of edge_requantize_float(), still int32. */
EDGE_INLINE int32x4_t edge_neon_float(int32x4_t sum, const float *scale,
                                      const edge_qs8_output *output) {
  const float32x4_t min = vdupq_n_f32((float)(output->min - output->zero_point));
  const float32x4_t max = vdupq_n_f32((float)(output->max - output->zero_point));
  const float32x4_t value = vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(scale));
  return vaddq_s32(edge_neon_round_even(vminq_f32(vmaxq_f32(value, min), max)),
                   vdupq_n_s32(output->zero_point));
}

/* Four accumulators to the outputs of edge_requantize_fixed(), still int32. The instructions are
 * exact where the scalar code computes in int64: vqrdmulh saturates for two times -2^31 only, and
 * no multiplier is negative; vrshl rounds before it cuts; and where the sums below saturate, the
 * result is beyond the range that they are clamped to, or the same. */
EDGE_INLINE int32x4_t edge_neon_fixed(int32x4_t sum, const edge_fixed *fixed,
                                      const edge_qs8_output *output) {
  const int32x4x2_t pair = vld2q_s32((const int32_t *)(const void *)fixed);
  const int32x4_t exponent = vshrq_n_s32(vshlq_n_s32(pair.val[1], 16), 16);
  const int32x4_t away = vnegq_s32(vshrq_n_s32(pair.val[1], 16));
  const int32x4_t left = vmaxq_s32(exponent, vdupq_n_s32(0));
  const int32x4_t right = vminq_s32(exponent, vdupq_n_s32(0));
  const int32x4_t high = vqrdmulhq_s32(vshlq_s32(sum, left), pair.val[0]);
  /* -1 where a half below zero is to be rounded away from it: vrshl alone rounds up. */
  const int32x4_t down = vandq_s32(vshrq_n_s32(vandq_s32(high, right), 31), away);
  const int32x4_t value =
      vqaddq_s32(vrshlq_s32(vqaddq_s32(high, down), right), vdupq_n_s32(output->zero_point));
  return vminq_s32(vmaxq_s32(value, vdupq_n_s32(output->min)), vdupq_n_s32(output->max));
}

/* Eight accumulators, of channels `c` ... c + 7 of `output`, to int8. `by_float`, a constant where
 * this is inlined, says which of the two forms `output` has. */
EDGE_INLINE int8x8_t edge_neon_requantize(const int32x4_t *sums, size_t c,
                                          const edge_qs8_output *output, int by_float) {
  int32x4_t low;
  int32x4_t high;
  if (by_float) {
    low = edge_neon_float(sums[0], output->scale + c, output);
    high = edge_neon_float(sums[1], output->scale + c + 4, output);
  } else {
    low = edge_neon_fixed(sums[0], output->fixed + c, output);
    high = edge_neon_fixed(sums[1], output->fixed + c + 4, output);
  }
  return vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high)));
}

/* Writes the first `count` of 8 bytes. */
EDGE_INLINE void edge_neon_store(int8_t *out, int8x8_t bytes, size_t count) {
  if (count >= 8) {
    vst1_s8(out, bytes);
    return;
  }
  int8_t all[8];
  vst1_s8(all, bytes);
  memcpy(out, all, count);
}

EDGE_INLINE void edge_neon_store_as(const edge_qs8_gemm *g, size_t rows, size_t quads,
                                    const int32x4_t *sums, int8_t *out, int by_float) {
  for (size_t r = 0; r < rows; r++) {
    for (size_t c = 0; c < 4 * quads && c < g->columns; c += 8) {
      edge_neon_store(out + (ptrdiff_t)r * g->out_row + c,
                      edge_neon_requantize(sums + r * quads + c / 4, c, &g->output, by_float),
                      g->columns - c);
    }
  }
}

/* Accumulators [rows][quads] of 4 columns to the outputs of a panel. */
EDGE_INLINE void edge_neon_store_rows(const edge_qs8_gemm *g, size_t rows, size_t quads,
                                      const int32x4_t *sums, int8_t *out) {
  if (g->output.scale != NULL) {
    edge_neon_store_as(g, rows, quads, sums, out, 1);
  } else {
    edge_neon_store_as(g, rows, quads, sums, out, 0);
  }
}

/* The body of a matrix product: tile(g, rows, lhs, out) over tiles of nearly equal height of up to
 * 4 rows (5 run as 3 + 2), `rows` being a constant in each call. */
#define EDGE_NEON_TILES(g, tile, element)                      \
  do {                                                         \
    const element *lhs = (g)->lhs;                             \
    int8_t *out = (g)->out;                                    \
    const size_t tiles = ((g)->rows + 3) / 4;                  \
    for (size_t i = 0; i < tiles; i++) {                       \
      const size_t rows = ((g)->rows + tiles - 1 - i) / tiles; \
      switch (rows) {                                          \
        case 4:                                                \
          tile(g, 4, lhs, out);                                \
          break;                                               \
        case 3:                                                \
          tile(g, 3, lhs, out);                                \
          break;                                               \
        case 2:                                                \
          tile(g, 2, lhs, out);                                \
          break;                                               \
        default:                                               \
          tile(g, 1, lhs, out);                                \
      }                                                        \
      lhs += (ptrdiff_t)rows * (g)->lhs_row;                   \
      out += (ptrdiff_t)rows * (g)->out_row;                   \
    }                                                          \
  } while (0)

#endif
