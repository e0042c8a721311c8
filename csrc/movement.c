/* Elements from one layout to another. Every copy of a block is of a size that the compiler knows,
 * where blocks are small. */
#include "movement.h"

/* ---- the walk ---------------------------------------------------------------------------- */

#define COPY_BLOCKS(size)                                               \
  for (int64_t i = 0; i < count; i++) {                                 \
    memcpy(to + i * to_stride, from + i * from_stride, (size_t)(size)); \
  }

void edge_copy_blocks(const uint8_t *from, int64_t from_stride, uint8_t *to, int64_t to_stride,
                      int64_t block, int64_t count) {
  if (from_stride == block && to_stride == block) {
    memcpy(to, from, (size_t)(block * count));
    return;
  }
  if (block == 1 && from_stride == 0 && to_stride == 1) {
    memset(to, from[0], (size_t)count);
    return;
  }
  switch (block) {
    case 1:
      COPY_BLOCKS(1)
      break;
    case 2:
      COPY_BLOCKS(2)
      break;
    case 3:
      COPY_BLOCKS(3)
      break;
    case 4:
      COPY_BLOCKS(4)
      break;
    case 8:
      COPY_BLOCKS(8)
      break;
    case 16:
      COPY_BLOCKS(16)
      break;
    default:
      COPY_BLOCKS(block)
  }
}

void edge_walk_add(edge_walk *walk, int64_t count, int64_t from, int64_t to) {
  const int32_t last = walk->rank - 1;
  if (count == 1) return;
  if (last >= 0 && walk->from[last] == count * from && walk->to[last] == count * to) {
    walk->count[last] *= count;
    walk->from[last] = from;
    walk->to[last] = to;
    return;
  }
  walk->count[walk->rank] = count;
  walk->from[walk->rank] = from;
  walk->to[walk->rank++] = to;
}

void edge_walk_run(const edge_walk *walk, const uint8_t *from, uint8_t *to) {
  int64_t index[EDGE_WALK_RANK] = {0};
  int32_t outer = walk->rank - 1;
  int64_t block = walk->block;
  int64_t runs = 1;
  for (int32_t d = 0; d < walk->rank; d++) {
    if (walk->count[d] == 0) return;
  }
  if (outer >= 0 && walk->from[outer] == block && walk->to[outer] == block) {
    block *= walk->count[outer--];
  }
  const int64_t count = outer < 0 ? 1 : walk->count[outer];
  const int64_t from_stride = outer < 0 ? block : walk->from[outer];
  const int64_t to_stride = outer < 0 ? block : walk->to[outer];
  for (int32_t d = 0; d < outer; d++) runs *= walk->count[d];
  int64_t at = walk->start;
  for (int64_t r = 0; r < runs; r++) {
    edge_copy_blocks(from + at, from_stride, to, to_stride, block, count);
    for (int32_t d = outer - 1; d >= 0; d--) {
      at += walk->from[d];
      to += walk->to[d];
      if (++index[d] < walk->count[d]) break;
      at -= walk->from[d] * walk->count[d];
      to -= walk->to[d] * walk->count[d];
      index[d] = 0;
    }
  }
}

void edge_move_run(const edge_frame *frame, const edge_step *step) {
  edge_walk_run(step->state, edge_in(frame, step, 0), edge_out(frame, step, 0));
}

/* ---- compile() --------------------------------------------------------------------------- */

edge_status edge_expect_moved(edge_compiler *compiler, const edge_node *node,
                              const edge_tensor *input, const edge_tensor *output) {
  EDGE_TRY(edge_expect_movable(compiler, node, input, output));
  const bool quantized =
      input->type == EDGE_INT8 || input->type == EDGE_UINT8 || input->type == EDGE_INT16;
  if (!quantized || edge_same_quantization(input, output)) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected one quantization of tensors %lld and %lld, got two",
                        (long long)(input - compiler->graph->tensors),
                        (long long)(output - compiler->graph->tensors));
}

edge_status edge_expect_whole(edge_compiler *compiler, const edge_node *node, int32_t i,
                              const char *what) {
  const edge_tensor *tensor = edge_node_input(compiler, node, i);
  if (tensor->type == EDGE_INT64) return EDGE_OK;
  return edge_expect_type(compiler, node, tensor, what, EDGE_INT32);
}

/* ---- shape() ----------------------------------------------------------------------------- */

edge_status edge_list_in(edge_planner *planner, const edge_step *step, int32_t i, int32_t most,
                         int32_t *list, int32_t *count) {
  const edge_view *view = edge_view_in(planner, step, i);
  const int64_t entries = edge_count(view->shape, 0, view->rank);
  if (view->rank > 2 || entries > most) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a list of at most %lld entries as input %lld, got %lld of rank "
                          "%lld",
                          (long long)most, (long long)i, (long long)entries, (long long)view->rank);
  }
  const void *values = edge_values_in(planner, step, i);
  if (values == NULL) return EDGE_DEFERRED;
  *count = (int32_t)entries;
  for (int32_t k = 0; k < *count; k++) list[k] = edge_value_at(planner, step, i, values, k);
  return EDGE_OK;
}

edge_status edge_exact_list_in(edge_planner *planner, const edge_step *step, int32_t i,
                               int32_t count, int32_t *list) {
  const edge_view *view = edge_view_in(planner, step, i);
  const int64_t entries = edge_count(view->shape, 0, view->rank);
  if (entries == count) return edge_list_in(planner, step, i, count, list, &count);
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected %lld entries as input %lld, got %lld", (long long)count,
                        (long long)i, (long long)entries);
}

edge_status edge_axis_of(edge_planner *planner, const edge_step *step, int64_t value, int32_t rank,
                         int32_t *axis) {
  const int64_t found = value < 0 ? value + rank : value;
  *axis = (int32_t)found;
  if (found >= 0 && found < rank) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an axis in %lld ... %lld, got %lld", -(long long)rank,
                        (long long)rank - 1, (long long)value);
}

edge_status edge_axis_in(edge_planner *planner, const edge_step *step, int32_t i, int32_t rank,
                         int32_t *axis) {
  int32_t value = 0;
  EDGE_TRY(edge_exact_list_in(planner, step, i, 1, &value));
  return edge_axis_of(planner, step, value, rank, axis);
}
