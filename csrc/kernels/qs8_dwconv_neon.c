/* Depthwise convolution on NEON, 16 channels and 2 pixels at a time: int8 products in int16, which
 * they fit, added to int32. Two products in one int16 would be faster and overflow (-128 * -128
 * twice).
 *
 * Packed weights of a block: [taps][16 channels] int8.
 */
#include "../target.h"
#if EDGE_NEON
#include "neon.h"

enum { BLOCK = EDGE_DWCONV_BLOCK, QUADS = BLOCK / 4, PIXELS = 2 };

void edge_qs8_dwconv_pack__neon(void *packed, const int8_t *weights, size_t taps, size_t channels) {
  int8_t *p = packed;
  for (size_t block = 0; block < channels; block += BLOCK) {
    const size_t left = channels - block;
    const size_t count = left < BLOCK ? left : BLOCK;
    for (size_t t = 0; t < taps; t++) {
      memset(p, 0, BLOCK);
      memcpy(p, weights + t * channels + block, count);
      p += BLOCK;
    }
  }
}

EDGE_INLINE void add_product(int32x4_t acc[QUADS], int8x16_t x, int8x16_t w) {
  const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
  const int16x8_t high = vmull_s8(vget_high_s8(x), vget_high_s8(w));
  acc[0] = vaddw_s16(acc[0], vget_low_s16(low));
  acc[1] = vaddw_s16(acc[1], vget_high_s16(low));
  acc[2] = vaddw_s16(acc[2], vget_low_s16(high));
  acc[3] = vaddw_s16(acc[3], vget_high_s16(high));
}

/* Pixels p ... p + pixels - 1 of channels c ... c + count - 1. `pixels` and `by_float` are
 * constants wherever this is inlined. */
EDGE_INLINE void pixels_of(const edge_qs8_dwconv *d, size_t p, size_t pixels, size_t c,
                           size_t count, const int8_t *weights, int by_float) {
  int32x4_t acc[PIXELS][QUADS];
  const int8_t *input = d->input + (ptrdiff_t)p * d->pixel + (ptrdiff_t)c;
  for (size_t i = 0; i < pixels; i++) {
    for (size_t q = 0; q < QUADS; q++) acc[i][q] = vld1q_s32(d->bias + c + 4 * q);
  }
  for (size_t t = 0; t < d->tap_count; t++) {
    const int8x16_t w = vld1q_s8(weights + BLOCK * t);
    const int8_t *x = input + d->taps[t];
    for (size_t i = 0; i < pixels; i++) {
      add_product(acc[i], vld1q_s8(x + (ptrdiff_t)i * d->pixel), w);
    }
  }
  for (size_t i = 0; i < pixels; i++) {
    int8_t *out = d->out + (p + i) * d->channels + c;
    edge_neon_store(out, edge_neon_requantize(acc[i], c, &d->output, by_float), count);
    if (count > 8) {
      edge_neon_store(out + 8, edge_neon_requantize(acc[i] + 2, c + 8, &d->output, by_float),
                      count - 8);
    }
  }
}

EDGE_INLINE void block(const edge_qs8_dwconv *d, size_t c, const int8_t *weights, int by_float) {
  const size_t left = d->channels - c;
  const size_t count = left < BLOCK ? left : BLOCK;
  size_t p = 0;
  for (; p + PIXELS <= d->pixels; p += PIXELS) {
    pixels_of(d, p, PIXELS, c, count, weights, by_float);
  }
  if (p < d->pixels) pixels_of(d, p, 1, c, count, weights, by_float);
}

void edge_qs8_dwconv__neon(const edge_qs8_dwconv *d) {
  const int8_t *weights = d->weights;
  for (size_t c = 0; c < d->channels; c += BLOCK) {
    if (d->output.scale != NULL) {
      block(d, c, weights, 1);
    } else {
      block(d, c, weights, 0);
    }
    weights += d->tap_count * BLOCK;
  }
}

#include "neon_end.h"
#endif
