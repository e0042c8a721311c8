/* Operators of one int8 input that are a table of 256 entries: LOGISTIC, TANH and the RELU family.
 *
 * XNNPACK makes tables of LOGISTIC and TANH by its reference kernels; what it refuses follows
 * LiteRT's own table, which rounds half away from zero. The RELU family is never taken: LiteRT
 * rescales by fixed point and clamps.
 *
 * Source: XNNPACK src/reference/unary-elementwise.cc; tflite/kernels/activations.cc,
 * internal/common.h; docs/numerics.md.
 */
#include <math.h>

#include "../fold.h"
#include "../functions.h"
#include "../operators.h"
#include "../rules.h"
#include "../table.h"

typedef struct unary_params {
  edge_table8 table;
} unary_params;

/* ---- LOGISTIC and TANH ------------------------------------------------------------------- */

static float logistic(float x) {
  if (x > 100.0f) return 1.0f;
  if (x < -100.0f) return 0.0f;
  const double e = edge_exp((double)x);
  return (float)(e / (1.0 + e));
}

static float logistic_fixed(float x) {
  return 1.0f / (1.0f + edge_expf(-x));
}

static float hyperbolic_tangent(float x) {
  return edge_tanhf(x);
}

/* LiteRT's own table: times 1 / scale, half away from zero, plus the zero point. */
static void table_away(edge_table8 *table, float (*f)(float), edge_quant input, edge_quant output) {
  const float inverse = 1.0f / output.scale;
  for (int32_t i = 0; i < 256; i++) {
    const float x = input.scale * (float)(edge_byte_value(i) - input.zero_point);
    const float value = roundf(f(x) * inverse) + (float)output.zero_point;
    const float low = value > (float)INT8_MIN ? value : (float)INT8_MIN;
    table->bytes[i] = (uint8_t)(int8_t)(low < (float)INT8_MAX ? low : (float)INT8_MAX);
  }
}

static edge_status unary_begin(edge_compiler *c, edge_node *node, edge_quant *input,
                               edge_quant *output) {
  const edge_tensor *in = edge_node_input(c, node, 0);
  const edge_tensor *out = edge_node_output(c, node, 0);
  if (edge_node_params(c, node, sizeof(unary_params)) == NULL) return edge_no_memory(c->error);
  node->kernel = "lut";
  EDGE_TRY(edge_expect_type(c, node, in, "an input", EDGE_INT8));
  EDGE_TRY(edge_expect_type(c, node, out, "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_quant(c, node, in, "an input", input));
  return edge_expect_quant(c, node, out, "an output", output);
}

static edge_status table_compile(edge_compiler *c, edge_node *node, float (*xnn)(float),
                                 float (*own)(float)) {
  const edge_range all = {INT8_MIN, INT8_MAX};
  edge_quant input;
  edge_quant output;
  EDGE_TRY(unary_begin(c, node, &input, &output));
  unary_params *p = node->params;
  if (edge_xnn_activation(edge_node_input(c, node, 0)) &&
      edge_xnn_activation(edge_node_output(c, node, 0))) {
    edge_table8_float(&p->table, xnn, input, output, all);
    edge_fold_unary(c, node);
  } else {
    table_away(&p->table, own, input, output);
  }
  return EDGE_OK;
}

static edge_status logistic_compile(edge_compiler *c, edge_node *node) {
  return table_compile(c, node, logistic, logistic_fixed);
}

static edge_status tanh_compile(edge_compiler *c, edge_node *node) {
  return table_compile(c, node, hyperbolic_tangent, hyperbolic_tangent);
}

/* ---- RELU family ------------------------------------------------------------------------- */

static int32_t relu_bound(float value, edge_quant output, int32_t otherwise) {
  if (isinf(value)) return otherwise;
  const float quotient = roundf(value / output.scale);
  const float most = 1073741824.0f;
  const int32_t whole = (int32_t)fmaxf(-most, fminf(quotient, most));
  return edge_clamp((int64_t)whole + output.zero_point, INT8_MIN, INT8_MAX);
}

static edge_status relu_compile(edge_compiler *c, edge_node *node, float min, float max) {
  edge_quant input;
  edge_quant output;
  EDGE_TRY(unary_begin(c, node, &input, &output));
  unary_params *p = node->params;
  edge_fixed fixed;
  EDGE_TRY(edge_expect_fixed(c, node, (double)(input.scale / output.scale), true, &fixed));
  const edge_range range = {relu_bound(min, output, INT8_MIN), relu_bound(max, output, INT8_MAX)};
  edge_table8_fixed(&p->table, fixed, input, output, range);
  return EDGE_OK;
}

static edge_status relu_any_compile(edge_compiler *c, edge_node *node) {
  return relu_compile(c, node, 0.0f, INFINITY);
}
static edge_status relu_6_compile(edge_compiler *c, edge_node *node) {
  return relu_compile(c, node, 0.0f, 6.0f);
}
static edge_status relu_n1_to_1_compile(edge_compiler *c, edge_node *node) {
  return relu_compile(c, node, -1.0f, 1.0f);
}
static edge_status relu_0_to_1_compile(edge_compiler *c, edge_node *node) {
  return relu_compile(c, node, 0.0f, 1.0f);
}

/* ---- shape and run ----------------------------------------------------------------------- */

static edge_status unary_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  return edge_set_shape(planner, step, 0, input->rank, input->shape);
}

static void unary_run(const edge_frame *frame, const edge_step *step) {
  const unary_params *p = step->node->params;
  frame->model->kernels->x8_lut(edge_out(frame, step, 0), edge_in(frame, step, 0),
                                (size_t)frame->views[step->node->outputs[0]].bytes, p->table.bytes);
}

#define EDGE_UNARY(symbol, code_, name_, version_, compile_)               \
  const edge_operator edge_operator_##symbol = {.code = (code_),           \
                                                .name = (name_),           \
                                                .version_max = (version_), \
                                                .inputs_min = 1,           \
                                                .inputs_max = 1,           \
                                                .compile = (compile_),     \
                                                .shape = unary_shape,      \
                                                .run = unary_run}

EDGE_UNARY(logistic, 14, "LOGISTIC", 3, logistic_compile);
EDGE_UNARY(tanh, 28, "TANH", 3, tanh_compile);
EDGE_UNARY(relu, 19, "RELU", 3, relu_any_compile);
EDGE_UNARY(relu6, 21, "RELU6", 3, relu_6_compile);
EDGE_UNARY(relu_n1_to_1, 20, "RELU_N1_TO_1", 3, relu_n1_to_1_compile);
EDGE_UNARY(relu_0_to_1, 152, "RELU_0_TO_1", 1, relu_0_to_1_compile);
