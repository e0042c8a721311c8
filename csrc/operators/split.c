/* SPLIT, SPLIT_V and UNPACK: one tensor cut along an axis into several; UNPACK also drops the axis.
 *
 * Source: tflite/kernels/split.cc, split_v.cc, unpack.cc.
 */
#include "../movement.h"
#include "../operators.h"

enum { PARTS_MAX = 4096 };

typedef struct split_params {
  int32_t axis; /* UNPACK's, as in the file */
} split_params;

typedef struct split_state {
  int64_t outer;  /* products of the dimensions before the axis */
  int64_t all;    /* bytes of the input below the axis */
  int64_t rows[]; /* [outputs] bytes of each output below the axis */
} split_state;

static edge_status split_begin(edge_compiler *c, edge_node *node, int32_t input, uint32_t field) {
  int32_t parts;
  node->kernel = "copy";
  if (!edge_table_i32(&node->options, field, 0, &parts)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (parts != node->output_count) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected %lld outputs, got %lld",
                          (long long)parts, (long long)node->output_count);
  }
  for (int32_t i = 0; i < node->output_count; i++) {
    EDGE_TRY(edge_expect_movable(c, node, edge_node_input(c, node, input),
                                 edge_node_output(c, node, i)));
  }
  return edge_keep(c, edge_node_input(c, node, input));
}

static edge_status split_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_expect_whole(c, node, 0, "an axis"));
  return split_begin(c, node, 1, SPLIT_NUM_SPLITS);
}

static edge_status split_v_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_expect_whole(c, node, 1, "sizes"));
  EDGE_TRY(edge_expect_whole(c, node, 2, "an axis"));
  EDGE_TRY(edge_keep(c, edge_node_input(c, node, 1)));
  return split_begin(c, node, 0, SPLIT_V_NUM_SPLITS);
}

static edge_status unpack_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  split_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (!edge_table_i32(&node->options, UNPACK_AXIS, 0, &p->axis)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  EDGE_TRY(split_begin(c, node, 0, UNPACK_NUM));
  for (int32_t i = 0; i < node->output_count; i++) {
    EDGE_TRY(edge_expect_moved(c, node, input, edge_node_output(c, node, i)));
  }
  return EDGE_OK;
}

/* ---- shapes ------------------------------------------------------------------------------ */

static split_state *make_state(edge_planner *planner, edge_step *step, const edge_view *input,
                               int32_t tensor, int32_t axis) {
  const size_t parts = (size_t)step->node->output_count;
  split_state *s = edge_step_state(planner, step, sizeof *s + parts * sizeof *s->rows);
  if (s == NULL) return NULL;
  s->outer = edge_count(input->shape, 0, axis);
  s->all = edge_count(input->shape, axis, input->rank) * edge_element_in(planner, step, tensor);
  return s;
}

/* Output i is the input with `size` entries along the axis. */
static edge_status set_part(edge_planner *planner, const edge_step *step, const edge_view *input,
                            int32_t axis, int32_t i, int32_t size) {
  split_state *s = step->state;
  int32_t shape[EDGE_MAX_RANK];
  memcpy(shape, input->shape, sizeof shape);
  shape[axis] = size;
  if (input->shape[axis] > 0) s->rows[i] = s->all / input->shape[axis] * size;
  return edge_set_shape(planner, step, i, input->rank, shape);
}

static edge_status split_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 1);
  const int32_t parts = step->node->output_count;
  int32_t axis;
  EDGE_TRY(edge_axis_in(planner, step, 0, input->rank, &axis));
  if (input->shape[axis] % parts != 0) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a dimension that %lld outputs share evenly, got %lld",
                          (long long)parts, (long long)input->shape[axis]);
  }
  if (make_state(planner, step, input, 1, axis) == NULL) return edge_no_memory(planner->error);
  for (int32_t i = 0; i < parts; i++) {
    EDGE_TRY(set_part(planner, step, input, axis, i, input->shape[axis] / parts));
  }
  return EDGE_OK;
}

/* Sizes, one of which may be -1: what the others leave. */
static edge_status read_sizes(edge_planner *planner, const edge_step *step, int32_t whole,
                              const void *values, int32_t *rest) {
  int64_t sum = 0;
  int32_t open = 0;
  bool ok = true;
  for (int32_t i = 0; ok && i < step->node->output_count; i++) {
    const int32_t size = edge_value_at(planner, step, 1, values, i);
    open += size == -1;
    sum += size == -1 ? 0 : size;
    ok = size >= -1 && open <= 1;
  }
  *rest = (int32_t)edge_max(0, whole - sum);
  if (ok && (open ? sum <= whole : sum == whole)) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected sizes that make %lld, got others of sum %lld", (long long)whole,
                        (long long)sum);
}

static edge_status split_v_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *sizes = edge_view_in(planner, step, 1);
  const int32_t parts = step->node->output_count;
  int32_t axis;
  int32_t rest;
  EDGE_TRY(edge_axis_in(planner, step, 2, input->rank, &axis));
  if (sizes->rank != 1 || sizes->shape[0] != parts) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a size for each of %lld outputs, got %lld", (long long)parts,
                          (long long)edge_count(sizes->shape, 0, sizes->rank));
  }
  const void *values = edge_values_in(planner, step, 1);
  if (values == NULL) return EDGE_DEFERRED;
  EDGE_TRY(read_sizes(planner, step, input->shape[axis], values, &rest));
  if (make_state(planner, step, input, 0, axis) == NULL) return edge_no_memory(planner->error);
  for (int32_t i = 0; i < parts; i++) {
    const int32_t size = edge_value_at(planner, step, 1, values, i);
    EDGE_TRY(set_part(planner, step, input, axis, i, size == -1 ? rest : size));
  }
  return EDGE_OK;
}

static edge_status unpack_shape(edge_planner *planner, edge_step *step) {
  const split_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const int32_t parts = step->node->output_count;
  int32_t shape[EDGE_MAX_RANK];
  int32_t axis;
  EDGE_TRY(edge_axis_of(planner, step, p->axis, input->rank, &axis));
  if (input->shape[axis] != parts) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a dimension of %lld, one for each output, got %lld",
                          (long long)parts, (long long)input->shape[axis]);
  }
  split_state *s = make_state(planner, step, input, 0, axis);
  if (s == NULL) return edge_no_memory(planner->error);
  for (int32_t d = 0; d < input->rank - 1; d++) shape[d] = input->shape[d < axis ? d : d + 1];
  for (int32_t i = 0; i < parts; i++) {
    s->rows[i] = s->all / parts;
    EDGE_TRY(edge_set_shape(planner, step, i, input->rank - 1, shape));
  }
  return EDGE_OK;
}

/* ---- the run ----------------------------------------------------------------------------- */

static void run_from(const edge_frame *frame, const edge_step *step, int32_t input) {
  const split_state *s = step->state;
  const uint8_t *in = edge_in(frame, step, input);
  for (int32_t i = 0; i < step->node->output_count; i++) {
    if (s->rows[i] == 0) continue;
    edge_copy_blocks(in, s->all, edge_out(frame, step, i), s->rows[i], s->rows[i], s->outer);
    in += s->rows[i];
  }
}

static void split_run(const edge_frame *frame, const edge_step *step) {
  run_from(frame, step, 1);
}

static void split_first_run(const edge_frame *frame, const edge_step *step) {
  run_from(frame, step, 0);
}

const edge_operator edge_operator_split = {
    .code = 49,
    .name = "SPLIT",
    .version_max = 5,
    .options_type = 35,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_min = 1,
    .outputs_max = PARTS_MAX,
    .compile = split_compile,
    .shape = split_shape,
    .run = split_run,
};

const edge_operator edge_operator_split_v = {
    .code = 102,
    .name = "SPLIT_V",
    .version_max = 3,
    .options_type = 79,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_min = 1,
    .outputs_max = PARTS_MAX,
    .compile = split_v_compile,
    .shape = split_v_shape,
    .run = split_first_run,
};

const edge_operator edge_operator_unpack = {
    .code = 88,
    .name = "UNPACK",
    .version_max = 6,
    .options_type = 64,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_min = 1,
    .outputs_max = PARTS_MAX,
    .compile = unpack_compile,
    .shape = unpack_shape,
    .run = split_first_run,
};
