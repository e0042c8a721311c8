/* From accumulators to int8: the arithmetic that scalar kernels and operators share.
 *
 * Two ways, both of LiteRT on x86-64 (docs/numerics.md says which operator takes which):
 *   float32     XNNPACK: multiply in float32, round half to even
 *   fixed point the optimised kernels: a 32-bit multiplier and two roundings
 */
#ifndef EDGE_REQUANTIZE_H
#define EDGE_REQUANTIZE_H

#include <math.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "kernels.h"

/* Nearest, halves to even. The value must fit int32. */
static inline int32_t edge_round_even(float value) {
#if defined(__SSE2__)
  return _mm_cvtss_si32(_mm_set_ss(value)); /* lrintf() is a call in many C libraries */
#else
  return (int32_t)lrintf(value);
#endif
}

static inline int32_t edge_clamp(int64_t value, int32_t min, int32_t max) {
  return (int32_t)(value < min ? min : value > max ? max : value);
}

/* Arithmetic modulo 2^32, as the accumulators of all paths do it. */
static inline int32_t edge_wrap(int64_t value) {
  const uint32_t low = (uint32_t)(uint64_t)value;
  return low <= INT32_MAX ? (int32_t)low : (int32_t)(low - INT32_MAX - 1) + INT32_MIN;
}

/* value / 2^shift, halves away from zero; shift in 0 ... 31. */
static inline int32_t edge_round_shift(int32_t value, int32_t shift) {
  const int64_t mask = (INT64_C(1) << shift) - 1;
  const int64_t threshold = (mask >> 1) + (value < 0);
  return (int32_t)(((int64_t)value >> shift) + (((int64_t)value & mask) > threshold));
}

/* Any output of 8 or 16 bits. */
static inline int32_t edge_rescale_float(int32_t accumulator, float scale,
                                         const edge_qs8_output *output) {
  const float min = (float)(output->min - output->zero_point);
  const float max = (float)(output->max - output->zero_point);
  float value = (float)accumulator * scale;
  value = value < min ? min : value > max ? max : value;
  return edge_round_even(value) + output->zero_point;
}

static inline int8_t edge_requantize_float(int32_t accumulator, float scale,
                                           const edge_qs8_output *output) {
  return (int8_t)edge_rescale_float(accumulator, scale, output);
}

/* (value * 2^left * multiplier + 2^30) >> 31, then a rounding shift to the right. */
static inline int32_t edge_multiply(int32_t value, edge_fixed fixed) {
  const int32_t left = fixed.exponent > 0 ? fixed.exponent : 0;
  const int32_t right = fixed.exponent < 0 ? -fixed.exponent : 0;
  const int64_t shifted = edge_wrap((int64_t)((uint64_t)(int64_t)value << left));
  const int64_t high = (shifted * fixed.multiplier + (INT64_C(1) << 30)) >> 31;
  if (right == 0) return edge_wrap(high);
  if (!fixed.away) return (int32_t)((high + (INT64_C(1) << (right - 1))) >> right);
  const int64_t mask = (INT64_C(1) << right) - 1;
  const int64_t threshold = (mask >> 1) + (high < 0);
  return (int32_t)((high >> right) + ((high & mask) > threshold));
}

static inline int32_t edge_rescale_fixed(int32_t accumulator, edge_fixed fixed,
                                         const edge_qs8_output *output) {
  const int64_t value = (int64_t)edge_multiply(accumulator, fixed) + output->zero_point;
  return edge_clamp(value, output->min, output->max);
}

static inline int8_t edge_requantize_fixed(int32_t accumulator, edge_fixed fixed,
                                           const edge_qs8_output *output) {
  return (int8_t)edge_rescale_fixed(accumulator, fixed, output);
}

/* An int64 accumulator by the upper 16 bits of the multiplier, rounded once, halves up; modulo
 * 2^64. The exponent is at most 14. */
static inline int32_t edge_multiply_wide(int64_t value, edge_fixed fixed) {
  const int32_t reduced =
      fixed.multiplier < 0x7FFF0000 ? (fixed.multiplier + (1 << 15)) >> 16 : 0x7FFF;
  const int32_t shift = 15 - fixed.exponent;
  const uint64_t rounded =
      (uint64_t)value * (uint64_t)reduced + (UINT64_C(1) << (uint32_t)(shift - 1));
  const uint64_t sign = rounded >> 63 ? ~(UINT64_MAX >> shift) : 0;
  return edge_wrap((int64_t)(rounded >> shift | sign));
}

static inline int8_t edge_requantize(int32_t accumulator, size_t channel,
                                     const edge_qs8_output *output) {
  return output->scale ? edge_requantize_float(accumulator, output->scale[channel], output)
                       : edge_requantize_fixed(accumulator, output->fixed[channel], output);
}

#endif
