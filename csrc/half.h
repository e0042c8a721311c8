/* float16 <-> float32, for machines of any kind: 1 sign bit, 5 of the exponent, 10 behind it. */
#ifndef EDGE_HALF_H
#define EDGE_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Exact. */
static inline float edge_half_to_float(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  const uint32_t rest = half & 0x7fff;
  uint32_t bits = (rest << 13) + ((127u - 15u) << 23);
  if (rest >= 0x7c00) bits += (255u - 31u - 127u + 15u) << 23; /* infinite, or NaN */
  float value;
  memcpy(&value, &bits, sizeof value);
  if (rest < 0x0400) value = (float)rest * 0x1p-24f; /* denormal */
  memcpy(&bits, &value, sizeof bits);
  bits |= sign;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Nearest, halves to even; NaN is 0x7e00 with its sign. */
static inline uint16_t edge_float_to_half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  const float magnitude = fabsf(value);
  if (isnan(value)) return sign | 0x7e00;
  if (magnitude >= 65520.0f) return sign | 0x7c00;
  /* Multiples of 2^-24: a sum with 0.5 leaves them in the low bits, rounded. */
  if (magnitude < 0x1p-14f) {
    const float shifted = magnitude + 0.5f;
    memcpy(&bits, &shifted, sizeof bits);
    return (uint16_t)(sign | (bits - 0x3f000000u));
  }
  bits &= 0x7fffffff;
  bits += 0x0fff + (bits >> 13 & 1);
  return (uint16_t)(sign | ((bits >> 13) - ((127u - 15u) << 10)));
}

#endif
