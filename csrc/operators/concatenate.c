/* CONCATENATION: tensors of one type and one quantization, joined along an axis. A pure copy:
 * LiteRT refuses int8 inputs with another quantization than the output's, and so do we.
 *
 * Source: tflite/kernels/concatenation.cc; docs/numerics.md.
 */
#include "../operators.h"
#include "../rules.h"

typedef struct concatenate_params {
  int32_t axis; /* as in the file, perhaps negative */
  uint32_t size;
} concatenate_params;

typedef struct concatenate_state {
  int64_t outer;  /* products of the dimensions before the axis */
  int64_t rows[]; /* [inputs] bytes of each input below the axis */
} concatenate_state;

static edge_status concatenate_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  int8_t activation;
  concatenate_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_read_activation(c, node, CONCATENATION_ACTIVATION, &activation));
  if (!edge_table_i32(&node->options, CONCATENATION_AXIS, 0, &p->axis)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (activation != ACTIVATION_NONE) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected no fused activation, got %lld", (long long)activation);
  }
  for (int32_t i = 0; i < node->input_count; i++) {
    edge_tensor *input = edge_node_optional(c, node, i);
    if (input == NULL) {
      return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected input %lld, got none",
                            (long long)i);
    }
    EDGE_TRY(edge_expect_movable(c, node, input, output));
    if (!edge_same_quantization(input, output)) {
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected inputs with the output's quantization, got another at %lld",
                            (long long)i);
    }
    EDGE_TRY(edge_keep(c, input));
  }
  p->size = (uint32_t)edge_type_size(output->type);
  node->kernel = "copy";
  return EDGE_OK;
}

static edge_status add_input(edge_planner *planner, const edge_step *step, int32_t axis, int32_t i,
                             int32_t *shape) {
  const edge_view *first = edge_view_in(planner, step, 0);
  const edge_view *input = edge_view_in(planner, step, i);
  bool fits = input->rank == first->rank;
  for (int32_t d = 0; fits && d < first->rank; d++) {
    fits = d == axis || input->shape[d] == first->shape[d];
  }
  if (!fits || (int64_t)shape[axis] + input->shape[axis] > INT32_MAX) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected inputs of one shape but along dimension %lld, got another at "
                          "%lld",
                          (long long)axis, (long long)i);
  }
  shape[axis] += input->shape[axis];
  return EDGE_OK;
}

static edge_status concatenate_shape(edge_planner *planner, edge_step *step) {
  const concatenate_params *p = step->node->params;
  const edge_view *first = edge_view_in(planner, step, 0);
  const int32_t axis = p->axis < 0 ? p->axis + first->rank : p->axis;
  const int32_t inputs = step->node->input_count;
  int32_t shape[EDGE_MAX_RANK];
  if (axis < 0 || axis >= first->rank) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an axis in %lld ... %lld, got %lld", -(long long)first->rank,
                          (long long)first->rank - 1, (long long)p->axis);
  }
  concatenate_state *s =
      edge_step_state(planner, step, sizeof *s + (size_t)inputs * sizeof *s->rows);
  if (s == NULL) return edge_no_memory(planner->error);
  memcpy(shape, first->shape, sizeof shape);
  shape[axis] = 0;
  for (int32_t i = 0; i < inputs; i++) {
    const edge_view *input = edge_view_in(planner, step, i);
    EDGE_TRY(add_input(planner, step, axis, i, shape));
    s->rows[i] = edge_count(input->shape, axis, input->rank) * p->size;
  }
  s->outer = edge_count(first->shape, 0, axis);
  return edge_set_shape(planner, step, 0, first->rank, shape);
}

static void concatenate_run(const edge_frame *frame, const edge_step *step) {
  const concatenate_state *s = step->state;
  uint8_t *out = edge_out(frame, step, 0);
  for (int64_t r = 0; r < s->outer; r++) {
    for (int32_t i = 0; i < step->node->input_count; i++) {
      const uint8_t *in = edge_in(frame, step, i);
      memcpy(out, in + r * s->rows[i], (size_t)s->rows[i]);
      out += s->rows[i];
    }
  }
}

const edge_operator edge_operator_concatenation = {
    .code = 2,
    .name = "CONCATENATION",
    .version_max = 4,
    .options_type = 10,
    .inputs_min = 1,
    .inputs_max = 4096,
    .compile = concatenate_compile,
    .shape = concatenate_shape,
    .run = concatenate_run,
};
