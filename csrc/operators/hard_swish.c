/* HARD_SWISH: x * min(max(x + 3, 0), 6) / 6 of int8, uint8 and float32.
 *
 * 8 bits are never XNNPACK's. LiteRT computes in 16 bits: x with 7 more bits, times a "reluish" of
 * x / 3 moved from [-1, 1] to [0, 1]. Their product is cut off, not rounded.
 *
 * Source: tflite/kernels/activations.cc, internal/reference/hard_swish.h; docs/numerics.md.
 */
#include "../lookup.h"
#include "../operators.h"

typedef struct swish {
  edge_quant input, output;
  int32_t output_multiplier, output_exponent; /* 16 bits; the exponent is at most 0 */
  int32_t reluish_multiplier, reluish_exponent;
} swish;

EDGE_FLOAT_SPAN(swish_floats, x *(x < -3.0f ? 0.0f : x > 3.0f ? 6.0f : x + 3.0f) * (1.0f / 6.0f))

static int32_t clamp16(int64_t value) {
  return edge_clamp(value, INT16_MIN, INT16_MAX);
}

/* Halves up; both fit 16 bits, and the multiplier is above 0. */
static int32_t multiply16(int32_t value, int32_t multiplier) {
  return (value * multiplier + (1 << 14)) >> 15;
}

/* Shifted right, halves away from zero. */
static int32_t shift_away(int32_t value, int32_t by) {
  if (by >= 31) return 0;
  const int32_t mask = (int32_t)((UINT32_C(1) << by) - 1);
  return (value >> by) + ((value & mask) > (mask >> 1) + (value < 0));
}

static int32_t reluish(const swish *p, int32_t value) {
  const int32_t exponent = p->reluish_exponent;
  int64_t x = value;
  if (exponent > 0) x = clamp16(x * (INT64_C(1) << (exponent - 1)));
  x = multiply16((int32_t)x, p->reluish_multiplier);
  if (exponent > 0) x = clamp16(x * 2);
  if (exponent < 0) x = shift_away((int32_t)x, -exponent);
  return ((int32_t)x + (1 << 15)) >> 1;
}

static int64_t swish_value(int32_t value, const void *context) {
  const swish *p = context;
  const int32_t high = (value - p->input.zero_point) * 128;
  const int32_t scaled = multiply16(high, p->output_multiplier);
  const int32_t product = reluish(p, high) * scaled / (1 << 15);
  return (int64_t)shift_away(product, -p->output_exponent) + p->output.zero_point;
}

static int32_t multiplier16(edge_fixed fixed) {
  return fixed.multiplier >= INT32_MAX - (1 << 15) ? INT16_MAX
                                                   : (fixed.multiplier + (1 << 15)) >> 16;
}

static edge_status swish_quantized(edge_compiler *c, edge_node *node) {
  swish p;
  edge_fixed output;
  edge_fixed relu;
  EDGE_TRY(edge_unary_quants(c, node, &p.input, &p.output));
  const float high_scale = (1.0f / 128.0f) * p.input.scale;
  const float ratio = high_scale / p.output.scale;
  const float reluish_ratio = high_scale / (3.0f / 32768.0f);
  EDGE_TRY(edge_expect_fixed(c, node, (double)ratio, true, &output));
  EDGE_TRY(edge_expect_fixed(c, node, (double)reluish_ratio, true, &relu));
  if (output.exponent > 0) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an input scale at most 128 times the output's, got a larger "
                          "one");
  }
  p.output_multiplier = multiplier16(output);
  p.output_exponent = output.exponent;
  p.reluish_multiplier = multiplier16(relu);
  p.reluish_exponent = relu.exponent;
  return edge_lookup_values(c, node, swish_value, &p);
}

static edge_status hard_swish_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_unary_types(
      c, node, EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT8) | EDGE_TYPE_BIT(EDGE_UINT8)));
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) {
    return edge_unary_float(c, node, swish_floats);
  }
  return swish_quantized(c, node);
}

EDGE_UNARY(hard_swish, 117, "HARD_SWISH", 1, 91, hard_swish_compile);
