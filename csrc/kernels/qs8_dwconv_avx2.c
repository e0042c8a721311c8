/* Depthwise convolution on AVX2, 16 channels at a time: pairs of taps are interleaved as int16 and
 * multiplied and summed by vpmaddwd, exactly.
 *
 * Interleaving works within 128-bit halves: the low accumulator has channels 0-3 and 8-11, the high
 * one 4-7 and 12-15, and packing back to int8 undoes just that. Weights, bias and scales are
 * brought into the same order.
 *
 * Packed weights of a block: [(taps + 1) / 2][low, high][8 channels][2 taps] int16.
 */
#include "../target.h"
#if EDGE_X86_64
#include "avx2.h"

enum { BLOCK = EDGE_DWCONV_BLOCK, HALF = BLOCK / 2 };

/* The channel of a block at place i of low (0-7) and high (8-15). */
static size_t channel_at(size_t i) {
  const size_t high = i / HALF;
  const size_t lane = i % HALF;
  return lane % 4 + 4 * high + 8 * (lane / 4);
}

void edge_qs8_dwconv_pack__avx2(void *packed, const int8_t *weights, size_t taps, size_t channels) {
  int16_t *p = packed;
  for (size_t block = 0; block < channels; block += BLOCK) {
    for (size_t t = 0; t < taps; t += 2) {
      for (size_t i = 0; i < BLOCK; i++) {
        const size_t c = block + channel_at(i);
        for (size_t pair = 0; pair < 2; pair++) {
          const bool there = c < channels && t + pair < taps;
          *p++ = there ? weights[(t + pair) * channels + c] : 0;
        }
      }
    }
  }
}

EDGE_INLINE __m256i load_widened(const int8_t *bytes) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)bytes));
}

/* Eight int32 or float of channels 0-3 and 8-11 (high 0) or 4-7 and 12-15 (high 1). */
EDGE_INLINE __m256i load_order(const void *values, size_t high) {
  const uint8_t *at = (const uint8_t *)values + high * 16;
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)at)),
                                 _mm_loadu_si128((const __m128i *)(at + 32)), 1);
}

EDGE_INLINE void accumulate(const edge_qs8_dwconv *d, const int8_t *input, const __m256i *weights,
                            __m256i *low, __m256i *high) {
  const size_t pairs = d->tap_count / 2;
  for (size_t t = 0; t < pairs; t++) {
    const __m256i a = load_widened(input + d->taps[2 * t]);
    const __m256i b = load_widened(input + d->taps[2 * t + 1]);
    *low = _mm256_add_epi32(*low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), weights[2 * t]));
    *high =
        _mm256_add_epi32(*high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), weights[2 * t + 1]));
  }
  if (d->tap_count % 2 != 0) {
    const __m256i a = load_widened(input + d->taps[2 * pairs]);
    const __m256i none = _mm256_setzero_si256();
    *low = _mm256_add_epi32(*low,
                            _mm256_madd_epi16(_mm256_unpacklo_epi16(a, none), weights[2 * pairs]));
    *high = _mm256_add_epi32(
        *high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, none), weights[2 * pairs + 1]));
  }
}

static void block_float(const edge_qs8_dwconv *d, size_t c, size_t count, const __m256i *weights) {
  const edge_avx2_range range = edge_avx2_range_of(&d->output);
  const __m256i bias_low = load_order(d->bias + c, 0);
  const __m256i bias_high = load_order(d->bias + c, 1);
  const __m256 scale_low = _mm256_castsi256_ps(load_order(d->output.scale + c, 0));
  const __m256 scale_high = _mm256_castsi256_ps(load_order(d->output.scale + c, 1));
  for (size_t p = 0; p < d->pixels; p++) {
    __m256i low = bias_low;
    __m256i high = bias_high;
    accumulate(d, d->input + (ptrdiff_t)p * d->pixel + (ptrdiff_t)c, weights, &low, &high);
    edge_avx2_store(d->out + p * d->channels + c,
                    edge_avx2_requantize(low, high, scale_low, scale_high, range), count);
  }
}

static void block_fixed(const edge_qs8_dwconv *d, size_t c, size_t count, const __m256i *weights) {
  for (size_t p = 0; p < d->pixels; p++) {
    int32_t sums[BLOCK];
    __m256i low = load_order(d->bias + c, 0);
    __m256i high = load_order(d->bias + c, 1);
    accumulate(d, d->input + (ptrdiff_t)p * d->pixel + (ptrdiff_t)c, weights, &low, &high);
    _mm256_storeu_si256((__m256i *)sums, low);
    _mm256_storeu_si256((__m256i *)(sums + HALF), high);
    for (size_t i = 0; i < BLOCK; i++) {
      const size_t channel = channel_at(i);
      if (channel >= count) continue;
      d->out[p * d->channels + c + channel] =
          edge_requantize_fixed(sums[i], d->output.fixed[c + channel], &d->output);
    }
  }
}

void edge_qs8_dwconv__avx2(const edge_qs8_dwconv *d) {
  const __m256i *weights = d->weights;
  for (size_t c = 0; c < d->channels; c += BLOCK) {
    const size_t left = d->channels - c;
    const size_t count = left < BLOCK ? left : BLOCK;
    if (d->output.scale != NULL) {
      block_float(d, c, count, weights);
    } else {
      block_fixed(d, c, count, weights);
    }
    weights += (d->tap_count + 1) / 2 * 2;
  }
}

#include "avx2_end.h"
#endif
