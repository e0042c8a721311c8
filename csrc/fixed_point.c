/* gemmlowp's functions: see fixed_point.h. */
#include "fixed_point.h"

#include <math.h>

#include "functions.h"

/* ---- int16 ------------------------------------------------------------------------------- */

static int16_t narrow(int32_t value) {
  return (int16_t)(uint16_t)(uint32_t)value;
}

static int16_t saturate(int32_t value) {
  return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
}

/* Both have 15 bits behind the point, or one has fewer and the product has as many. */
static int16_t product(int16_t a, int16_t b) {
  if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
  return (int16_t)(((int32_t)a * b + (1 << 14)) >> 15);
}

/* Shifted left; what goes beyond the range is its end. */
static int16_t shift_left(int16_t value, int32_t by) {
  const int32_t most = (1 << (15 - by)) - 1;
  if (value > most) return INT16_MAX;
  if (value < -most) return INT16_MIN;
  return narrow((int32_t)((uint32_t)(int32_t)value << by));
}

/* Shifted right, halves away from zero. */
static int16_t shift_right(int16_t value, int32_t by) {
  const int32_t mask = (1 << by) - 1;
  const int32_t threshold = (mask >> 1) + (value < 0);
  return (int16_t)((value >> by) + ((value & mask) > threshold));
}

/* e^x for x in [-1/4, 0), 15 bits behind the point on both sides: Taylor's series around -1/8. */
static int16_t exp_of_quarter(int16_t value) {
  const int16_t centre = 28918; /* e^(-1/8) */
  const int16_t third = 10923;
  const int16_t x = narrow(value + (1 << 12));
  const int16_t x2 = product(x, x);
  const int16_t x3 = product(x2, x);
  const int16_t x4 = product(x2, x2);
  const int16_t high = product(narrow(shift_right(x4, 2) + x3), third);
  const int16_t rest = shift_right(narrow(high + x2), 1);
  return saturate(centre + product(centre, narrow(x + rest)));
}

/* e^x for x <= 0 with 15 - integer_bits bits behind the point. */
static int16_t exp_of_negative(int16_t value, int32_t integer_bits) {
  /* e^-2^k for k = -2 ... 4 */
  static const int16_t powers[] = {25520, 19875, 12055, 4435, 600, 11, 0};
  const int32_t point = 15 - integer_bits;
  const int32_t quarter = 1 << (point - 2);
  const int16_t part = narrow((value & (quarter - 1)) - quarter);
  const int32_t rest = part - value;
  int16_t result = exp_of_quarter(shift_left(part, integer_bits));
  for (int32_t k = -2; k <= 4 && k < integer_bits; k++) {
    if (rest & (1 << (point + k))) result = product(result, powers[k + 2]);
  }
  if (integer_bits > 5 && value < -(1 << (20 - integer_bits))) result = 0;
  return value == 0 ? INT16_MAX : result;
}

/* 2 / (1 + x) for x in [0, 1], 13 bits behind the point: Newton's division. */
static int16_t reciprocal(int16_t value) {
  const int16_t half = (int16_t)((value + INT16_MAX + 1) / 2);
  int16_t x = narrow(23130 + product(half, -15420)); /* 48 / 17 - 32 / 17 * half */
  for (int i = 0; i < 3; i++) {
    const int16_t error = narrow((1 << 13) - product(half, x));
    x = narrow(x + shift_left(product(x, error), 2));
  }
  return x;
}

int16_t edge_tanh16(int16_t value, int32_t integer_bits) {
  if (value == 0) return 0;
  const int16_t negative = value < 0 ? value : narrow(-value);
  const int16_t x = reciprocal(exp_of_negative(negative, integer_bits + 1));
  const int16_t result = shift_left(narrow(x - (1 << 13)), 2);
  return value < 0 ? narrow(-result) : result;
}

int16_t edge_logistic16(int16_t value, int32_t integer_bits) {
  if (value == 0) return 1 << 14;
  const int16_t negative = value < 0 ? value : narrow(-value);
  const int16_t x = shift_left(reciprocal(exp_of_negative(negative, integer_bits)), 1);
  return value < 0 ? narrow(INT16_MAX - x) : x;
}

static double logistic_at(double i) {
  return 1.0 / (1.0 + edge_exp(-i / 24.0));
}

/* As in the tables of lookup.h, each entry is biased by half of what interpolation misses. */
void edge_logistic_table16(uint16_t table[256]) {
  for (int32_t i = 0; i < 255; i++) {
    const double line = (logistic_at(i) + logistic_at(i + 1)) / 2.0;
    const double bias = (line - logistic_at(i + 0.5)) / 2.0;
    table[i] = (uint16_t)rint(65536.0 * (logistic_at(i) - bias));
  }
  table[255] = UINT16_MAX;
}

/* ---- int32 ------------------------------------------------------------------------------- */

static int32_t product32(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

static int32_t shift_left32(int32_t value, int32_t by) {
  const int32_t most = (int32_t)((UINT32_C(1) << (31 - by)) - 1);
  if (value > most) return INT32_MAX;
  if (value < -most) return INT32_MIN;
  return (int32_t)((uint32_t)value << by);
}

/* Newton's steps x = x * (3/2 - value / 2 * x^2) with 3 bits before the point. */
static int32_t inverse_sqrt_of(int32_t value) {
  const int32_t input = value >> 1;
  const int32_t half = (input + 1) >> 1; /* it is not negative: half away is half up */
  const int32_t three_halves = (1 << 28) + (1 << 27);
  int32_t x = 1 << 28;
  for (int i = 0; i < 5; i++) {
    const int32_t cube = shift_left32(product32(product32(x, x), x), 6);
    const int64_t difference = (int64_t)product32(three_halves, x) - product32(half, cube);
    x = shift_left32(edge_wrap(difference), 3);
  }
  return product32(x, 1518500250); /* sqrt(1/2) */
}

edge_fixed edge_inverse_sqrt(int32_t value) {
  if (value <= 1) return (edge_fixed){INT32_MAX, 0, true};
  int32_t shift = 11;
  int32_t pairs = 0;
  for (; value >= 1 << 29; shift++) value /= 4;
  while (value < 1 << (27 - 2 * pairs)) pairs++;
  shift -= pairs;
  int32_t multiplier = inverse_sqrt_of((int32_t)((uint32_t)value << (2 * pairs)));
  if (shift < 0) {
    multiplier = edge_wrap((int64_t)((uint64_t)(int64_t)multiplier << -shift));
    shift = 0;
  }
  return (edge_fixed){multiplier, (int16_t)-shift, true};
}
