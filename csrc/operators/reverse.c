/* REVERSE_V2 and REVERSE_SEQUENCE: dimensions backwards, as a whole or each batch's first part.
 *
 * Source: tflite/kernels/reverse.cc, reverse_sequence.cc, internal/reference/reference_ops.h.
 */
#include "../movement.h"
#include "../operators.h"

/* ---- REVERSE_V2 -------------------------------------------------------------------------- */

static edge_status reverse_compile(edge_compiler *c, edge_node *node) {
  node->kernel = "copy";
  EDGE_TRY(edge_expect_whole(c, node, 1, "axes"));
  return edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

static edge_status read_axes(edge_planner *planner, const edge_step *step, uint32_t *reversed) {
  const int32_t rank = edge_view_in(planner, step, 0)->rank;
  int32_t axes[EDGE_MAX_RANK];
  int32_t count = 0;
  EDGE_TRY(edge_list_in(planner, step, 1, EDGE_MAX_RANK, axes, &count));
  for (int32_t i = 0; i < count; i++) {
    int32_t axis = 0;
    EDGE_TRY(edge_axis_of(planner, step, axes[i], rank, &axis));
    if (*reversed >> axis & 1) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected each axis once, got %lld again", (long long)axis);
    }
    *reversed |= 1u << axis;
  }
  return EDGE_OK;
}

static edge_status reverse_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  uint32_t reversed = 0;
  EDGE_TRY(read_axes(planner, step, &reversed));
  edge_walk *walk = edge_step_state(planner, step, sizeof *walk);
  if (walk == NULL) return edge_no_memory(planner->error);
  walk->block = edge_element_in(planner, step, 0);
  for (int32_t d = 0; d < input->rank; d++) {
    const int64_t stride = edge_count(input->shape, d + 1, input->rank) * walk->block;
    const bool back = reversed >> d & 1;
    if (back) walk->start += (input->shape[d] - (int64_t)1) * stride;
    edge_walk_add(walk, input->shape[d], back ? -stride : stride, stride);
  }
  return edge_set_shape(planner, step, 0, input->rank, input->shape);
}

/* ---- REVERSE_SEQUENCE -------------------------------------------------------------------- */

typedef struct sequence_params {
  int32_t sequence, batch; /* dimensions */
} sequence_params;

static edge_status sequence_compile(edge_compiler *c, edge_node *node) {
  sequence_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  node->kernel = "copy";
  if (!edge_table_i32(&node->options, REVERSE_SEQUENCE_SEQ_DIM, 0, &p->sequence) ||
      !edge_table_i32(&node->options, REVERSE_SEQUENCE_BATCH_DIM, 0, &p->batch)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  EDGE_TRY(edge_expect_whole(c, node, 1, "lengths"));
  EDGE_TRY(edge_keep(c, edge_node_input(c, node, 1)));
  return edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

static edge_status sequence_shape(edge_planner *planner, edge_step *step) {
  const sequence_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *lengths = edge_view_in(planner, step, 1);
  bool ok = p->sequence >= 0 && p->batch >= 0 && p->sequence != p->batch;
  ok = ok && p->sequence < input->rank && p->batch < input->rank && lengths->rank == 1;
  if (!ok || lengths->shape[0] != input->shape[p->batch]) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected two dimensions of %lld and a length for each batch, got others",
                          (long long)input->rank);
  }
  return edge_set_shape(planner, step, 0, input->rank, input->shape);
}

static edge_status check_lengths(edge_planner *planner, const edge_step *step, int32_t batches,
                                 int32_t most) {
  const void *lengths = edge_view_in(planner, step, 1)->data;
  for (int32_t b = 0; b < batches; b++) {
    const int32_t length = edge_value_at(planner, step, 1, lengths, b);
    if (length >= 0 && length <= most) continue;
    return edge_step_fail(planner, step, edge_value_status(planner),
                          "expected lengths in 0 ... %lld, got %lld", (long long)most,
                          (long long)length);
  }
  return EDGE_OK;
}

/* A batch: the first `length` entries of the sequence backwards, the others as they are. */
static void move_batch(const edge_view *input, const sequence_params *p, int64_t size,
                       int64_t batch, int64_t length, uint8_t *to) {
  const int64_t all = input->shape[p->sequence];
  int64_t stride[EDGE_MAX_RANK];
  for (int32_t d = 0; d < input->rank; d++) {
    stride[d] = edge_count(input->shape, d + 1, input->rank) * size;
  }
  for (int32_t part = 0; part < 2; part++) {
    edge_walk walk = {.block = size};
    for (int32_t d = 0; d < input->rank; d++) {
      int64_t count = input->shape[d];
      if (d == p->batch) continue;
      if (d == p->sequence) count = part == 0 ? length : all - length;
      const bool back = part == 0 && d == p->sequence;
      if (back && count > 0) walk.start += (count - 1) * stride[d];
      edge_walk_add(&walk, count, back ? -stride[d] : stride[d], stride[d]);
    }
    const int64_t at = batch * stride[p->batch] + (part ? length * stride[p->sequence] : 0);
    edge_walk_run(&walk, (const uint8_t *)input->data + at, to + at);
  }
}

static edge_status sequence_perform(edge_planner *planner, edge_step *step) {
  const sequence_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const void *lengths = edge_view_in(planner, step, 1)->data;
  const int32_t batches = input->shape[p->batch];
  EDGE_TRY(check_lengths(planner, step, batches, input->shape[p->sequence]));
  for (int32_t b = 0; b < batches; b++) {
    move_batch(input, p, edge_element_in(planner, step, 0), b,
               edge_value_at(planner, step, 1, lengths, b), edge_out(planner->frame, step, 0));
  }
  return EDGE_OK;
}

const edge_operator edge_operator_reverse_v2 = {
    .code = 105,
    .name = "REVERSE_V2",
    .version_max = 4,
    .options_type = 81,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = reverse_compile,
    .shape = reverse_shape,
    .run = edge_move_run,
};

const edge_operator edge_operator_reverse_sequence = {
    .code = 112,
    .name = "REVERSE_SEQUENCE",
    .version_max = 1,
    .options_type = 87,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = sequence_compile,
    .shape = sequence_shape,
    .perform = sequence_perform,
};
