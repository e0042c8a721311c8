/* SCATTER_ND, SPARSE_TO_DENSE, SEGMENT_SUM and DYNAMIC_UPDATE_SLICE: entries put where indices say.
 *
 * Source: tflite/kernels/scatter_nd.cc, sparse_to_dense.cc, segment_sum.cc,
 * dynamic_update_slice.cc.
 */
#include "../movement.h"
#include "../operators.h"

static const edge_view *output_of(const edge_planner *planner, const edge_step *step) {
  return &planner->frame->views[step->node->outputs[0]];
}

/* Entry k of an int32 or int64 input, as it is. */
static int64_t entry_at(const edge_planner *planner, const edge_step *step, int32_t i, int64_t k) {
  const void *data = edge_view_in(planner, step, i)->data;
  const bool wide = edge_tensor_in(planner, step, i)->type == EDGE_INT64;
  return wide ? ((const int64_t *)data)[k] : ((const int32_t *)data)[k];
}

/* Where in the output `width` entries of input 0, from entry k on, point to; -1: nowhere. */
static int64_t place_of(const edge_planner *planner, const edge_step *step, int64_t k,
                        int32_t width) {
  const edge_view *output = output_of(planner, step);
  int64_t place = 0;
  for (int32_t d = 0; d < width; d++) {
    const int64_t index = entry_at(planner, step, 0, k + d);
    if (index < 0 || index >= output->shape[d]) return -1;
    place += index * edge_count(output->shape, d + 1, output->rank);
  }
  return place;
}

static edge_status fail_place(edge_planner *planner, const edge_step *step, int64_t k) {
  return edge_step_fail(planner, step, edge_value_status(planner),
                        "expected indices within the output's shape, got others at %lld",
                        (long long)k);
}

/* ---- sums -------------------------------------------------------------------------------- */

#define ADD_AS(type)                                                               \
  for (int64_t i = 0; i < count; i++) {                                            \
    ((type *)to)[i] = (type)(((const type *)from)[i] + (unsigned)((type *)to)[i]); \
  }

/* Whole numbers wrap; bools become true where one of both is. */
static void add_row(edge_type type, const void *from, int64_t count, void *to) {
  switch (type) {
    case EDGE_FLOAT32:
      for (int64_t i = 0; i < count; i++) ((float *)to)[i] += ((const float *)from)[i];
      break;
    case EDGE_BOOL:
      for (int64_t i = 0; i < count; i++) ((uint8_t *)to)[i] |= ((const uint8_t *)from)[i];
      break;
    case EDGE_INT8:
    case EDGE_UINT8:
      ADD_AS(uint8_t)
      break;
    case EDGE_INT16:
      ADD_AS(uint16_t)
      break;
    case EDGE_INT32:
      ADD_AS(uint32_t)
      break;
    default:
      for (int64_t i = 0; i < count; i++) ((uint64_t *)to)[i] += ((const uint64_t *)from)[i];
  }
}

static edge_status expect_addable(edge_compiler *c, const edge_node *node,
                                  const edge_tensor *tensor) {
  switch (tensor->type) {
    case EDGE_FLOAT32:
    case EDGE_BOOL:
    case EDGE_INT8:
    case EDGE_UINT8:
    case EDGE_INT16:
    case EDGE_INT32:
    case EDGE_INT64:
      return edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", tensor->type);
    default:
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR, "expected numbers to add, got %s",
                            edge_type_name(tensor->type));
  }
}

/* ---- SCATTER_ND -------------------------------------------------------------------------- */

static edge_status scatter_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_expect_whole(c, node, 0, "indices"));
  EDGE_TRY(edge_expect_whole(c, node, 2, "a shape"));
  EDGE_TRY(expect_addable(c, node, edge_node_input(c, node, 1)));
  return edge_keep(c, edge_node_input(c, node, 1));
}

static edge_status scatter_shape(edge_planner *planner, edge_step *step) {
  const edge_view *indices = edge_view_in(planner, step, 0);
  const edge_view *updates = edge_view_in(planner, step, 1);
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = 0;
  EDGE_TRY(edge_list_in(planner, step, 2, EDGE_MAX_RANK, shape, &rank));
  const int32_t outer = indices->rank - 1;
  const int32_t width = outer < 0 ? 0 : indices->shape[outer];
  bool ok = outer >= 0 && width <= rank && updates->rank == outer + rank - width;
  for (int32_t d = 0; ok && d < updates->rank; d++) {
    ok = updates->shape[d] == (d < outer ? indices->shape[d] : shape[d - outer + width]);
  }
  if (ok) return edge_set_shape(planner, step, 0, rank, shape);
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected updates for %lld indices each of %lld dimensions, got others",
                        (long long)width, (long long)rank);
}

static edge_status scatter_perform(edge_planner *planner, edge_step *step) {
  const edge_view *indices = edge_view_in(planner, step, 0);
  const edge_view *output = output_of(planner, step);
  const edge_type type = edge_tensor_in(planner, step, 1)->type;
  const int32_t width = indices->shape[indices->rank - 1];
  const int64_t places = edge_count(indices->shape, 0, indices->rank - 1);
  const int64_t row = edge_count(output->shape, width, output->rank);
  const int64_t size = edge_element_in(planner, step, 1);
  const uint8_t *updates = edge_in(planner->frame, step, 1);
  memset(output->data, 0, output->bytes);
  for (int64_t k = 0; k < places; k++) {
    const int64_t place = place_of(planner, step, k * width, width);
    if (place < 0) return fail_place(planner, step, k);
    add_row(type, updates + k * row * size, row, (uint8_t *)output->data + place * size);
  }
  return EDGE_OK;
}

/* ---- SPARSE_TO_DENSE --------------------------------------------------------------------- */

static edge_status dense_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_whole(c, node, 0, "indices"));
  EDGE_TRY(edge_expect_whole(c, node, 1, "a shape"));
  for (int32_t i = 2; i < 4; i++) {
    EDGE_TRY(edge_expect_movable(c, node, edge_node_input(c, node, i), output));
    EDGE_TRY(edge_keep(c, edge_node_input(c, node, i)));
  }
  return EDGE_OK;
}

static edge_status dense_shape(edge_planner *planner, edge_step *step) {
  const edge_view *indices = edge_view_in(planner, step, 0);
  const edge_view *values = edge_view_in(planner, step, 2);
  const edge_view *absent = edge_view_in(planner, step, 3);
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = 0;
  EDGE_TRY(edge_list_in(planner, step, 1, EDGE_MAX_RANK, shape, &rank));
  const int64_t places = indices->rank == 0 ? 1 : indices->shape[0];
  bool ok = indices->rank <= 2 && rank == (indices->rank == 2 ? indices->shape[1] : 1);
  ok = ok && (values->rank == 0 || (values->rank == 1 && values->shape[0] == places));
  ok = ok && edge_count(absent->shape, 0, absent->rank) == 1;
  ok = ok && (rank > 0 || places <= 1); /* entries of no dimensions would take no bytes, but time */
  if (ok) return edge_set_shape(planner, step, 0, rank, shape);
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an index for each of %lld dimensions and a value for each of "
                        "%lld places, got others",
                        (long long)rank, (long long)places);
}

static edge_status dense_perform(edge_planner *planner, edge_step *step) {
  const edge_view *indices = edge_view_in(planner, step, 0);
  const edge_view *output = output_of(planner, step);
  const int64_t size = edge_element_in(planner, step, 2);
  const int64_t places = indices->rank == 0 ? 1 : indices->shape[0];
  const int64_t stride = edge_view_in(planner, step, 2)->rank == 0 ? 0 : size;
  const uint8_t *values = edge_in(planner->frame, step, 2);
  uint8_t *out = output->data;
  edge_copy_blocks(edge_in(planner->frame, step, 3), 0, out, size, size,
                   edge_count(output->shape, 0, output->rank));
  for (int64_t k = 0; k < places; k++) {
    const int64_t place = place_of(planner, step, k * output->rank, output->rank);
    if (place < 0) return fail_place(planner, step, k);
    memcpy(out + place * size, values + k * stride, (size_t)size);
  }
  return EDGE_OK;
}

/* ---- SEGMENT_SUM ------------------------------------------------------------------------- */

static edge_status segment_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 1), "segments", EDGE_INT32));
  EDGE_TRY(edge_keep(c, edge_node_input(c, node, 1)));
  return expect_addable(c, node, edge_node_input(c, node, 0));
}

/* Segments begin at 0 and go up by 0 or 1; the last one says how many there are. */
static edge_status segment_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *segments = edge_view_in(planner, step, 1);
  int32_t shape[EDGE_MAX_RANK];
  int32_t next = 0;
  bool ok = input->rank > 0 && segments->rank == 1 && segments->shape[0] == input->shape[0];
  const int32_t *ids = edge_values_in(planner, step, 1);
  if (ok && ids == NULL) return EDGE_DEFERRED;
  for (int32_t i = 0; ok && i < segments->shape[0]; i++) {
    ok = ids[i] == next || (i > 0 && ids[i] == next - 1);
    if (ids[i] == next) next++;
  }
  if (!ok) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a segment for each row, from 0 on and without gaps, got "
                          "others");
  }
  memcpy(shape, input->shape, sizeof shape);
  shape[0] = next;
  return edge_set_shape(planner, step, 0, input->rank, shape);
}

static void segment_run(const edge_frame *frame, const edge_step *step) {
  const edge_view *input = &frame->views[step->node->inputs[0]];
  const edge_view *output = &frame->views[step->node->outputs[0]];
  const edge_type type = frame->graph->tensors[step->node->inputs[0]].type;
  const int64_t row = edge_count(input->shape, 1, input->rank);
  const int64_t bytes = row * (int64_t)edge_type_size(type);
  const int32_t *ids = edge_in(frame, step, 1);
  memset(output->data, 0, output->bytes);
  for (int64_t i = 0; i < input->shape[0]; i++) {
    add_row(type, (const uint8_t *)input->data + i * bytes, row,
            (uint8_t *)output->data + ids[i] * bytes);
  }
}

/* ---- DYNAMIC_UPDATE_SLICE ---------------------------------------------------------------- */

static edge_status update_compile(edge_compiler *c, edge_node *node) {
  edge_tensor *update = edge_node_input(c, node, 1);
  const edge_tensor *output = edge_node_output(c, node, 0);
  node->kernel = "copy";
  EDGE_TRY(edge_expect_movable(c, node, edge_node_input(c, node, 0), output));
  EDGE_TRY(edge_expect_movable(c, node, update, output));
  EDGE_TRY(edge_expect_whole(c, node, 2, "begins"));
  return edge_keep(c, update);
}

static edge_status update_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *update = edge_view_in(planner, step, 1);
  const edge_view *begins = edge_view_in(planner, step, 2);
  bool ok = update->rank == input->rank && begins->rank == 1 && begins->shape[0] == input->rank;
  for (int32_t d = 0; ok && d < input->rank; d++) ok = update->shape[d] <= input->shape[d];
  if (ok) return edge_set_shape(planner, step, 0, input->rank, input->shape);
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an update and begins of the input's %lld dimensions, and no "
                        "larger, got others",
                        (long long)input->rank);
}

/* Begins are moved so that the update lies within the output. */
static edge_status update_perform(edge_planner *planner, edge_step *step) {
  const edge_view *output = output_of(planner, step);
  const edge_view *update = edge_view_in(planner, step, 1);
  edge_walk walk = {.block = edge_element_in(planner, step, 0)};
  int64_t at = 0;
  memcpy(output->data, edge_in(planner->frame, step, 0), output->bytes);
  if (update->bytes == 0) return EDGE_OK;
  for (int32_t d = 0; d < output->rank; d++) {
    const int64_t from = edge_count(update->shape, d + 1, update->rank) * walk.block;
    const int64_t to = edge_count(output->shape, d + 1, output->rank) * walk.block;
    const int64_t most = output->shape[d] - update->shape[d];
    at += edge_max(0, edge_min(most, entry_at(planner, step, 2, d))) * to;
    edge_walk_add(&walk, update->shape[d], from, to);
  }
  edge_walk_run(&walk, update->data, (uint8_t *)output->data + at);
  return EDGE_OK;
}

const edge_operator edge_operator_scatter_nd = {
    .code = 122,
    .name = "SCATTER_ND",
    .version_max = 1,
    .options_type = 97,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = scatter_compile,
    .shape = scatter_shape,
    .perform = scatter_perform,
};

const edge_operator edge_operator_sparse_to_dense = {
    .code = 68,
    .name = "SPARSE_TO_DENSE",
    .version_max = 3,
    .options_type = 50,
    .inputs_min = 4,
    .inputs_max = 4,
    .compile = dense_compile,
    .shape = dense_shape,
    .perform = dense_perform,
};

const edge_operator edge_operator_segment_sum = {
    .code = 125,
    .name = "SEGMENT_SUM",
    .version_max = 1,
    .options_type = 100,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = segment_compile,
    .shape = segment_shape,
    .run = segment_run,
};

const edge_operator edge_operator_dynamic_update_slice = {
    .code = 151,
    .name = "DYNAMIC_UPDATE_SLICE",
    .version_max = 6,
    .options_type = 117,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = update_compile,
    .shape = update_shape,
    .perform = update_perform,
};
