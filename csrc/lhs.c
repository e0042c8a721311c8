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

static void put_xnn(const edge_lhs *lhs, void *out, const void *in, size_t count) {
  const float *from = in;
  int16_t *to = out;
  const float inverse = lhs->dynamic.inverse;
  const int32_t zero_point = lhs->dynamic.zero_point;
  for (size_t i = 0; i < count; i++) {
    float value = from[i] * inverse;
    value = value < 32767.0f ? value : 32767.0f; /* NaN as well */
    value = value > -32768.0f ? value : -32768.0f;
    const float rounded = (value + whole) - whole;
    int32_t quantized = (int32_t)rounded + zero_point;
    quantized = quantized < INT8_MIN ? INT8_MIN : quantized;
    quantized = quantized > INT8_MAX ? INT8_MAX : quantized;
    to[i] = (int16_t)(quantized - zero_point);
  }
}

/* Halves away from zero; what leaves the range, and NaN, goes to its ends. */
static int32_t round_away(float value, int32_t least, int32_t most) {
  const float rounded = roundf(value);
  if (!(rounded > (float)least)) return least;
  return rounded >= (float)most ? most : (int32_t)rounded;
}

static void put_litert(const edge_lhs *lhs, void *out, const void *in, size_t count) {
  const float *from = in;
  int16_t *to = out;
  const int32_t zero_point = lhs->dynamic.zero_point;
  const int32_t least = lhs->rule == EDGE_DYNAMIC_SYMMETRIC ? -INT8_MAX : INT8_MIN;
  for (size_t i = 0; i < count; i++) {
    const float product = from[i] * lhs->dynamic.inverse;
    to[i] = (int16_t)(round_away((float)zero_point + product, least, INT8_MAX) - zero_point);
  }
}

edge_lhs edge_lhs_quantized(edge_dynamic_rule rule) {
  return (edge_lhs){.in_size = 4,
                    .size = 2,
                    .put = rule == EDGE_DYNAMIC_XNN ? put_xnn : put_litert,
                    .rule = rule};
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

edge_dynamic edge_dynamic_of(edge_dynamic_rule rule, const float *values, size_t count) {
  float least = 0.0f;
  float most = 0.0f;
  for (size_t i = 0; i < count; i++) {
    least = values[i] < least ? values[i] : least;
    most = values[i] > most ? values[i] : most;
  }
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
