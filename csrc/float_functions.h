/* Functions of float32 tensors: relative error below 2^-19, in a form that compilers make vector
 * code of. Every step is a plain float32 or float64 operation, so that all machines give the same
 * bits. The tables of quantized operators take functions.h instead.
 */
#ifndef EDGE_FLOAT_FUNCTIONS_H
#define EDGE_FLOAT_FUNCTIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float edge_float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t edge_bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* e^x: x = n ln 2 + r, with Taylor's series of r. Adding 1.5 * 2^23 leaves the nearest integer in
 * the low bits. 2^n comes in two factors, as n may leave the exponents of float32. */
static inline float edge_fast_exp(float x) {
  const float magic = 12582912.0f;
  float clamped = x < -104.0f ? -104.0f : x;
  clamped = clamped > 89.0f ? 89.0f : clamped;
  const float shifted = clamped * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = (p * r * r + r) + 1.0f;
  const uint32_t whole = edge_bits_of(shifted) - 0x4b400000u + 256u; /* n + 256, above 0 */
  const uint32_t half = whole / 2;
  const float a = edge_float_of((half + 127 - 128) << 23);
  const float b = edge_float_of((whole - half + 127 - 128) << 23);
  return p * a * b;
}

/* ln(x): mantissa in [sqrt(1/2), sqrt(2)), and twice the series of (m - 1) / (m + 1). */
static inline float edge_fast_log(float x) {
  const float big = x < 0x1p-126f ? x * 0x1p23f : x;
  const uint32_t bits = edge_bits_of(big);
  const uint32_t lifted = bits - 0x3f3504f3u; /* sqrt(1/2) */
  const int32_t exponent = (int32_t)(lifted >> 23) - (lifted >> 31 ? 512 : 0);
  const float m = edge_float_of((lifted & 0x7fffffu) + 0x3f3504f3u);
  const float s = (m - 1.0f) / (m + 1.0f);
  const float z = s * s;
  float p = 0.2222222f; /* 2 / 9 */
  p = p * z + 0.2857143f;
  p = p * z + 0.4f;
  p = p * z + 0.6666667f;
  const float e = (float)exponent - (x < 0x1p-126f ? 23.0f : 0.0f);
  const float value = e * 0.693359375f + (s * 2.0f + (s * z * p - e * 2.12194440e-4f));
  const float special = x == 0.0f ? -INFINITY : x > 0.0f ? x : NAN;
  return x > 0.0f && x < INFINITY ? value : special;
}

/* e^x - 1 for x <= 0. */
static inline float edge_fast_expm1_negative(float x) {
  float p = 1.9841270e-4f;
  p = p * x + 1.3888889e-3f;
  p = p * x + 8.3333333e-3f;
  p = p * x + 4.1666667e-2f;
  p = p * x + 1.6666667e-1f;
  p = p * x + 0.5f;
  const float small = p * x * x + x;
  return x > -0.5f ? small : edge_fast_exp(x) - 1.0f;
}

static inline float edge_fast_logistic(float x) {
  const float e = edge_fast_exp(-fabsf(x));
  const float numerator = x < 0.0f ? e : 1.0f;
  return x != x ? x : numerator / (1.0f + e);
}

static inline float edge_fast_tanh(float x) {
  const float a = fabsf(x);
  const float e = edge_fast_expm1_negative(-2.0f * a);
  return x != x ? x : copysignf(-e / (2.0f + e), x);
}

/* erfc(x): e^(-x^2) by a Chebyshev series in 1 / (1 + x / 2), relative error of 1.2e-7. Source:
 * Press et al., Numerical Recipes, 6.2. */
static inline float edge_fast_erfc(float x) {
  static const double series[] = {0.17087277,  -0.82215223, 1.48851587, -1.13520398, 0.27886807,
                                  -0.18628806, 0.09678418,  0.37409196, 1.00002368,  -1.26551223};
  const double a = fabs((double)x);
  const double t = 1.0 / (1.0 + 0.5 * a);
  double p = 0.0;
  for (int i = 0; i < 10; i++) p = p * t + series[i];
  const double square = a * a;
  const float tail = (float)t * edge_fast_exp((float)(p - square));
  return x < 0.0f ? 2.0f - tail : tail;
}

/* sin(x + quarter * pi / 2): the distance from the nearest multiple of pi / 2, in float64. Beyond
 * 2^30 the argument is first reduced by a remainder, which is exact. */
static inline float edge_fast_sin(float x, uint32_t quarter) {
  const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
  double wide = (double)x;
  if (!(fabsf(x) < 0x1p30f)) wide = fmod(wide, 6.283185307179586);
  const double shifted = wide * 0.63661977236758134 + magic;
  const double n = shifted - magic;
  const float r = (float)((wide - n * 1.5707963267948966) - n * 6.123233995736766e-17);
  uint64_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  const uint32_t turn = (uint32_t)bits + quarter;
  const float z = r * r;
  const float sine =
      r + r * z * (-1.6666667e-1f + z * (8.3333333e-3f + z * (-1.9841270e-4f + z * 2.7557319e-6f)));
  const float cosine =
      1.0f + z * (-0.5f + z * (4.1666667e-2f + z * (-1.3888889e-3f + z * 2.4801587e-5f)));
  const float value = turn & 1 ? cosine : sine;
  return turn & 2 ? -value : value;
}

#endif
