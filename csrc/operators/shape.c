/* SHAPE and RANK: a tensor's dimensions as values. They are known as soon as shapes are, so that
 * the arithmetic behind them is done while planning.
 *
 * Source: tflite/kernels/shape.cc, rank.cc.
 */
#include "../operators.h"

static edge_status shape_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  int8_t type;
  node->kernel = "none";
  if (!edge_table_i8(&node->options, SHAPE_OUT_TYPE, EDGE_FLOAT32, &type)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (type != EDGE_INT32 && type != EDGE_INT64) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an out_type of INT32 or INT64, got %s",
                          edge_type_name((edge_type)type));
  }
  return edge_expect_type(c, node, output, "an output of the out_type", (edge_type)type);
}

static edge_status shape_shape(edge_planner *planner, edge_step *step) {
  return edge_set_shape(planner, step, 0, 1, &edge_view_in(planner, step, 0)->rank);
}

static void shape_run(const edge_frame *frame, const edge_step *step) {
  const edge_view *input = &frame->views[step->node->inputs[0]];
  void *out = edge_out(frame, step, 0);
  const bool wide = frame->graph->tensors[step->node->outputs[0]].type == EDGE_INT64;
  for (int32_t d = 0; d < input->rank; d++) {
    if (wide) {
      ((int64_t *)out)[d] = input->shape[d];
    } else {
      ((int32_t *)out)[d] = input->shape[d];
    }
  }
}

static edge_status rank_compile(edge_compiler *c, edge_node *node) {
  node->kernel = "none";
  return edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_INT32);
}

static edge_status rank_shape(edge_planner *planner, edge_step *step) {
  return edge_set_shape(planner, step, 0, 0, NULL);
}

static void rank_run(const edge_frame *frame, const edge_step *step) {
  *(int32_t *)edge_out(frame, step, 0) = frame->views[step->node->inputs[0]].rank;
}

const edge_operator edge_operator_shape = {
    .code = 77,
    .name = "SHAPE",
    .version_max = 1,
    .options_type = 55,
    .inputs_min = 1,
    .inputs_max = 1,
    .of_shapes = true,
    .compile = shape_compile,
    .shape = shape_shape,
    .run = shape_run,
};

const edge_operator edge_operator_rank = {
    .code = 110,
    .name = "RANK",
    .version_max = 1,
    .options_type = 82,
    .inputs_min = 1,
    .inputs_max = 1,
    .of_shapes = true,
    .compile = rank_compile,
    .shape = rank_shape,
    .run = rank_run,
};
