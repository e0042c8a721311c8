/* LOGISTIC and TANH: int8 and uint8 by table, int16 by interpolation or gemmlowp's fixed point,
 * float32.
 *
 * XNNPACK makes the tables by its reference kernels; what it refuses follows LiteRT's own table.
 * int16 inputs whose scale is 2^-12, to within 0.1 %, are gemmlowp's numbers with 3 bits before the
 * point (TANH: 2^-11 as well); others interpolate a table of 256 values.
 *
 * Source: XNNPACK src/reference/unary-elementwise.cc; tflite/kernels/activations.cc,
 * internal/common.h, internal/reference/integer_ops/logistic.h and tanh.h; docs/numerics.md.
 */
#include <math.h>

#include "../fixed_point.h"
#include "../float_functions.h"
#include "../functions.h"
#include "../lookup.h"
#include "../operators.h"

typedef struct curve16 {
  edge_unary unary;
  bool exact;         /* the scale is a power of two */
  int32_t multiplier; /* to 1 / (3 * 4096), with `shift` more bits */
  int32_t shift;
  uint16_t table[256];
} curve16;

/* ---- 8 bits and float32 ------------------------------------------------------------------ */

static float logistic_xnn(float x, const void *context) {
  (void)context;
  if (x > 100.0f) return 1.0f;
  if (x < -100.0f) return 0.0f;
  const double e = edge_exp((double)x);
  return (float)(e / (1.0 + e));
}

static float logistic_own(float x, const void *context) {
  (void)context;
  return 1.0f / (1.0f + edge_expf(-x));
}

static float hyperbolic_tangent(float x, const void *context) {
  (void)context;
  return edge_tanhf(x);
}

EDGE_FLOAT_SPAN(logistic_floats, edge_fast_logistic(x))
EDGE_FLOAT_SPAN(tanh_floats, edge_fast_tanh(x))

/* ---- int16 ------------------------------------------------------------------------------- */

static void logistic16_exact(const edge_unary *unary, const void *in, void *out, size_t count) {
  const int16_t *from = in;
  int16_t *to = out;
  (void)unary;
  for (size_t i = 0; i < count; i++) to[i] = edge_logistic16(from[i], 3);
}

static void tanh16_exact(const edge_unary *unary, const void *in, void *out, size_t count) {
  const curve16 *p = (const curve16 *)(const void *)unary;
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) {
    const int32_t value = edge_clamp((int64_t)from[i] * (1 << p->shift), INT16_MIN, INT16_MAX);
    to[i] = edge_tanh16((int16_t)value, 3);
  }
}

static int32_t scaled16(const curve16 *p, int16_t value) {
  const int64_t half = p->shift > 0 ? INT64_C(1) << (p->shift - 1) : 0;
  return edge_wrap(((int64_t)value * p->multiplier + half) >> p->shift);
}

/* The table at `magnitude`, of which `bits` low ones interpolate; `most` beyond its end. */
static int32_t between(const curve16 *p, uint32_t magnitude, int32_t bits, int32_t most) {
  const uint32_t index = magnitude >> bits;
  if (index >= 255) return most;
  const int32_t a = p->table[index];
  const int32_t b = p->table[index + 1];
  return (a << bits) + (int32_t)(magnitude & ((1u << bits) - 1)) * (b - a);
}

static uint32_t magnitude_of(int32_t value) {
  return value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
}

static void logistic16_table(const edge_unary *unary, const void *in, void *out, size_t count) {
  const curve16 *p = (const curve16 *)(const void *)unary;
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) {
    const int32_t x = scaled16(p, from[i]);
    const int32_t y = between(p, magnitude_of(x), 9, 0x7fff << 10);
    to[i] = (int16_t)((x >= 0 ? y + (1 << 9) : (1 << 25) - y + (1 << 9) - 1) >> 10);
  }
}

/* tanh(x) = 2 logistic(2 x) - 1 */
static void tanh16_table(const edge_unary *unary, const void *in, void *out, size_t count) {
  const curve16 *p = (const curve16 *)(const void *)unary;
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) {
    const int32_t x = scaled16(p, from[i]);
    const int32_t y = between(p, magnitude_of(x), 8, 0xffff << 8) - (1 << 23);
    to[i] = (int16_t)((x >= 0 ? y + (1 << 7) : -y + (1 << 7) - 1) >> 8);
  }
}

/* The exponent of a scale that is a power of two, nearly. */
static bool near_power(float scale, int32_t *exponent) {
  const float log2 = edge_logf(scale) * (1.0f / edge_logf(2.0f));
  const float whole = roundf(log2);
  *exponent = (int32_t)whole;
  return fabsf(log2 - whole) < 1e-3f;
}

static edge_status scale16(edge_compiler *c, const edge_node *node, curve16 *p, float scale) {
  double multiplier = (double)scale * 4096.0 * 3.0;
  for (p->shift = 0; multiplier <= 32767.0 / 2.0 && p->shift <= 30; p->shift++) multiplier *= 2.0;
  /* Beyond it even the least input is at the curve's end, and products leave 32 bits. */
  if (!(multiplier < 65536.0)) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an int16 input scale below 16/3, got a larger one");
  }
  p->multiplier = (int32_t)multiplier;
  return EDGE_OK;
}

static edge_status curve16_compile(edge_compiler *c, edge_node *node, bool is_tanh) {
  edge_quant input;
  edge_quant output;
  int32_t exponent;
  curve16 *p = edge_unary_params(c, node, sizeof *p, NULL);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_unary_quants(c, node, &input, &output));
  if (!near_power(output.scale, &exponent) || exponent != -15) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an int16 output of scale 1/32768, got %g",
                          (double)output.scale);
  }
  p->exact = near_power(input.scale, &exponent);
  p->shift = exponent + 12;
  p->exact &= p->shift == 0 || (is_tanh && p->shift == 1);
  node->kernel = p->exact ? "i16 fixed point" : "lut of 256";
  if (!p->exact) EDGE_TRY(scale16(c, node, p, input.scale));
  edge_logistic_table16(p->table);
  if (is_tanh) {
    p->unary.span = p->exact ? tanh16_exact : tanh16_table;
  } else {
    p->unary.span = p->exact ? logistic16_exact : logistic16_table;
  }
  return EDGE_OK;
}

/* ---- compile ----------------------------------------------------------------------------- */

static const uint32_t TYPES = EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT8) |
                              EDGE_TYPE_BIT(EDGE_UINT8) | EDGE_TYPE_BIT(EDGE_INT16);

static edge_status logistic_compile(edge_compiler *c, edge_node *node) {
  static const edge_function function = {.own = logistic_own, .xnn = logistic_xnn};
  EDGE_TRY(edge_unary_types(c, node, TYPES));
  const edge_type type = edge_node_input(c, node, 0)->type;
  if (type == EDGE_FLOAT32) return edge_unary_float(c, node, logistic_floats);
  if (type == EDGE_INT16) return curve16_compile(c, node, false);
  return edge_lookup_function(c, node, &function);
}

static edge_status tanh_compile(edge_compiler *c, edge_node *node) {
  static const edge_function function = {.own = hyperbolic_tangent, .xnn = hyperbolic_tangent};
  EDGE_TRY(edge_unary_types(c, node, TYPES));
  const edge_type type = edge_node_input(c, node, 0)->type;
  if (type == EDGE_FLOAT32) return edge_unary_float(c, node, tanh_floats);
  if (type == EDGE_INT16) return curve16_compile(c, node, true);
  return edge_lookup_function(c, node, &function);
}

EDGE_UNARY(logistic, 14, "LOGISTIC", 3, 0, logistic_compile);
EDGE_UNARY(tanh, 28, "TANH", 3, 0, tanh_compile);
