/* SQRT and RSQRT: int8, int16, float32.
 *
 * Quantized ones are LiteRT's own: SQRT cuts off in float32, RSQRT of int8 is integer arithmetic,
 * and of int16 a table. Both want inputs of at least 0, which is asked when they run.
 *
 * Source: tflite/kernels/elementwise.cc; docs/numerics.md.
 */
#include <math.h>

#include "../fixed_point.h"
#include "../lookup.h"
#include "../operators.h"

EDGE_FLOAT_SPAN(sqrt_floats, sqrtf(x))
EDGE_FLOAT_SPAN(rsqrt_floats, 1.0f / sqrtf(x))

typedef struct root {
  edge_unary unary;
  edge_quant input, output;
  edge_fixed scale;
} root;

/* Whole numbers for LiteRT's arithmetic: 20 bits behind the point. */
enum { POINT = 20 };

static int64_t sqrt_value(int32_t value, const void *context) {
  const root *p = context;
  const float x = p->input.scale * (float)(value - p->input.zero_point);
  if (!(x > 0.0f)) return p->output.zero_point;
  const float quotient = sqrtf(x) / p->output.scale;
  return (int64_t)(quotient < 0x1p31f ? quotient : 0x1p31f) + p->output.zero_point;
}

static edge_fixed shifted(edge_fixed fixed, int32_t by) {
  fixed.exponent = (int16_t)(fixed.exponent + by);
  return fixed;
}

static int64_t rsqrt_value(int32_t value, const void *context) {
  const root *p = context;
  const int32_t x = value - p->input.zero_point;
  if (x <= 0) return INT8_MAX;
  const int32_t whole = edge_multiply(1, shifted(edge_inverse_sqrt(x), POINT));
  return (int64_t)edge_multiply(whole, shifted(p->scale, -POINT)) + p->output.zero_point;
}

/* `context`: the output's scale; 0 stands for the greatest number. */
static float rsqrt_of(float x, const void *context) {
  return x <= 0.0f ? 32767.0f * *(const float *)context : 1.0f / sqrtf(x);
}

static void sqrt16_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) {
    to[i] = (int16_t)edge_clamp(sqrt_value(from[i], unary), INT16_MIN, INT16_MAX);
  }
}

static const uint32_t TYPES =
    EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT8) | EDGE_TYPE_BIT(EDGE_INT16);

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status sqrt_quantized(edge_compiler *c, edge_node *node, root *made) {
  if (edge_node_input(c, node, 0)->type == EDGE_INT8) {
    return edge_lookup_values(c, node, sqrt_value, made);
  }
  root *p = edge_unary_params(c, node, sizeof *p, sqrt16_span);
  if (p == NULL) return edge_no_memory(c->error);
  made->unary = p->unary;
  *p = *made;
  return EDGE_OK;
}

static edge_status rsqrt_quantized(edge_compiler *c, edge_node *node, root *made) {
  const edge_function function = {.own = rsqrt_of, .context = &made->output.scale};
  if (edge_node_input(c, node, 0)->type == EDGE_INT16) {
    return edge_lookup_function(c, node, &function);
  }
  const double real = 1.0 / (double)(sqrtf(made->input.scale) * made->output.scale);
  EDGE_TRY(edge_expect_fixed(c, node, real, true, &made->scale));
  return edge_lookup_values(c, node, rsqrt_value, made);
}

static edge_status root_compile(edge_compiler *c, edge_node *node, edge_unary_span *floats,
                                edge_status (*quantized)(edge_compiler *, edge_node *, root *)) {
  root made = {0};
  EDGE_TRY(edge_unary_types(c, node, TYPES));
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) return edge_unary_float(c, node, floats);
  EDGE_TRY(edge_unary_quants(c, node, &made.input, &made.output));
  EDGE_TRY(quantized(c, node, &made));
  ((edge_unary *)node->params)->least = made.input.zero_point;
  return EDGE_OK;
}

static edge_status sqrt_compile(edge_compiler *c, edge_node *node) {
  return root_compile(c, node, sqrt_floats, sqrt_quantized);
}
static edge_status rsqrt_compile(edge_compiler *c, edge_node *node) {
  return root_compile(c, node, rsqrt_floats, rsqrt_quantized);
}

/* ---- run --------------------------------------------------------------------------------- */

static int32_t least8(const int8_t *in, uint64_t count) {
  int8_t least = INT8_MAX;
  for (uint64_t i = 0; i < count; i++) least = in[i] < least ? in[i] : least;
  return least;
}

static int32_t least16(const int16_t *in, uint64_t count) {
  int16_t least = INT16_MAX;
  for (uint64_t i = 0; i < count; i++) least = in[i] < least ? in[i] : least;
  return least;
}

static edge_status root_perform(edge_planner *planner, edge_step *step) {
  const edge_unary *unary = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_type type = edge_tensor_in(planner, step, 0)->type;
  if (type != EDGE_FLOAT32 && input->bytes > 0) {
    const int32_t least = type == EDGE_INT8 ? least8(input->data, input->bytes)
                                            : least16(input->data, input->bytes / 2);
    if (least < unary->least) {
      return edge_step_fail(planner, step, EDGE_INVALID_ARGUMENT,
                            "expected inputs of at least 0, quantized as %lld, got %lld",
                            (long long)unary->least, (long long)least);
    }
  }
  edge_unary_run(planner->frame, step);
  return EDGE_OK;
}

#define EDGE_ROOT(symbol, code_, name_, version_, compile_)                \
  const edge_operator edge_operator_##symbol = {.code = (code_),           \
                                                .name = (name_),           \
                                                .version_max = (version_), \
                                                .inputs_min = 1,           \
                                                .inputs_max = 1,           \
                                                .compile = (compile_),     \
                                                .shape = edge_unary_shape, \
                                                .perform = root_perform}

EDGE_ROOT(sqrt, 75, "SQRT", 2, sqrt_compile);
EDGE_ROOT(rsqrt, 76, "RSQRT", 3, rsqrt_compile);
