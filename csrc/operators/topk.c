/* TOPK_V2: the largest entries of each row and where they are, the earlier first where equal; NaN
 * is less than every number.
 *
 * Source: tflite/kernels/topk_v2.cc.
 */
#include <math.h>

#include "../movement.h"
#include "../operators.h"
#include "../order.h"
#include "../unary.h"

typedef struct topk_state {
  int32_t rows, row, k;
} topk_state;

static edge_status topk_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *indices = edge_node_output(c, node, 1);
  edge_tensor *k = edge_node_input(c, node, 1);
  EDGE_TRY(edge_expect_one_of(c, node, input, "an input", EDGE_ORDERED_TYPES));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "values", input->type));
  if (indices->type != EDGE_INT16) {
    EDGE_TRY(edge_expect_type(c, node, indices, "indices", EDGE_INT32));
  }
  if (k->type != EDGE_INT16) EDGE_TRY(edge_expect_type(c, node, k, "a count", EDGE_INT32));
  return edge_keep(c, k);
}

static edge_status read_k(edge_planner *planner, const edge_step *step, int32_t *k) {
  const edge_view *view = edge_view_in(planner, step, 1);
  if (edge_count(view->shape, 0, view->rank) != 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL, "expected one count, got %lld",
                          (long long)edge_count(view->shape, 0, view->rank));
  }
  const void *values = edge_values_in(planner, step, 1);
  if (values == NULL) return EDGE_DEFERRED;
  const bool narrow = edge_tensor_in(planner, step, 1)->type == EDGE_INT16;
  *k = narrow ? *(const int16_t *)values : *(const int32_t *)values;
  if (*k < 0) *k = 0;
  return EDGE_OK;
}

static edge_status topk_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t k;
  EDGE_TRY(read_k(planner, step, &k));
  const int32_t last = input->rank - 1;
  if (last < 0 || k > input->shape[last]) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a count of at most %lld, got %lld",
                          (long long)(last < 0 ? 0 : input->shape[last]), (long long)k);
  }
  if (planner->frame->graph->tensors[step->node->outputs[1]].type == EDGE_INT16 &&
      input->shape[last] > INT16_MAX) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected rows that int16 indices reach, got %lld",
                          (long long)input->shape[last]);
  }
  memcpy(shape, input->shape, sizeof shape);
  shape[last] = k;
  EDGE_TRY(edge_set_shape(planner, step, 0, input->rank, shape));
  EDGE_TRY(edge_set_shape(planner, step, 1, input->rank, shape));
  topk_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  *s = (topk_state){(int32_t)edge_count(shape, 0, last), input->shape[last], k};
  step->scratch_size = (uint64_t)s->row * sizeof(int32_t);
  return EDGE_OK;
}

/* For each type: whether a row's entry a comes before its entry b. */
#define BEFORE(name, type)                                  \
  static bool name(const void *row, int32_t a, int32_t b) { \
    const type x = ((const type *)row)[a];                  \
    const type y = ((const type *)row)[b];                  \
    return x != y ? x > y : a < b;                          \
  }

BEFORE(before_int8, int8_t)
BEFORE(before_uint8, uint8_t)
BEFORE(before_int16, int16_t)
BEFORE(before_int32, int32_t)
BEFORE(before_int64, int64_t)

static bool before_float(const void *row, int32_t a, int32_t b) {
  const float x = ((const float *)row)[a];
  const float y = ((const float *)row)[b];
  if (isnan(x) != isnan(y)) return isnan(y);
  return x > y || (!(x < y) && a < b);
}

static edge_before_fn *before_of(edge_type type) {
  switch (type) {
    case EDGE_INT8:
      return before_int8;
    case EDGE_UINT8:
      return before_uint8;
    case EDGE_INT16:
      return before_int16;
    case EDGE_INT32:
      return before_int32;
    case EDGE_INT64:
      return before_int64;
    default:
      return before_float;
  }
}

static void topk_run(const edge_frame *frame, const edge_step *step) {
  const topk_state *s = step->state;
  const edge_tensor *input = &frame->graph->tensors[step->node->inputs[0]];
  const size_t size = edge_type_size(input->type);
  const uint8_t *row = edge_in(frame, step, 0);
  uint8_t *values = edge_out(frame, step, 0);
  void *indices = edge_out(frame, step, 1);
  int32_t *order = (int32_t *)(void *)edge_scratch(frame, step, 0);
  const bool narrow = frame->graph->tensors[step->node->outputs[1]].type == EDGE_INT16;
  for (int64_t r = 0; r < s->rows; r++, row += size * (size_t)s->row) {
    for (int32_t i = 0; i < s->row; i++) order[i] = i;
    edge_order(order, s->row, s->k, before_of(input->type), row);
    for (int32_t i = 0; i < s->k; i++, values += size) {
      memcpy(values, row + size * (size_t)order[i], size);
      if (narrow) {
        ((int16_t *)indices)[r * s->k + i] = (int16_t)order[i];
      } else {
        ((int32_t *)indices)[r * s->k + i] = order[i];
      }
    }
  }
}

const edge_operator edge_operator_topk_v2 = {
    .code = 48,
    .name = "TOPK_V2",
    .version_max = 3,
    .options_type = 34,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_min = 2,
    .outputs_max = 2,
    .compile = topk_compile,
    .shape = topk_shape,
    .run = topk_run,
};
