/* RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1 and LEAKY_RELU: int8, uint8, int16, float32.
 *
 * Quantized RELUs are never XNNPACK's: LiteRT rescales by fixed point and clamps. XNNPACK takes
 * LEAKY_RELU of 8 bits where both ratios of scales fit its multipliers of 8 fraction bits.
 *
 * Source: tflite/kernels/activations.cc, internal/reference/leaky_relu.h; XNNPACK src/qs8-vlrelu;
 * docs/numerics.md.
 */
#include <math.h>

#include "../fold.h"
#include "../lookup.h"
#include "../operators.h"

/* Bits of the types that LiteRT's kernels know. */
enum {
  EIGHT_BITS = 1u << EDGE_INT8 | 1u << EDGE_UINT8,
  WITHOUT_INT16 = EIGHT_BITS | 1u << EDGE_FLOAT32,
  ALL = WITHOUT_INT16 | 1u << EDGE_INT16,
};

/* Two slopes, of inputs at least 0 and below. */
typedef struct relu_params {
  edge_unary unary;
  edge_quant input, output;
  edge_fixed positive, negative;
  bool xnn, flip; /* flip: the slope below 0 is negative */
  int32_t xnn_positive, xnn_negative;
  edge_range range;
  float alpha;
} relu_params;

static int64_t relu_value(int32_t value, const void *context) {
  const relu_params *p = context;
  const int64_t scaled = edge_multiply(value - p->input.zero_point, p->positive);
  return edge_clamp(scaled + p->output.zero_point, p->range.min, p->range.max);
}

static int64_t leaky_value(int32_t value, const void *context) {
  const relu_params *p = context;
  const int32_t x = value - p->input.zero_point;
  if (p->xnn) {
    const int32_t multiplier = x >= 0 ? p->xnn_positive : p->xnn_negative;
    return (((int64_t)x * multiplier + 128) >> 8) + p->output.zero_point;
  }
  const int64_t scaled = edge_multiply(x, x >= 0 ? p->positive : p->negative);
  return (x < 0 && p->flip ? -scaled : scaled) + p->output.zero_point;
}

static void relu16_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const relu_params *p = (const relu_params *)(const void *)unary;
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) to[i] = (int16_t)relu_value(from[i], p);
}

static void leaky16_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const relu_params *p = (const relu_params *)(const void *)unary;
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) {
    to[i] = (int16_t)edge_clamp(leaky_value(from[i], p), INT16_MIN, INT16_MAX);
  }
}

static void leaky_floats(const edge_unary *unary, const void *in, void *out, size_t count) {
  const float alpha = ((const relu_params *)(const void *)unary)->alpha;
  const float *from = in;
  float *to = out;
  for (size_t i = 0; i < count; i++) to[i] = from[i] < 0.0f ? from[i] * alpha : from[i];
}

EDGE_FLOAT_SPAN(relu_floats, x < 0.0f ? 0.0f : x)
EDGE_FLOAT_SPAN(relu6_floats, x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x)
EDGE_FLOAT_SPAN(relu_n1_floats, x < -1.0f ? -1.0f : x > 1.0f ? 1.0f : x)
EDGE_FLOAT_SPAN(relu_0_floats, x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x)

/* ---- RELU -------------------------------------------------------------------------------- */

static void type_bounds(edge_type type, int32_t *least, int32_t *most) {
  *least = type == EDGE_INT16 ? INT16_MIN : type == EDGE_INT8 ? INT8_MIN : 0;
  *most = type == EDGE_INT16 ? INT16_MAX : type == EDGE_INT8 ? INT8_MAX : UINT8_MAX;
}

static int32_t relu_bound(float value, edge_quant output, int32_t least, int32_t most) {
  if (isinf(value)) return most;
  const float quotient = roundf(value / output.scale);
  const float far = 1073741824.0f;
  const int32_t whole = (int32_t)fmaxf(-far, fminf(quotient, far));
  return edge_clamp((int64_t)whole + output.zero_point, least, most);
}

static edge_status relu_compile(edge_compiler *c, edge_node *node, float min, float max,
                                uint32_t types, edge_unary_span *floats) {
  relu_params made = {0};
  int32_t least;
  int32_t most;
  EDGE_TRY(edge_unary_types(c, node, types));
  const edge_type type = edge_node_input(c, node, 0)->type;
  if (type == EDGE_FLOAT32) return edge_unary_float(c, node, floats);
  EDGE_TRY(edge_unary_quants(c, node, &made.input, &made.output));
  const float ratio = made.input.scale / made.output.scale;
  EDGE_TRY(edge_expect_fixed(c, node, (double)ratio, true, &made.positive));
  type_bounds(type, &least, &most);
  made.range = (edge_range){relu_bound(min, made.output, least, most),
                            relu_bound(max, made.output, least, most)};
  if (type != EDGE_INT16) return edge_lookup_values(c, node, relu_value, &made);
  relu_params *p = edge_unary_params(c, node, sizeof *p, relu16_span);
  if (p == NULL) return edge_no_memory(c->error);
  made.unary = p->unary;
  *p = made;
  return EDGE_OK;
}

static edge_status relu_any_compile(edge_compiler *c, edge_node *node) {
  return relu_compile(c, node, 0.0f, INFINITY, ALL, relu_floats);
}
static edge_status relu_6_compile(edge_compiler *c, edge_node *node) {
  return relu_compile(c, node, 0.0f, 6.0f, ALL, relu6_floats);
}
static edge_status relu_n1_to_1_compile(edge_compiler *c, edge_node *node) {
  return relu_compile(c, node, -1.0f, 1.0f, WITHOUT_INT16, relu_n1_floats);
}
/* XNNPACK does not take it, and no chain goes through it. */
static edge_status relu_0_to_1_compile(edge_compiler *c, edge_node *node) {
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) {
    EDGE_TRY(edge_unary_types(c, node, WITHOUT_INT16));
    return edge_unary_plain(c, node, relu_0_floats, "f32");
  }
  return relu_compile(c, node, 0.0f, 1.0f, WITHOUT_INT16, NULL);
}

/* ---- LEAKY_RELU -------------------------------------------------------------------------- */

/* XNNPACK takes both slopes; 8 bits only. */
static bool leaky_xnn(const edge_compiler *c, const edge_node *node, const relu_params *p) {
  const float positive = p->input.scale / p->output.scale;
  const float negative = positive * p->alpha;
  return edge_node_input(c, node, 0)->type != EDGE_INT16 && edge_xnn_both(c, node) &&
         isnormal(p->alpha) && positive >= 0x1p-8f && positive <= 0x1p7f &&
         negative >= -127.99609375f && negative <= 0x1p7f && fabsf(negative) >= 0x1p-8f;
}

static edge_status leaky_quantized(edge_compiler *c, edge_node *node, relu_params *made) {
  EDGE_TRY(edge_unary_quants(c, node, &made->input, &made->output));
  const float ratio = made->input.scale / made->output.scale;
  const float below = made->input.scale * made->alpha / made->output.scale;
  EDGE_TRY(edge_expect_fixed(c, node, (double)ratio, true, &made->positive));
  EDGE_TRY(edge_expect_fixed(c, node, fabs((double)below), true, &made->negative));
  made->flip = below < 0.0f;
  made->xnn = leaky_xnn(c, node, made);
  if (made->xnn) {
    made->xnn_positive = edge_round_even(256.0f * ratio);
    made->xnn_negative = edge_round_even(256.0f * (ratio * made->alpha));
    edge_fold_unary(c, node);
  }
  return EDGE_OK;
}

static edge_status leaky_compile(edge_compiler *c, edge_node *node) {
  relu_params made = {0};
  EDGE_TRY(edge_unary_types(c, node, ALL));
  const edge_type type = edge_node_input(c, node, 0)->type;
  if (!edge_table_f32(&node->options, LEAKY_RELU_ALPHA, 0.0f, &made.alpha) ||
      !isfinite(made.alpha)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected an alpha that is finite, got %g",
                          (double)made.alpha);
  }
  if (type != EDGE_FLOAT32) EDGE_TRY(leaky_quantized(c, node, &made));
  if ((EIGHT_BITS & EDGE_TYPE_BIT(type)) != 0) {
    return edge_lookup_values(c, node, leaky_value, &made);
  }
  relu_params *p =
      edge_unary_params(c, node, sizeof *p, type == EDGE_FLOAT32 ? leaky_floats : leaky16_span);
  if (p == NULL) return edge_no_memory(c->error);
  made.unary = p->unary;
  *p = made;
  if (type == EDGE_FLOAT32 && isnormal(made.alpha) && edge_xnn_shape(edge_node_input(c, node, 0))) {
    edge_fold_unary(c, node);
  }
  return EDGE_OK;
}

EDGE_UNARY(relu, 19, "RELU", 3, 0, relu_any_compile);
EDGE_UNARY(relu6, 21, "RELU6", 3, 0, relu_6_compile);
EDGE_UNARY(relu_n1_to_1, 20, "RELU_N1_TO_1", 3, 0, relu_n1_to_1_compile);
EDGE_UNARY(relu_0_to_1, 152, "RELU_0_TO_1", 1, 0, relu_0_to_1_compile);
EDGE_UNARY(leaky_relu, 98, "LEAKY_RELU", 2, 75, leaky_compile);
