/* TRANSPOSE: dimensions in another order. Elements are moved as bytes.
 *
 * Source: tflite/kernels/transpose.cc.
 */
#include "../movement.h"
#include "../operators.h"

static edge_status transpose_compile(edge_compiler *c, edge_node *node) {
  node->kernel = "copy";
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 1), "an order", EDGE_INT32));
  return edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

/* Each dimension once. */
static edge_status read_order(edge_planner *planner, const edge_step *step, int32_t rank,
                              int32_t *order) {
  uint32_t seen = 0;
  EDGE_TRY(edge_exact_list_in(planner, step, 1, rank, order));
  for (int32_t i = 0; i < rank; i++) {
    EDGE_TRY(edge_axis_of(planner, step, order[i], rank, &order[i]));
    seen |= 1u << order[i];
  }
  if (seen == (1u << rank) - 1) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected each of %lld dimensions once, got another order",
                        (long long)rank);
}

static edge_status transpose_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t order[EDGE_MAX_RANK];
  int32_t shape[EDGE_MAX_RANK];
  EDGE_TRY(read_order(planner, step, input->rank, order));
  edge_walk *walk = edge_step_state(planner, step, sizeof *walk);
  if (walk == NULL) return edge_no_memory(planner->error);
  for (int32_t i = 0; i < input->rank; i++) shape[i] = input->shape[order[i]];
  walk->block = edge_element_in(planner, step, 0);
  for (int32_t i = 0; i < input->rank; i++) {
    const int64_t from = edge_count(input->shape, order[i] + 1, input->rank) * walk->block;
    const int64_t to = edge_count(shape, i + 1, input->rank) * walk->block;
    edge_walk_add(walk, shape[i], from, to);
  }
  return edge_set_shape(planner, step, 0, input->rank, shape);
}

const edge_operator edge_operator_transpose = {
    .code = 39,
    .name = "TRANSPOSE",
    .version_max = 9,
    .options_type = 26,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = transpose_compile,
    .shape = transpose_shape,
    .run = edge_move_run,
};
