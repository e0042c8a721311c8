/* EXP, LOG, ELU and GELU: float32, and quantized types by table.
 *
 * XNNPACK takes ELU of int8; LiteRT's own tables make the others.
 *
 * Source: tflite/kernels/exp.cc, elementwise.cc, activations.cc, internal/reference/gelu.h;
 * XNNPACK src/reference/unary-elementwise.cc; docs/numerics.md.
 */
#include "../float_functions.h"
#include "../functions.h"
#include "../lookup.h"
#include "../operators.h"

enum {
  INT8_FLOAT = 1u << EDGE_INT8 | 1u << EDGE_FLOAT32,
  INT16_TOO = INT8_FLOAT | 1u << EDGE_INT16,
};

static const float ROOT_HALF = 0.70710678f;      /* sqrt(1 / 2) */
static const float ROOT_2_OVER_PI = 0.79788458f; /* sqrt(2 / pi) */

/* ---- EXP --------------------------------------------------------------------------------- */

static float exp_of(float x, const void *context) {
  (void)context;
  return edge_expf(x);
}

EDGE_FLOAT_SPAN(exp_floats, edge_fast_exp(x))

static edge_status exp_compile(edge_compiler *c, edge_node *node) {
  static const edge_function function = {.own = exp_of};
  EDGE_TRY(edge_unary_types(c, node, INT16_TOO));
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) {
    return edge_unary_float(c, node, exp_floats);
  }
  return edge_lookup_function(c, node, &function);
}

/* ---- LOG --------------------------------------------------------------------------------- */

/* `context`: the least output, which stands for all that is not above 0. */
static float log_of(float x, const void *context) {
  return x <= 0.0f ? *(const float *)context : edge_logf(x);
}

EDGE_FLOAT_SPAN(log_floats, edge_fast_log(x))

static edge_status log_compile(edge_compiler *c, edge_node *node) {
  edge_quant input;
  edge_quant output;
  float least;
  const edge_function function = {.own = log_of, .context = &least};
  EDGE_TRY(edge_unary_types(c, node, INT16_TOO));
  const edge_type type = edge_node_input(c, node, 0)->type;
  if (type == EDGE_FLOAT32) return edge_unary_float(c, node, log_floats);
  EDGE_TRY(edge_unary_quants(c, node, &input, &output));
  const int32_t lowest = type == EDGE_INT8 ? INT8_MIN : INT16_MIN;
  least = (float)(lowest - output.zero_point) * output.scale;
  return edge_lookup_function(c, node, &function);
}

/* ---- ELU --------------------------------------------------------------------------------- */

static float elu_of(float x, const void *context) {
  (void)context;
  return x < 0.0f ? (float)edge_expm1((double)x) : x;
}

EDGE_FLOAT_SPAN(elu_floats, x < 0.0f ? edge_fast_expm1_negative(x) : x)

static edge_status elu_compile(edge_compiler *c, edge_node *node) {
  static const edge_function function = {.own = elu_of, .xnn = elu_of};
  EDGE_TRY(edge_unary_types(c, node, INT8_FLOAT));
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) {
    return edge_unary_float(c, node, elu_floats);
  }
  return edge_lookup_function(c, node, &function);
}

/* ---- GELU -------------------------------------------------------------------------------- */

static float gelu_of(float x, const void *context) {
  (void)context;
  return 0.5f * x * edge_erfcf(x * -ROOT_HALF);
}

static float gelu_near(float x, const void *context) {
  (void)context;
  const float cubic = x + 0.044715f * x * x * x;
  return 0.5f * x * (1.0f + edge_tanhf(ROOT_2_OVER_PI * cubic));
}

EDGE_FLOAT_SPAN(gelu_floats, 0.5f * x * edge_fast_erfc(x * -ROOT_HALF))
/* (1 + tanh y) / 2 is logistic(2 y), which keeps its precision below 0. */
EDGE_FLOAT_SPAN(gelu_near_floats,
                x *edge_fast_logistic(2.0f * ROOT_2_OVER_PI * (x + 0.044715f * x * x * x)))

static edge_status gelu_compile(edge_compiler *c, edge_node *node) {
  static const edge_function exact = {.own = gelu_of};
  static const edge_function near = {.own = gelu_near};
  bool approximate;
  EDGE_TRY(edge_unary_types(c, node, INT16_TOO | EDGE_TYPE_BIT(EDGE_UINT8)));
  if (!edge_table_bool(&node->options, GELU_APPROXIMATE, false, &approximate)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) {
    return edge_unary_float(c, node, approximate ? gelu_near_floats : gelu_floats);
  }
  return edge_lookup_function(c, node, approximate ? &near : &exact);
}

EDGE_UNARY(exp, 47, "EXP", 2, 33, exp_compile);
EDGE_UNARY(log, 73, "LOG", 2, 0, log_compile);
EDGE_UNARY(elu, 111, "ELU", 1, 0, elu_compile);
EDGE_UNARY(gelu, 150, "GELU", 3, 116, gelu_compile);
