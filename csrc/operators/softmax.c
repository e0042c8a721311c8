/* SOFTMAX: int8 over the last dimension, output scale 1/256 and zero point -128.
 *
 * XNNPACK does not take it. LiteRT's optimised kernel: a table of e^(-scale * beta * i) for i = 0
 * ... 255 in float32, summed from left to right, each entry times 1 / (sum * output scale), rounded
 * half away from zero.
 *
 * Source: tflite/kernels/activations.cc, internal/optimized/optimized_ops.h; docs/numerics.md.
 */
#include <math.h>

#include "../functions.h"
#include "../operators.h"
#include "../rules.h"

typedef struct softmax_params {
  edge_quant output;
  float table[256]; /* by distance from the row's maximum */
} softmax_params;

typedef struct softmax_state {
  int64_t rows;
  int32_t depth;
} softmax_state;

static edge_status softmax_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  edge_quant quant;
  float beta;
  softmax_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_type(c, node, input, "an input", EDGE_INT8));
  EDGE_TRY(edge_expect_type(c, node, output, "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &quant));
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &p->output));
  if (p->output.zero_point != -128 || fabsf(p->output.scale - 0x1p-8f) > 0.001f * 0x1p-8f) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an output of scale 1/256 and zero point -128, got another");
  }
  if (!edge_table_f32(&node->options, SOFTMAX_BETA, 0.0f, &beta) || !isfinite(beta) ||
      beta <= 0.0f) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a beta that is finite and above 0, got another");
  }
  const float step = -quant.scale * beta;
  for (int32_t i = 0; i < 256; i++) p->table[i] = edge_expf(step * (float)i);
  node->kernel = "softmax by table";
  return EDGE_OK;
}

static edge_status softmax_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  softmax_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  if (input->rank < 1 || input->shape[input->rank - 1] < 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected rows of at least one element, got none");
  }
  s->depth = input->shape[input->rank - 1];
  s->rows = edge_count(input->shape, 0, input->rank - 1);
  return edge_set_shape(planner, step, 0, input->rank, input->shape);
}

static void softmax_row(const softmax_params *p, const int8_t *in, int32_t depth, int8_t *out) {
  int32_t most = INT8_MIN;
  float sum = 0.0f;
  for (int32_t i = 0; i < depth; i++) most = in[i] > most ? in[i] : most;
  for (int32_t i = 0; i < depth; i++) sum += p->table[most - in[i]];
  const float whole = sum * p->output.scale;
  const float inverse = 1.0f / whole;
  for (int32_t i = 0; i < depth; i++) {
    /* Values are at least 0, so that half away from zero is half up. */
    const float value = p->table[most - in[i]] * inverse;
    const float floor = (float)(int32_t)value;
    const int32_t rounded = (int32_t)floor + (value - floor >= 0.5f);
    out[i] = (int8_t)edge_clamp((int64_t)rounded + p->output.zero_point, INT8_MIN, INT8_MAX);
  }
}

static void softmax_run(const edge_frame *frame, const edge_step *step) {
  const softmax_params *p = step->node->params;
  const softmax_state *s = step->state;
  const int8_t *in = edge_in(frame, step, 0);
  int8_t *out = edge_out(frame, step, 0);
  for (int64_t r = 0; r < s->rows; r++) {
    softmax_row(p, in + r * s->depth, s->depth, out + r * s->depth);
  }
}

const edge_operator edge_operator_softmax = {
    .code = 25,
    .name = "SOFTMAX",
    .version_max = 3,
    .options_type = 9,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = softmax_compile,
    .shape = softmax_shape,
    .run = softmax_run,
};
