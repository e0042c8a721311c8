/* The reference: plain, and kept plain. Every other kernel gives these bits. */
#include <string.h>

#include "../kernels.h"
#include "../requantize.h"

void edge_qs8_lhs__scalar(void *out, const int8_t *in, size_t count) {
  memcpy(out, in, count);
}

void edge_qs8_gemm__scalar(const edge_qs8_gemm *g) {
  enum { NR = 4 };
  for (size_t r = 0; r < g->rows; r++) {
    for (size_t c = 0; c < g->columns; c++) {
      uint32_t sum = (uint32_t)g->bias[c];
      const int8_t *weights = g->weights + c;
      for (size_t t = 0; t < g->runs; t++) {
        const int8_t *lhs = (const int8_t *)g->lhs + (ptrdiff_t)r * g->lhs_row + g->lhs_runs[t];
        for (size_t k = 0; k < g->depth; k++) {
          sum += (uint32_t)(lhs[k] * *weights);
          weights += NR;
        }
      }
      g->out[(ptrdiff_t)r * g->out_row + (ptrdiff_t)c] =
          edge_requantize(edge_wrap(sum), c, &g->output);
    }
  }
}

void edge_qs8_dwconv_pack__scalar(void *packed, const int8_t *weights, size_t taps,
                                  size_t channels) {
  memcpy(packed, weights, taps * channels);
}

void edge_qs8_dwconv__scalar(const edge_qs8_dwconv *d) {
  const int8_t *weights = d->weights; /* [taps][channels] */
  for (size_t p = 0; p < d->pixels; p++) {
    const int8_t *input = d->input + (ptrdiff_t)p * d->pixel;
    for (size_t c = 0; c < d->channels; c++) {
      uint32_t sum = (uint32_t)d->bias[c];
      for (size_t t = 0; t < d->tap_count; t++) {
        sum += (uint32_t)(input[d->taps[t] + (ptrdiff_t)c] * weights[t * d->channels + c]);
      }
      d->out[p * d->channels + c] = edge_requantize(edge_wrap(sum), c, &d->output);
    }
  }
}

void edge_qs8_vadd__scalar(int8_t *out, const int8_t *a, ptrdiff_t stride_a, const int8_t *b,
                           ptrdiff_t stride_b, size_t count, const edge_qs8_vadd *p) {
  for (size_t i = 0; i < count; i++) {
    const int64_t sum =
        (int64_t)p->bias + (int64_t)*a * p->multiplier_a + (int64_t)*b * p->multiplier_b;
    out[i] = (int8_t)edge_clamp((edge_wrap(sum) >> p->shift) + p->zero_point, p->min, p->max);
    a += stride_a;
    b += stride_b;
  }
}

void edge_qs8_vmul__scalar(int8_t *out, const int8_t *a, ptrdiff_t stride_a, const int8_t *b,
                           ptrdiff_t stride_b, size_t count, const edge_qs8_vmul *p) {
  const edge_qs8_output output = {.zero_point = p->zero_point, .min = p->min, .max = p->max};
  for (size_t i = 0; i < count; i++) {
    const int32_t product = (*a - p->zero_a) * (*b - p->zero_b);
    out[i] = edge_requantize_float(product, p->scale, &output);
    a += stride_a;
    b += stride_b;
  }
}

void edge_x8_lut__scalar(uint8_t *out, const uint8_t *in, size_t count, const uint8_t *table) {
  for (size_t i = 0; i < count; i++) out[i] = table[in[i]];
}

void edge_s8_maxpool__scalar(int8_t *out, const int8_t *const *in, size_t rows, size_t channels,
                             int8_t min, int8_t max) {
  for (size_t c = 0; c < channels; c++) out[c] = min;
  for (size_t r = 0; r < rows; r++) {
    for (size_t c = 0; c < channels; c++) {
      if (in[r][c] > out[c]) out[c] = in[r][c];
    }
  }
  for (size_t c = 0; c < channels; c++) {
    if (out[c] > max) out[c] = max;
  }
}

void edge_s8_rowsum__scalar(int32_t *sum, const int8_t *in, size_t channels) {
  for (size_t c = 0; c < channels; c++) sum[c] = edge_wrap((int64_t)sum[c] + in[c]);
}
