#include "reduce.h"

#include "requantize.h"

/* More than any rank; repeated ones are allowed. Many operators may name one long list. */
enum { AXES_MAX = 64 };

edge_status edge_read_axes(edge_compiler *compiler, const edge_node *node, const edge_tensor *axes,
                           int32_t rank, uint32_t *bits) {
  EDGE_TRY(edge_expect_type(compiler, node, axes, "axes", EDGE_INT32));
  EDGE_TRY(edge_expect_constant(compiler, node, axes, "axes"));
  if (axes->data_size / 4 > AXES_MAX) {
    return edge_node_fail(compiler, node, EDGE_LIMIT_EXCEEDED,
                          "expected at most %lld axes, got %llu", (long long)AXES_MAX,
                          (unsigned long long)axes->data_size / 4);
  }
  *bits = 0;
  for (uint64_t i = 0; i < axes->data_size / 4; i++) {
    const int32_t axis = edge_load_i32(axes->data + i * 4);
    if (axis < -rank || axis >= rank) {
      return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                            "expected axes in %lld ... %lld, got %lld", -(long long)rank,
                            (long long)rank - 1, (long long)axis);
    }
    *bits |= 1u << (axis < 0 ? axis + rank : axis);
  }
  return EDGE_OK;
}

edge_status edge_reduce_plan(edge_planner *planner, const edge_step *step, int32_t rank,
                             uint32_t axes, bool keep, edge_reduce *reduce, int64_t *count) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t kept = 0;
  *reduce = (edge_reduce){0};
  *count = 1;
  if (input->rank != rank) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input of rank %lld, got %lld", (long long)rank,
                          (long long)input->rank);
  }
  for (int32_t d = 0; d < rank; d++) {
    const bool reduced = axes >> d & 1;
    const int32_t last = reduce->rank - 1;
    if (reduced) *count *= input->shape[d];
    if (!reduced || keep) shape[kept++] = reduced ? 1 : input->shape[d];
    if (last >= 0 && reduce->reduced[last] == reduced) {
      reduce->size[last] *= input->shape[d];
    } else {
      reduce->size[reduce->rank] = input->shape[d];
      reduce->reduced[reduce->rank++] = reduced;
    }
  }
  if (*count == 0) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected something to reduce, got an empty dimension");
  }
  return edge_set_shape(planner, step, 0, kept, shape);
}

uint64_t edge_reduce_sums(const edge_reduce *reduce) {
  uint64_t sums = 1;
  for (int32_t d = 0; d < reduce->rank; d++) {
    if (!reduce->reduced[d]) sums *= (uint64_t)reduce->size[d];
  }
  return sums;
}

/* Cannot overflow: a tensor has fewer than 2^31 elements of less than 2^8. */
static int64_t row_total(const int8_t *in, int64_t count) {
  int64_t total = 0;
  for (int64_t i = 0; i < count; i++) total += in[i];
  return total;
}

void edge_reduce_sum(const edge_reduce *reduce, const edge_kernels *kernels, const int8_t *in,
                     int32_t *sum) {
  const int32_t last = reduce->rank > 0 ? reduce->rank - 1 : 0;
  int64_t index[EDGE_MAX_RANK] = {0};
  int64_t step[EDGE_MAX_RANK];
  int64_t stride = 1;
  int64_t runs = 1;
  if (reduce->rank == 0) {
    *sum = *in;
    return;
  }
  for (int32_t d = last; d >= 0; d--) {
    step[d] = reduce->reduced[d] ? 0 : stride;
    if (!reduce->reduced[d]) stride *= reduce->size[d];
    if (d < last) runs *= reduce->size[d];
  }
  int32_t *at = sum;
  const int64_t inner = reduce->size[last];
  for (int64_t r = 0; r < runs; r++) {
    if (reduce->reduced[last]) {
      *at = edge_wrap(*at + row_total(in, inner));
    } else {
      kernels->s8_rowsum(at, in, (size_t)inner);
    }
    in += inner;
    for (int32_t d = last - 1; d >= 0; d--) {
      at += step[d];
      if (++index[d] < reduce->size[d]) break;
      at -= step[d] * reduce->size[d];
      index[d] = 0;
    }
  }
}
