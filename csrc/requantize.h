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

static inline int8_t edge_requantize_float(int32_t accumulator, float scale,
                                           const edge_qs8_output *output) {
  const float min = (float)(output->min - output->zero_point);
  const float max = (float)(output->max - output->zero_point);
  float value = (float)accumulator * scale;
  value = value < min ? min : value > max ? max : value;
  return (int8_t)(edge_round_even(value) + output->zero_point);
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

static inline int8_t edge_requantize_fixed(int32_t accumulator, edge_fixed fixed,
                                           const edge_qs8_output *output) {
  const int64_t value = (int64_t)edge_multiply(accumulator, fixed) + output->zero_point;
  return (int8_t)edge_clamp(value, output->min, output->max);
}

static inline int8_t edge_requantize(int32_t accumulator, size_t channel,
                                     const edge_qs8_output *output) {
  return output->scale ? edge_requantize_float(accumulator, output->scale[channel], output)
                       : edge_requantize_fixed(accumulator, output->fixed[channel], output);
}

#endif
