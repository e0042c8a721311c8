/* The kernels: what each family promises, and the tables that hold them.
 *
 * A table has one kernel of each family. kernels.inc lists them all; a model keeps the table that
 * it was packed for. Names are edge_<datatype>_<family>__<isa>, datatypes as XNNPACK abbreviates
 * them (qs8: int8, quantized). Scalar is the reference: every other kernel gives the same bits.
 *
 * A kernel may read EDGE_SLACK bytes past its operands, and uses none of them. It writes exactly
 * its output.
 */
#ifndef EDGE_KERNELS_H
#define EDGE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "target.h"

/* What a table needs of the processor. */
enum {
  EDGE_CPU_ANY = 0,
  EDGE_CPU_AVX2 = 1 << 0,
  EDGE_CPU_NEON = 1 << 1,
  EDGE_CPU_NEON_DOT = 1 << 2,  /* SDOT */
  EDGE_CPU_NEON_I8MM = 1 << 3, /* SMMLA */
};

/* The fixed-point form of a multiplier: multiplier * 2^(exponent - 31). With `away` the last shift
 * rounds halves away from zero, else up. Source: QuantizeMultiplier and its users in LiteRT,
 * tflite/kernels/internal/quantization_util.cc, common.cc. */
typedef struct edge_fixed {
  int32_t multiplier;
  int16_t exponent;
  int16_t away;
} edge_fixed;

/* From int32 accumulators to int8: real multipliers as float32, rounded half to even, or, where
 * `scale` is NULL, as fixed point. Then the zero point is added and the range applied. */
typedef struct edge_qs8_output {
  const float *scale;      /* [channels] */
  const edge_fixed *fixed; /* [channels] */
  int32_t zero_point;
  int32_t min, max;
} edge_qs8_output;

/* One panel of a matrix product: rows x columns outputs, columns <= nr of the table.
 *   out[r][c] = requantize(bias[c] + sum over runs t and k < depth of
 *                          lhs[r * lhs_row + lhs_runs[t] + k] * weights[t][k][c])
 * `lhs` holds elements as the table's qs8_lhs made them, offsets count elements. `depth` is a
 * multiple of kr; where the true depth is not, the weights beyond it are 0. */
typedef struct edge_qs8_gemm {
  size_t rows, columns, runs, depth;
  const void *lhs;
  ptrdiff_t lhs_row;
  const ptrdiff_t *lhs_runs; /* [runs] */
  const int8_t *weights;     /* [runs][depth / kr][nr][kr] */
  const int32_t *bias;       /* [nr] */
  edge_qs8_output output;    /* of this panel: its arrays are [nr] */
  int8_t *out;
  ptrdiff_t out_row;
} edge_qs8_gemm;

/* A row of a depthwise convolution.
 *   out[p][c] = requantize(bias[c] + sum over taps t of
 *                          input[p * pixel + taps[t] + c] * weights[t][c])
 * Weights are packed as the table's qs8_dwconv_pack leaves them. Arrays of channels are padded to a
 * multiple of EDGE_DWCONV_BLOCK. */
typedef struct edge_qs8_dwconv {
  size_t pixels, channels, tap_count;
  const int8_t *input;
  ptrdiff_t pixel;
  const ptrdiff_t *taps; /* [tap_count] */
  const void *weights;
  const int32_t *bias; /* [channels] */
  edge_qs8_output output;
  int8_t *out;
} edge_qs8_dwconv;

enum { EDGE_DWCONV_BLOCK = 16 };

/* Columns of a panel of float32 or int16 weights, on every ISA. */
enum { EDGE_PANEL = 16 };

/* One panel of a float32 product, columns <= EDGE_PANEL:
 *   out[r][c] = clamp(bias[c] + sum over runs t and k < depth, in this order, of
 *                     lhs[r * lhs_row + lhs_runs[t] + k] * weights[t][k][c])
 * Each product and each sum is rounded to float32. */
typedef struct edge_f32_gemm {
  size_t rows, columns, runs, depth;
  const float *lhs;
  ptrdiff_t lhs_row;
  const ptrdiff_t *lhs_runs; /* [runs] */
  const float *weights;      /* [runs][depth][EDGE_PANEL] */
  const float *bias;         /* [EDGE_PANEL] */
  float min, max;
  float *out;
  ptrdiff_t out_row;
} edge_f32_gemm;

/* The sums of one panel of an int16 product, modulo 2^32:
 *   out[r][c] = sum of lhs[r * lhs_row + lhs_runs[t] + k] * weights[t][k / 2][c][k % 2]
 * `depth` is even; where the true depth is not, the weights beyond it are 0. */
typedef struct edge_s16_gemm {
  size_t rows, runs, depth;
  const int16_t *lhs;
  ptrdiff_t lhs_row;
  const ptrdiff_t *lhs_runs; /* [runs] */
  const int16_t *weights;    /* [runs][depth / 2][EDGE_PANEL][2] */
  int32_t *out;              /* [rows][EDGE_PANEL] */
} edge_s16_gemm;

/* A row of a float32 depthwise convolution, clamped. `channels_packed` is `channels` rounded up to
 * EDGE_PANEL; weights and bias are padded to it. */
typedef struct edge_f32_dwconv {
  size_t pixels, channels, channels_packed, tap_count;
  const float *input;
  ptrdiff_t pixel;
  const ptrdiff_t *taps; /* [tap_count] */
  const float *weights;  /* [tap_count][channels_packed] */
  const float *bias;     /* [channels_packed] */
  float min, max;
  float *out; /* [pixels][channels] */
} edge_f32_dwconv;

/* The sums of a row of an int16 depthwise convolution, modulo 2^32. */
typedef struct edge_s16_dwconv {
  size_t pixels, channels_packed, tap_count;
  const int16_t *input;
  ptrdiff_t pixel;
  const ptrdiff_t *taps;  /* [tap_count] */
  const int16_t *weights; /* [tap_count][channels_packed] */
  int32_t *out;           /* [pixels][channels_packed] */
} edge_s16_dwconv;

/* ADD and SUB: clamp(((a - zero_a) * multiplier_a + (b - zero_b) * multiplier_b + half) >> shift)
 * + zero). `bias` holds the zero points' and the rounding's share. A stride of 0 repeats one
 * element. Source: XNNPACK src/qs8-vadd. */
typedef struct edge_qs8_vadd {
  int32_t bias, multiplier_a, multiplier_b, shift;
  int32_t zero_point;
  int32_t min, max;
} edge_qs8_vadd;

/* MUL: clamp(rint(float32((a - zero_a) * (b - zero_b)) * scale) + zero). Source: XNNPACK
 * src/qs8-vmul. */
typedef struct edge_qs8_vmul {
  int32_t zero_a, zero_b, zero_point;
  float scale;
  int32_t min, max;
} edge_qs8_vmul;

typedef void edge_qs8_gemm_fn(const edge_qs8_gemm *);
/* Copies `count` int8 values into the form that this table's qs8_gemm reads. */
typedef void edge_qs8_lhs_fn(void *out, const int8_t *in, size_t count);
typedef void edge_qs8_dwconv_fn(const edge_qs8_dwconv *);
/* Packs weights [taps][channels]; `packed` has edge_kernels.dwconv_size bytes for each tap (rounded
 * up to even) and channel (rounded up to a block). */
typedef void edge_qs8_dwconv_pack_fn(void *packed, const int8_t *weights, size_t taps,
                                     size_t channels);
typedef void edge_f32_gemm_fn(const edge_f32_gemm *);
typedef void edge_s16_gemm_fn(const edge_s16_gemm *);
typedef void edge_f32_dwconv_fn(const edge_f32_dwconv *);
typedef void edge_s16_dwconv_fn(const edge_s16_dwconv *);
typedef void edge_qs8_vadd_fn(int8_t *out, const int8_t *a, ptrdiff_t stride_a, const int8_t *b,
                              ptrdiff_t stride_b, size_t count, const edge_qs8_vadd *);
typedef void edge_qs8_vmul_fn(int8_t *out, const int8_t *a, ptrdiff_t stride_a, const int8_t *b,
                              ptrdiff_t stride_b, size_t count, const edge_qs8_vmul *);
/* out[i] = table[in[i]], the index taken as its unsigned byte. */
typedef void edge_x8_lut_fn(uint8_t *out, const uint8_t *in, size_t count, const uint8_t *table);
/* out[c] = max over the rows of `in`, each `channels` long, within [min, max]. */
typedef void edge_s8_maxpool_fn(int8_t *out, const int8_t *const *in, size_t rows, size_t channels,
                                int8_t min, int8_t max);
/* sum[c] += in[c] */
typedef void edge_s8_rowsum_fn(int32_t *sum, const int8_t *in, size_t channels);

typedef struct edge_kernels {
  const char *isa;
  uint32_t cpu;
  /* The tile of qs8_gemm: mr rows at once (a hint), panels of nr columns, weights in groups of kr,
   * and the bytes of an element of its left-hand side. */
  uint32_t mr, nr, kr, lhs_size;
  uint32_t dwconv_size; /* bytes of a packed depthwise weight */
  edge_qs8_gemm_fn *qs8_gemm;
  edge_qs8_lhs_fn *qs8_lhs;
  edge_qs8_dwconv_fn *qs8_dwconv;
  edge_qs8_dwconv_pack_fn *qs8_dwconv_pack;
  edge_f32_gemm_fn *f32_gemm;
  edge_s16_gemm_fn *s16_gemm;
  edge_f32_dwconv_fn *f32_dwconv;
  edge_s16_dwconv_fn *s16_dwconv;
  edge_qs8_vadd_fn *qs8_vadd;
  edge_qs8_vmul_fn *qs8_vmul;
  edge_x8_lut_fn *x8_lut;
  edge_s8_maxpool_fn *s8_maxpool;
  edge_s8_rowsum_fn *s8_rowsum;
} edge_kernels;

#define EDGE_TABLE(...)
#define EDGE_KERNEL(isa, type, family, from) \
  edge_##type##_##family##_fn edge_##type##_##family##__##from;
#define EDGE_TABLE_END
#include "kernels.inc"
#undef EDGE_TABLE
#undef EDGE_KERNEL
#undef EDGE_TABLE_END

#endif
