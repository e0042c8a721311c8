/* TILE, BROADCAST_TO, BROADCAST_ARGS and FILL: the same elements several times.
 *
 * Source: tflite/kernels/tile.cc, broadcast_to.cc, broadcast_args.cc, fill.cc.
 */
#include "../movement.h"
#include "../operators.h"

static edge_status repeat_compile(edge_compiler *c, edge_node *node) {
  node->kernel = "copy";
  EDGE_TRY(edge_expect_whole(c, node, 1, "a list"));
  return edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

static edge_status fail_too_large(edge_planner *planner, const edge_step *step, int64_t size) {
  return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                        "expected dimensions that fit int32, got %lld", (long long)size);
}

/* A walk over an output of the shape that has been set, from the bytes of an element on. */
static edge_walk *begin_walk(edge_planner *planner, edge_step *step, int32_t element) {
  edge_walk *walk = edge_step_state(planner, step, sizeof *walk);
  if (walk != NULL) walk->block = edge_element_in(planner, step, element);
  return walk;
}

static const edge_view *output_of(const edge_planner *planner, const edge_step *step) {
  return &planner->frame->views[step->node->outputs[0]];
}

/* ---- TILE -------------------------------------------------------------------------------- */

static edge_status tile_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t times[EDGE_MAX_RANK];
  int32_t shape[EDGE_MAX_RANK];
  EDGE_TRY(edge_exact_list_in(planner, step, 1, input->rank, times));
  for (int32_t d = 0; d < input->rank; d++) {
    const int64_t size = (int64_t)times[d] * input->shape[d];
    if (times[d] < 0) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected multiples of at least 0, got %lld", (long long)times[d]);
    }
    if (size > INT32_MAX) return fail_too_large(planner, step, size);
    shape[d] = (int32_t)size;
  }
  EDGE_TRY(edge_set_shape(planner, step, 0, input->rank, shape));
  edge_walk *walk = begin_walk(planner, step, 0);
  if (walk == NULL) return edge_no_memory(planner->error);
  for (int32_t d = 0; d < input->rank; d++) {
    const int64_t from = edge_count(input->shape, d + 1, input->rank) * walk->block;
    const int64_t to = edge_count(shape, d + 1, input->rank) * walk->block;
    edge_walk_add(walk, times[d], 0, input->shape[d] * to);
    edge_walk_add(walk, input->shape[d], from, to);
  }
  return EDGE_OK;
}

/* ---- BROADCAST_TO ------------------------------------------------------------------------ */

static edge_status expand_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = 0;
  EDGE_TRY(edge_list_in(planner, step, 1, EDGE_MAX_RANK, shape, &rank));
  const int32_t added = rank - input->rank;
  bool ok = added >= 0;
  for (int32_t d = 0; ok && d < input->rank; d++) {
    ok = input->shape[d] == 1 || input->shape[d] == shape[d + added];
  }
  if (!ok) {
    char whole[EDGE_SHAPE_TEXT];
    char found[EDGE_SHAPE_TEXT];
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a shape that the input's, %s, goes into, got %s",
                          edge_shape_text(whole, input->rank, input->shape),
                          edge_shape_text(found, rank, shape));
  }
  EDGE_TRY(edge_set_shape(planner, step, 0, rank, shape));
  edge_walk *walk = begin_walk(planner, step, 0);
  if (walk == NULL) return edge_no_memory(planner->error);
  for (int32_t d = 0; d < rank; d++) {
    const bool moves = d >= added && input->shape[d - added] != 1;
    const int64_t from = moves ? edge_count(input->shape, d - added + 1, input->rank) : 0;
    const int64_t to = edge_count(shape, d + 1, rank) * walk->block;
    edge_walk_add(walk, shape[d], from * walk->block, to);
  }
  return EDGE_OK;
}

/* ---- FILL -------------------------------------------------------------------------------- */

static edge_status fill_compile(edge_compiler *c, edge_node *node) {
  edge_tensor *value = edge_node_input(c, node, 1);
  node->kernel = "copy";
  EDGE_TRY(edge_expect_whole(c, node, 0, "dimensions"));
  EDGE_TRY(edge_expect_moved(c, node, value, edge_node_output(c, node, 0)));
  return edge_keep(c, value);
}

static edge_status fill_shape(edge_planner *planner, edge_step *step) {
  const edge_view *value = edge_view_in(planner, step, 1);
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = 0;
  if (edge_count(value->shape, 0, value->rank) != 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a value of one element, got %lld",
                          (long long)edge_count(value->shape, 0, value->rank));
  }
  EDGE_TRY(edge_list_in(planner, step, 0, EDGE_MAX_RANK, shape, &rank));
  EDGE_TRY(edge_set_shape(planner, step, 0, rank, shape));
  edge_walk *walk = begin_walk(planner, step, 1);
  if (walk == NULL) return edge_no_memory(planner->error);
  const edge_view *output = output_of(planner, step);
  edge_walk_add(walk, edge_count(output->shape, 0, output->rank), 0, walk->block);
  return EDGE_OK;
}

static void fill_run(const edge_frame *frame, const edge_step *step) {
  edge_walk_run(step->state, edge_in(frame, step, 1), edge_out(frame, step, 0));
}

/* ---- BROADCAST_ARGS ---------------------------------------------------------------------- */

static edge_status arguments_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  node->kernel = "none";
  EDGE_TRY(edge_expect_whole(c, node, 0, "a shape"));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 1), "a shape", output->type));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "a shape", output->type));
  return edge_keep(c, edge_node_input(c, node, 1));
}

static edge_status arguments_shape(edge_planner *planner, edge_step *step) {
  const edge_view *a = edge_view_in(planner, step, 0);
  const edge_view *b = edge_view_in(planner, step, 1);
  if (a->rank != 1 || b->rank != 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected two lists, got ranks %lld and %lld", (long long)a->rank,
                          (long long)b->rank);
  }
  const int32_t most = a->shape[0] > b->shape[0] ? a->shape[0] : b->shape[0];
  return edge_set_shape(planner, step, 0, 1, &most);
}

static int64_t entry_of(const edge_planner *planner, const edge_step *step, int32_t i, int64_t k) {
  const edge_view *view = edge_view_in(planner, step, i);
  if (edge_tensor_in(planner, step, i)->type == EDGE_INT64) return ((int64_t *)view->data)[k];
  return ((int32_t *)view->data)[k];
}

/* From the last entry on: a missing entry and 1 give way. */
static edge_status arguments_perform(edge_planner *planner, edge_step *step) {
  const edge_view *output = output_of(planner, step);
  const int32_t rank = output->shape[0];
  const int32_t short_of_a = rank - edge_view_in(planner, step, 0)->shape[0];
  const int32_t short_of_b = rank - edge_view_in(planner, step, 1)->shape[0];
  for (int32_t k = 0; k < rank; k++) {
    const int64_t a = k < short_of_a ? 1 : entry_of(planner, step, 0, k - short_of_a);
    const int64_t b = k < short_of_b ? 1 : entry_of(planner, step, 1, k - short_of_b);
    if (a != b && a != 1 && b != 1) {
      return edge_step_fail(planner, step, edge_value_status(planner),
                            "expected shapes that go together, got %lld and %lld", (long long)a,
                            (long long)b);
    }
    const int64_t value = a == 1 ? b : a;
    if (edge_tensor_in(planner, step, 0)->type == EDGE_INT64) {
      ((int64_t *)output->data)[k] = value;
    } else {
      ((int32_t *)output->data)[k] = (int32_t)value;
    }
  }
  return EDGE_OK;
}

const edge_operator edge_operator_tile = {
    .code = 69,
    .name = "TILE",
    .version_max = 3,
    .options_type = 51,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = repeat_compile,
    .shape = tile_shape,
    .run = edge_move_run,
};

const edge_operator edge_operator_broadcast_to = {
    .code = 130,
    .name = "BROADCAST_TO",
    .version_max = 4,
    .options_type = 104,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = repeat_compile,
    .shape = expand_shape,
    .run = edge_move_run,
};

const edge_operator edge_operator_fill = {
    .code = 94,
    .name = "FILL",
    .version_max = 5,
    .options_type = 68,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = fill_compile,
    .shape = fill_shape,
    .run = fill_run,
};

const edge_operator edge_operator_broadcast_args = {
    .code = 145,
    .name = "BROADCAST_ARGS",
    .version_max = 1,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = arguments_compile,
    .shape = arguments_shape,
    .perform = arguments_perform,
};
