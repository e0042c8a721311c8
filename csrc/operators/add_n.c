/* ADD_N: the sum of any number of float32 or int32 tensors of one shape, from the first to the
 * last.
 *
 * Source: tflite/kernels/add_n.cc.
 */
#include "../operators.h"

static edge_status add_n_compile(edge_compiler *c, edge_node *node) {
  const edge_type type = edge_node_input(c, node, 0)->type;
  if (type != EDGE_FLOAT32 && type != EDGE_INT32) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected terms of type float32 or int32, got %s (tensor %lld)",
                          edge_type_name(type), (long long)node->inputs[0]);
  }
  for (int32_t i = 0; i < node->input_count; i++) {
    edge_tensor *term = edge_node_optional(c, node, i);
    if (term == NULL) {
      return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                            "expected input %lld to be there, got none", (long long)i);
    }
    EDGE_TRY(edge_expect_type(c, node, term, "a term", type));
    EDGE_TRY(edge_keep(c, term));
  }
  return edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", type);
}

static edge_status add_n_shape(edge_planner *planner, edge_step *step) {
  const edge_view *first = edge_view_in(planner, step, 0);
  for (int32_t i = 1; i < step->node->input_count; i++) {
    const edge_view *term = edge_view_in(planner, step, i);
    if (term->rank == first->rank &&
        memcmp(term->shape, first->shape, (size_t)first->rank * sizeof *first->shape) == 0) {
      continue;
    }
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected terms of one shape, got another one as input %lld",
                          (long long)i);
  }
  return edge_set_shape(planner, step, 0, first->rank, first->shape);
}

static void add_floats(float *restrict out, const float *term, int64_t count) {
  for (int64_t i = 0; i < count; i++) out[i] += term[i];
}

static void add_integers(uint32_t *restrict out, const uint32_t *term, int64_t count) {
  for (int64_t i = 0; i < count; i++) out[i] += term[i];
}

static void add_n_run(const edge_frame *frame, const edge_step *step) {
  const edge_node *node = step->node;
  const edge_view *output = &frame->views[node->outputs[0]];
  const int64_t count = edge_count(output->shape, 0, output->rank);
  memcpy(output->data, edge_in(frame, step, 0), (size_t)output->bytes);
  for (int32_t i = 1; i < node->input_count; i++) {
    if (frame->graph->tensors[node->outputs[0]].type == EDGE_FLOAT32) {
      add_floats(output->data, edge_in(frame, step, i), count);
    } else {
      add_integers(output->data, edge_in(frame, step, i), count);
    }
  }
}

const edge_operator edge_operator_add_n = {.code = 106,
                                           .name = "ADD_N",
                                           .version_max = 1,
                                           .options_type = 82,
                                           .inputs_min = 2,
                                           .inputs_max = INT32_MAX,
                                           .compile = add_n_compile,
                                           .shape = add_n_shape,
                                           .run = add_n_run};
