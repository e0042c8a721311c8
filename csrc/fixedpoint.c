#include "fixedpoint.h"

#include "requantize.h"

enum { ONE_16 = INT16_MAX };

int32_t edge_round_shift(int32_t value, int shift) {
  const int64_t mask = (INT64_C(1) << shift) - 1;
  const int64_t threshold = (mask >> 1) + (value < 0);
  return (int32_t)(((int64_t)value >> shift) + (((int64_t)value & mask) > threshold));
}

/* ---- 16 bits ----------------------------------------------------------------------------- */

/* The low 16 bits, with their sign: what an addition of 16-bit registers leaves. */
static int16_t wrap_16(int32_t value) {
  const int32_t low = value & 0xFFFF;
  return (int16_t)(low > INT16_MAX ? low - 0x10000 : low);
}

static int16_t clamp_16(int32_t value) {
  return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
}

/* The product of two fractions, halves away from zero. */
static int16_t multiply(int16_t a, int16_t b) {
  const int32_t product = (int32_t)a * b;
  if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
  const int32_t nudge = product >= 0 ? 1 << 14 : 1 - (1 << 14);
  return (int16_t)((product + nudge) / (1 << 15));
}

static int16_t scale_up(int16_t value, int bits) {
  return clamp_16((int32_t)value * (1 << bits));
}

static int16_t scale_down(int16_t value, int bits) {
  return (int16_t)edge_round_shift(value, bits);
}

/* Half of the sum of two numbers, away from zero. */
static int16_t half_sum(int16_t a, int16_t b) {
  const int32_t sum = (int32_t)a + b;
  return (int16_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

/* e^a for a in [-1/4, 0): Taylor's series of fourth order around -1/8. */
static int16_t exp_small(int16_t a) {
  enum { EXP_EIGHTH = 28918, THIRD = 10923 };
  const int16_t x = wrap_16(a + (1 << 12));
  const int16_t x2 = multiply(x, x);
  const int16_t x3 = multiply(x2, x);
  const int16_t x4 = multiply(x2, x2);
  const int16_t cubic = multiply(wrap_16(scale_down(x4, 2) + x3), THIRD);
  const int16_t rest = scale_down(wrap_16(cubic + x2), 1);
  return clamp_16(EXP_EIGHTH + multiply(EXP_EIGHTH, wrap_16(x + rest)));
}

/* e^a for a at most 0 of `bits` integer bits, 1 ... 7: the part below a quarter by the series, each
 * bit above it by its factor. */
static int16_t exp_negative(int16_t a, int bits) {
  /* e^-1/4, e^-1/2, e^-1, e^-2, e^-4, e^-8, e^-16 */
  static const int16_t factors[] = {25520, 19875, 12055, 4435, 600, 11, 0};
  const int fraction_bits = 15 - bits;
  const int16_t quarter = (int16_t)(1 << (fraction_bits - 2));
  const int16_t small = (int16_t)((a & (quarter - 1)) - quarter);
  const int32_t remainder = wrap_16(small - a);
  int16_t result = exp_small(scale_up(small, bits));
  for (int i = 0; i - 2 < bits && i < 7; i++) {
    if (remainder & (1 << (fraction_bits + i - 2))) result = multiply(result, factors[i]);
  }
  if (bits > 5 && a < -(1 << (20 - bits))) result = 0; /* below -32 */
  return a == 0 ? (int16_t)ONE_16 : result;
}

/* 1 / ((1 + a) / 2) of two integer bits, for a in [0, 1]: Newton and Raphson, three times. */
static int16_t reciprocal(int16_t a) {
  enum { START = 23130, SLOPE = -15420, ONE = 1 << 13 };
  const int16_t half = half_sum(a, ONE_16);
  int16_t x = wrap_16(START + multiply(half, SLOPE));
  for (int i = 0; i < 3; i++) {
    const int16_t rest = wrap_16(ONE - multiply(half, x));
    x = wrap_16(x + scale_up(multiply(x, rest), 2));
  }
  return x;
}

static int16_t negative_of(int16_t value) {
  return wrap_16(-(int32_t)value);
}

int16_t edge_fixed_tanh(int16_t value, int integer_bits) {
  if (value == 0) return 0;
  const int16_t low = value < 0 ? value : negative_of(value);
  /* tanh(-x) = -(1 - e^-2x) / (1 + e^-2x) */
  const int16_t x = reciprocal(exp_negative(low, integer_bits + 1));
  const int16_t positive = scale_up(wrap_16(x - (1 << 13)), 2);
  return value < 0 ? negative_of(positive) : positive;
}

int16_t edge_fixed_logistic(int16_t value) {
  enum { BITS = 3 };
  if (value == 0) return 1 << 14;
  const int16_t low = value > 0 ? negative_of(value) : value;
  const int16_t x = reciprocal(exp_negative(low, BITS));
  const int16_t positive = scale_up(x, 1);
  return value > 0 ? positive : wrap_16(ONE_16 - positive);
}

/* ---- 32 bits ----------------------------------------------------------------------------- */

static int32_t clamp_32(int64_t value) {
  return (int32_t)(value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : value);
}

static int32_t multiply_32(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  const int64_t product = (int64_t)a * b;
  const int64_t nudge = product >= 0 ? 1 << 30 : 1 - (1 << 30);
  return (int32_t)((product + nudge) / (INT64_C(1) << 31));
}

/* Numbers of three integer bits: five steps of Newton and Raphson from 1. */
edge_fixed edge_fixed_inverse_sqrt(int32_t value) {
  enum { HALF_SQRT_2 = 1518500250, ONE = 1 << 28, HALF_THREE = (1 << 28) + (1 << 27) };
  if (value < 2) return (edge_fixed){INT32_MAX, 0, 1};
  int shift = 11;
  for (; value >= 1 << 29; shift++) value /= 4;
  for (; value < 1 << 27; shift--) value *= 4;
  const int32_t input = value >> 1;
  const int32_t half = edge_round_shift(input, 1);
  int32_t x = ONE;
  for (int i = 0; i < 5; i++) {
    /* Products of numbers of three bits have six, those of three numbers nine. */
    const int32_t cube = clamp_32((int64_t)multiply_32(multiply_32(x, x), x) * 64);
    const int32_t change = edge_wrap((int64_t)multiply_32(HALF_THREE, x) - multiply_32(half, cube));
    x = clamp_32((int64_t)change * 8);
  }
  x = multiply_32(x, HALF_SQRT_2);
  if (shift < 0) {
    x = edge_wrap((int64_t)x * (INT64_C(1) << -shift));
    shift = 0;
  }
  return (edge_fixed){x, (int16_t)-shift, 1};
}
