/* SLICE: a box of a tensor, given by its first corner and its size; a size of -1 goes to the end.
 *
 * Source: tflite/kernels/slice.cc.
 */
#include "../movement.h"
#include "../operators.h"

static edge_status slice_compile(edge_compiler *c, edge_node *node) {
  node->kernel = "copy";
  EDGE_TRY(edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0)));
  EDGE_TRY(edge_expect_whole(c, node, 1, "begins"));
  return edge_expect_whole(c, node, 2, "sizes");
}

static edge_status slice_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t begin[EDGE_MAX_RANK];
  int32_t size[EDGE_MAX_RANK];
  EDGE_TRY(edge_exact_list_in(planner, step, 1, input->rank, begin));
  EDGE_TRY(edge_exact_list_in(planner, step, 2, input->rank, size));
  edge_walk *walk = edge_step_state(planner, step, sizeof *walk);
  if (walk == NULL) return edge_no_memory(planner->error);
  walk->block = edge_element_in(planner, step, 0);
  for (int32_t d = 0; d < input->rank; d++) {
    const bool rest = size[d] == -1 && begin[d] >= 0 && begin[d] <= input->shape[d];
    if (rest) size[d] = input->shape[d] - begin[d];
    if (begin[d] < 0 || size[d] < 0 || begin[d] > input->shape[d] - (int64_t)size[d]) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected a slice within %lld entries of dimension %lld, got %lld from "
                            "%lld",
                            (long long)input->shape[d], (long long)d, (long long)size[d],
                            (long long)begin[d]);
    }
  }
  for (int32_t d = 0; d < input->rank; d++) {
    const int64_t from = edge_count(input->shape, d + 1, input->rank) * walk->block;
    const int64_t to = edge_count(size, d + 1, input->rank) * walk->block;
    walk->start += begin[d] * from;
    edge_walk_add(walk, size[d], from, to);
  }
  return edge_set_shape(planner, step, 0, input->rank, size);
}

const edge_operator edge_operator_slice = {
    .code = 65,
    .name = "SLICE",
    .version_max = 8,
    .options_type = 48,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = slice_compile,
    .shape = slice_shape,
    .run = edge_move_run,
};
