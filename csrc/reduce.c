#include "reduce.h"

/* More than any rank; repeated ones are allowed. Many operators may name one long list. */
enum { AXES_MAX = 64 };

edge_status edge_expect_axes(edge_compiler *compiler, const edge_node *node) {
  const edge_tensor *axes = edge_node_input(compiler, node, 1);
  EDGE_TRY(edge_expect_type(compiler, node, axes, "axes", EDGE_INT32));
  const uint64_t named = edge_stored_count(axes);
  if (axes->data == NULL || named <= AXES_MAX) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_LIMIT_EXCEEDED, "expected at most %lld axes, got %llu",
                        (long long)AXES_MAX, (unsigned long long)named);
}

edge_status edge_read_keep(edge_compiler *compiler, const edge_node *node, bool *keep) {
  if (edge_table_bool(&node->options, REDUCER_KEEP_DIMS, false, keep)) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected options within their table, got others");
}

static edge_status read_axes(edge_planner *planner, const edge_step *step, uint32_t *bits) {
  const edge_view *view = edge_view_in(planner, step, 1);
  const int32_t rank = edge_view_in(planner, step, 0)->rank;
  const int32_t *axes = edge_values_in(planner, step, 1);
  *bits = 0;
  if (axes == NULL) return EDGE_DEFERRED;
  if (rank == 0) return EDGE_OK;
  const int64_t count = edge_count(view->shape, 0, view->rank);
  for (int64_t i = 0; i < count; i++) {
    const int32_t axis = axes[i];
    if (axis < -rank || axis >= rank) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected axes in %lld ... %lld, got %lld", -(long long)rank,
                            (long long)rank - 1, (long long)axis);
    }
    *bits |= 1u << (axis < 0 ? axis + rank : axis);
  }
  return EDGE_OK;
}

static void append(edge_reduce *reduce, int64_t size, bool reduced) {
  const int32_t last = reduce->rank - 1;
  if (size == 1) return;
  if (last >= 0 && reduce->reduced[last] == reduced) {
    reduce->size[last] *= size;
    return;
  }
  reduce->size[reduce->rank] = size;
  reduce->reduced[reduce->rank++] = reduced;
}

edge_status edge_reduce_plan(edge_planner *planner, const edge_step *step, bool keep,
                             edge_reduce *reduce) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t kept = 0;
  *reduce = (edge_reduce){.count = 1};
  EDGE_TRY(read_axes(planner, step, &reduce->axes));
  for (int32_t d = 0; d < input->rank; d++) {
    const bool reduced = reduce->axes >> d & 1;
    if (reduced) reduce->count *= input->shape[d];
    if (!reduced || keep) shape[kept++] = reduced ? 1 : input->shape[d];
    append(reduce, input->shape[d], reduced);
  }
  reduce->results = edge_count(shape, 0, kept);
  return edge_set_shape(planner, step, 0, kept, shape);
}

void edge_reduce_walk(const edge_reduce *reduce, edge_reduce_run_fn *run, void *context) {
  const int32_t last = reduce->rank - 1;
  int64_t index[EDGE_MAX_RANK] = {0};
  int64_t step[EDGE_MAX_RANK] = {0};
  int64_t stride = 1;
  int64_t runs = 1;
  int32_t begun = 0; /* outer reduced dimensions whose index is not 0 */
  for (int32_t d = last; d >= 0; d--) {
    step[d] = reduce->reduced[d] ? 0 : stride;
    if (!reduce->reduced[d]) stride *= reduce->size[d];
    if (d < last) runs *= reduce->size[d];
  }
  edge_reduce_run at = {.count = last < 0 ? 1 : reduce->size[last],
                        .joined = last >= 0 && reduce->reduced[last]};
  for (int64_t r = 0; r < runs; r++) {
    at.first = begun == 0;
    run(context, &at);
    at.in += at.count;
    for (int32_t d = last - 1; d >= 0; d--) {
      at.out += step[d];
      if (reduce->reduced[d] && index[d] == 0) begun++;
      if (++index[d] < reduce->size[d]) break;
      at.out -= step[d] * reduce->size[d];
      if (reduce->reduced[d]) begun--;
      index[d] = 0;
    }
  }
}
