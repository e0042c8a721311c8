/* GATHER and GATHER_ND: rows of a tensor by their indices, which are checked when they are known.
 *
 * Source: tflite/kernels/gather.cc, gather_nd.cc, internal/optimized/optimized_ops.h.
 */
#include "../movement.h"
#include "../operators.h"

typedef struct gather_params {
  int32_t axis, batches; /* as in the file, perhaps negative */
} gather_params;

typedef struct gather_state {
  int64_t batch;   /* products of the dimensions up to the batch dimensions */
  int64_t outer;   /* of those between them and the axis */
  int64_t entries; /* of the axis */
  int64_t indices; /* of one batch */
  int64_t row;     /* bytes behind the axis */
} gather_state;

/* Index k of input 1: int16, int32 or int64. */
static int64_t index_at(const void *indices, edge_type type, int64_t k) {
  if (type == EDGE_INT64) return ((const int64_t *)indices)[k];
  return type == EDGE_INT16 ? ((const int16_t *)indices)[k] : ((const int32_t *)indices)[k];
}

static edge_status gather_compile(edge_compiler *c, edge_node *node) {
  edge_tensor *indices = edge_node_input(c, node, 1);
  node->kernel = "copy";
  EDGE_TRY(edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0)));
  if (indices->type != EDGE_INT16) EDGE_TRY(edge_expect_whole(c, node, 1, "indices"));
  return edge_keep(c, indices);
}

static edge_status gather_options_compile(edge_compiler *c, edge_node *node) {
  gather_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (!edge_table_i32(&node->options, GATHER_AXIS, 0, &p->axis) ||
      !edge_table_i32(&node->options, GATHER_BATCH_DIMS, 0, &p->batches)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  return gather_compile(c, node);
}

static edge_status set_output(edge_planner *planner, const edge_step *step, int32_t rank,
                              const int32_t *shape) {
  if (rank <= EDGE_MAX_RANK) return edge_set_shape(planner, step, 0, rank, shape);
  return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                        "expected an output of at most %lld dimensions, got %lld",
                        (long long)EDGE_MAX_RANK, (long long)rank);
}

/* ---- GATHER ------------------------------------------------------------------------------ */

static edge_status read_batches(edge_planner *planner, const edge_step *step, int32_t axis,
                                int32_t *batches) {
  const gather_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *indices = edge_view_in(planner, step, 1);
  const int64_t count = p->batches < 0 ? (int64_t)p->batches + indices->rank : p->batches;
  bool ok = count >= 0 && count <= axis && count <= indices->rank;
  for (int32_t d = 0; ok && d < count; d++) ok = input->shape[d] == indices->shape[d];
  *batches = (int32_t)count;
  if (ok) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected batch dimensions that input and indices share, got %lld",
                        (long long)p->batches);
}

static edge_status gather_shape(edge_planner *planner, edge_step *step) {
  const gather_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *indices = edge_view_in(planner, step, 1);
  int32_t shape[2 * EDGE_MAX_RANK];
  int32_t rank = 0;
  int32_t axis;
  int32_t batches;
  EDGE_TRY(edge_axis_of(planner, step, p->axis, input->rank, &axis));
  EDGE_TRY(read_batches(planner, step, axis, &batches));
  for (int32_t d = 0; d < axis; d++) shape[rank++] = input->shape[d];
  for (int32_t d = batches; d < indices->rank; d++) shape[rank++] = indices->shape[d];
  for (int32_t d = axis + 1; d < input->rank; d++) shape[rank++] = input->shape[d];
  gather_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->batch = edge_count(input->shape, 0, batches);
  s->outer = edge_count(input->shape, batches, axis);
  s->entries = input->shape[axis];
  s->indices = edge_count(indices->shape, batches, indices->rank);
  s->row = edge_count(input->shape, axis + 1, input->rank) * edge_element_in(planner, step, 0);
  return set_output(planner, step, rank, shape);
}

static edge_status fail_index(edge_planner *planner, const edge_step *step, int64_t count,
                              int64_t index) {
  return edge_step_fail(planner, step, edge_value_status(planner),
                        "expected indices in 0 ... %lld, got %lld", (long long)count - 1,
                        (long long)index);
}

static edge_status gather_perform(edge_planner *planner, edge_step *step) {
  const gather_state *s = step->state;
  const edge_frame *frame = planner->frame;
  const edge_type type = edge_tensor_in(planner, step, 1)->type;
  const void *indices = edge_in(frame, step, 1);
  const uint8_t *in = edge_in(frame, step, 0);
  uint8_t *out = edge_out(frame, step, 0);
  for (int64_t k = 0; k < s->batch * s->indices; k++) {
    const int64_t index = index_at(indices, type, k);
    if (index < 0 || index >= s->entries) return fail_index(planner, step, s->entries, index);
  }
  for (int64_t b = 0; b < s->batch; b++) {
    for (int64_t o = 0; o < s->outer; o++) {
      for (int64_t k = 0; k < s->indices; k++) {
        const int64_t index = index_at(indices, type, b * s->indices + k);
        memcpy(out, in + index * s->row, (size_t)s->row);
        out += s->row;
      }
      in += s->entries * s->row;
    }
  }
  return EDGE_OK;
}

/* ---- GATHER_ND --------------------------------------------------------------------------- */

typedef struct places_state {
  int64_t places; /* how many rows are gathered */
  int32_t width;  /* indices of each */
  int64_t row;    /* bytes */
  int64_t stride[EDGE_MAX_RANK];
} places_state;

static edge_status places_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *indices = edge_view_in(planner, step, 1);
  int32_t shape[2 * EDGE_MAX_RANK];
  int32_t rank = 0;
  const int32_t width = indices->rank > 0 ? indices->shape[indices->rank - 1] : -1;
  if (input->rank < 1 || width < 0 || width > input->rank) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected at most %lld indices for each row, got %lld",
                          (long long)input->rank, (long long)width);
  }
  for (int32_t d = 0; d < indices->rank - 1; d++) shape[rank++] = indices->shape[d];
  for (int32_t d = width; d < input->rank; d++) shape[rank++] = input->shape[d];
  places_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  const int64_t size = edge_element_in(planner, step, 0);
  s->places = edge_count(indices->shape, 0, indices->rank - 1);
  s->width = width;
  s->row = edge_count(input->shape, width, input->rank) * size;
  for (int32_t d = 0; d < width; d++) {
    s->stride[d] = edge_count(input->shape, d + 1, input->rank) * size;
  }
  return set_output(planner, step, rank, shape);
}

static edge_status places_perform(edge_planner *planner, edge_step *step) {
  const places_state *s = step->state;
  const edge_frame *frame = planner->frame;
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_type type = edge_tensor_in(planner, step, 1)->type;
  const void *indices = edge_in(frame, step, 1);
  uint8_t *out = edge_out(frame, step, 0);
  if (input->bytes == 0) return fail_index(planner, step, 0, 0);
  for (int64_t k = 0; k < s->places; k++) {
    const uint8_t *row = input->data;
    for (int32_t d = 0; d < s->width; d++) {
      const int64_t index = index_at(indices, type, k * s->width + d);
      if (index < 0 || index >= input->shape[d]) {
        return fail_index(planner, step, input->shape[d], index);
      }
      row += index * s->stride[d];
    }
    memcpy(out + k * s->row, row, (size_t)s->row);
  }
  return EDGE_OK;
}

const edge_operator edge_operator_gather = {
    .code = 36,
    .name = "GATHER",
    .version_max = 8,
    .options_type = 23,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = gather_options_compile,
    .shape = gather_shape,
    .perform = gather_perform,
};

const edge_operator edge_operator_gather_nd = {
    .code = 107,
    .name = "GATHER_ND",
    .version_max = 6,
    .options_type = 83,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = gather_compile,
    .shape = places_shape,
    .perform = places_perform,
};
