#include "lhs.h"

#include <math.h>

#include "requantize.h"

/* ---- as it is ------------------------------------------------------------------------------ */

static void put_bytes(const edge_lhs *lhs, void *out, const void *in, size_t count) {
  memcpy(out, in, count * lhs->size);
}

static void put_qs8(const edge_lhs *lhs, void *out, const void *in, size_t count) {
  lhs->qs8(out, in, count);
}

edge_lhs edge_lhs_bytes(int32_t zero_point) {
  return (edge_lhs){.in_size = 1, .size = 1, .put = put_bytes, .zero_point = zero_point};
}

edge_lhs edge_lhs_qs8(const edge_kernels *kernels, int32_t zero_point) {
  return (edge_lhs){.in_size = 1,
                    .size = kernels->lhs_size,
                    .put = put_qs8,
                    .qs8 = kernels->qs8_lhs,
                    .zero_point = zero_point};
}

edge_lhs edge_lhs_f32(void) {
  return (edge_lhs){.in_size = 4, .size = 4, .put = put_bytes};
}

/* ---- int16 without zero points ------------------------------------------------------------- */

static void put_int8(const edge_lhs *lhs, void *out, const void *in, size_t count) {
  const int8_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) to[i] = (int16_t)(from[i] - lhs->zero_point);
}

static void put_uint8(const edge_lhs *lhs, void *out, const void *in, size_t count) {
  const uint8_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) to[i] = (int16_t)(from[i] - lhs->zero_point);
}

edge_lhs edge_lhs_s16(edge_type type, int32_t zero_point) {
  edge_lhs lhs = {.in_size = 1, .size = 2, .put = put_int8, .zero_point = zero_point};
  if (type == EDGE_UINT8) lhs.put = put_uint8;
  if (type == EDGE_INT16) { /* its zero point is 0 */
    lhs.in_size = 2;
    lhs.put = put_bytes;
  }
  return lhs;
}

/* ---- quantized on the way ------------------------------------------------------------------ */

/* 1.5 * 2^23: added to a float32 below 2^22 it leaves the nearest whole number, halves to even. */
static const float whole = 12582912.0f;

/* Elements that are converted at a time. */
enum { SOME = 64 };

/* Loops apart, as compilers make vectors of one clamp at a time. NaN becomes the bound. */
static void clamp_above(float *values, size_t count, float most) {
  for (size_t i = 0; i < count; i++) values[i] = values[i] < most ? values[i] : most;
}

static void clamp_below(float *values, size_t count, float least) {
  for (size_t i = 0; i < count; i++) values[i] = values[i] > least ? values[i] : least;
}

static void quantize_xnn(const edge_dynamic *d, const float *from, size_t count, int16_t *to) {
  float values[SOME];
  for (size_t i = 0; i < count; i++) values[i] = from[i] * d->inverse;
  clamp_above(values, count, 32767.0f);
  clamp_below(values, count, -32768.0f);
  for (size_t i = 0; i < count; i++) {
    int32_t quantized = (int32_t)((values[i] + whole) - whole) + d->zero_point;
    quantized = quantized < INT8_MIN ? INT8_MIN : quantized;
    quantized = quantized > INT8_MAX ? INT8_MAX : quantized;
    to[i] = (int16_t)(quantized - d->zero_point);
  }
}

/* Rounded half away from zero, as roundf() does it, within some more than the range of int8. */
static void quantize_litert(const edge_dynamic *d, int32_t least, const float *from, size_t count,
                            int16_t *to) {
  const float shift = (float)d->zero_point;
  float values[SOME];
  for (size_t i = 0; i < count; i++) {
    const float product = from[i] * d->inverse;
    values[i] = shift + product;
  }
  clamp_below(values, count, -512.0f);
  clamp_above(values, count, 512.0f);
  for (size_t i = 0; i < count; i++) {
    const int32_t towards_zero = (int32_t)values[i];
    const float rest = values[i] - (float)towards_zero;
    int32_t quantized = towards_zero + (rest >= 0.5f) - (rest <= -0.5f);
    quantized = quantized < least ? least : quantized;
    quantized = quantized > INT8_MAX ? INT8_MAX : quantized;
    to[i] = (int16_t)(quantized - d->zero_point);
  }
}

static void put_quantized(const edge_lhs *lhs, void *out, const void *in, size_t count) {
  const int32_t least = lhs->rule == EDGE_DYNAMIC_SYMMETRIC ? -INT8_MAX : INT8_MIN;
  for (size_t i = 0; i < count; i += SOME) {
    const size_t some = count - i < SOME ? count - i : SOME;
    const float *from = (const float *)in + i;
    int16_t *to = (int16_t *)out + i;
    if (lhs->rule == EDGE_DYNAMIC_XNN) {
      quantize_xnn(&lhs->dynamic, from, some, to);
    } else {
      quantize_litert(&lhs->dynamic, least, from, some, to);
    }
  }
}

edge_lhs edge_lhs_quantized(edge_dynamic_rule rule) {
  return (edge_lhs){.in_size = 4, .size = 2, .put = put_quantized, .rule = rule};
}

/* Source: xnn_qd8_asymmetric_quantization_params in XNNPACK, src/xnnpack/quantization.h. */
static edge_dynamic dynamic_xnn(float least, float most) {
  const float scale = least == most ? 1.0f : 255.0f / (most - least);
  const float low = least * scale;
  const float high = most * scale;
  const float from_low = (float)INT8_MIN + low;
  const float from_high = (float)INT8_MAX + high;
  float zero_point = from_low + from_high > 0.0f ? (float)INT8_MIN - low : (float)INT8_MAX - high;
  if (!(zero_point > (float)INT8_MIN)) zero_point = (float)INT8_MIN;
  if (zero_point > (float)INT8_MAX) zero_point = (float)INT8_MAX;
  return (edge_dynamic){
      .scale = 1.0f / scale, .inverse = scale, .zero_point = edge_round_even(zero_point)};
}

/* Source: tflite/kernels/internal/reference/portable_tensor_utils.cc. */
static edge_dynamic dynamic_asymmetric(double least, double most) {
  if (least == most) return (edge_dynamic){.scale = 1.0f, .inverse = 0.0f};
  const double scale = (most - least) / 255.0;
  const double low = least / scale;
  const double high = most / scale;
  const bool by_low = 128.0 + fabs(low) < 127.0 + fabs(high);
  double zero_point = by_low ? -128.0 - low : 127.0 - high;
  if (!(zero_point > -128.0)) zero_point = -128.0;
  if (zero_point > 127.0) zero_point = 127.0;
  const float step = (float)scale;
  return (edge_dynamic){
      .scale = step, .inverse = 1.0f / step, .zero_point = (int32_t)round(zero_point)};
}

static edge_dynamic dynamic_symmetric(float least, float most) {
  const float range = fmaxf(fabsf(least), fabsf(most));
  if (range == 0.0f) return (edge_dynamic){.scale = 1.0f, .inverse = 0.0f};
  return (edge_dynamic){.scale = range / 127.0f, .inverse = 127.0f / range};
}

enum { LANES = 4 };
typedef float floats __attribute__((vector_size(LANES * 4)));
typedef int32_t masks __attribute__((vector_size(LANES * 4)));

static floats choose(masks mask, floats yes, floats no) {
  return (floats)(((masks)yes & mask) | ((masks)no & ~mask));
}

/* The least and the most of the values and 0, NaN left out. */
static void find_ends(const float *values, size_t count, float *least, float *most) {
  floats low = {0};
  floats high = {0};
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    floats v;
    memcpy(&v, values + i, sizeof v);
    low = choose(v < low, v, low);
    high = choose(v > high, v, high);
  }
  *least = *most = 0.0f;
  for (int k = 0; k < LANES; k++) {
    *least = low[k] < *least ? low[k] : *least;
    *most = high[k] > *most ? high[k] : *most;
  }
  for (; i < count; i++) {
    *least = values[i] < *least ? values[i] : *least;
    *most = values[i] > *most ? values[i] : *most;
  }
}

edge_dynamic edge_dynamic_of(edge_dynamic_rule rule, const float *values, size_t count) {
  float least;
  float most;
  find_ends(values, count, &least, &most);
  switch (rule) {
    case EDGE_DYNAMIC_XNN:
      return dynamic_xnn(least, most);
    case EDGE_DYNAMIC_ASYMMETRIC:
      return dynamic_asymmetric((double)least, (double)most);
    default:
      return dynamic_symmetric(least, most);
  }
}

/* ---- padding ------------------------------------------------------------------------------- */

void edge_lhs_pad(const edge_lhs *lhs, void *out, size_t count) {
  if (lhs->put == put_bytes && lhs->size == 1) {
    memset(out, lhs->zero_point, count);
    return;
  }
  if (lhs->put != put_qs8) { /* zero points are gone */
    memset(out, 0, count * lhs->size);
    return;
  }
  int8_t chunk[256];
  uint8_t *to = out;
  memset(chunk, lhs->zero_point, count < sizeof chunk ? count : sizeof chunk);
  while (count > 0) {
    const size_t some = count < sizeof chunk ? count : sizeof chunk;
    lhs->put(lhs, to, chunk, some);
    to += some * lhs->size;
    count -= some;
  }
}

void edge_lhs_put_rows(const edge_lhs *lhs, uint8_t *out, const uint8_t *in, int64_t rows,
                       int64_t depth, float *scales) {
  if (lhs->put != put_quantized) {
    lhs->put(lhs, out, in, (size_t)(rows * depth));
    return;
  }
  edge_lhs how = *lhs;
  for (int64_t r = 0; r < rows; r++) {
    const void *row = in + r * depth * lhs->in_size;
    how.dynamic = edge_dynamic_of(lhs->rule, row, (size_t)depth);
    how.put(&how, out + r * depth * lhs->size, row, (size_t)depth);
    scales[r] = how.dynamic.scale;
  }
}
