/* CUMSUM: sums of all elements up to each along one dimension, with or without the element itself,
 * from the front or from the end; int32, int64, float32, the axis constant or computed.
 *
 * Source: tflite/kernels/cumsum.cc, internal/reference/cumsum.h.
 */
#include "../operators.h"

typedef void cumsum_fn(const void *in, void *out, int64_t size, int64_t inner, bool exclusive,
                       bool reverse);

typedef struct cumsum_params {
  edge_type type;
  bool exclusive, reverse;
  cumsum_fn *sum;
} cumsum_params;

typedef struct cumsum_state {
  int64_t outer, size, inner;
} cumsum_state;

/* A block [size][inner]: every row is the one before it plus a row of the input. Whole numbers are
 * added modulo the size of their type. */
#define EDGE_CUMSUM(name, type)                                                            \
  static void name(const void *in, void *out, int64_t size, int64_t inner, bool exclusive, \
                   bool reverse) {                                                         \
    const int64_t step = reverse ? -inner : inner;                                         \
    const int64_t first = reverse ? (size - 1) * inner : 0;                                \
    const type *from = (const type *)in + first;                                           \
    type *to = (type *)out + first;                                                        \
    for (int64_t i = 0; i < inner; i++) to[i] = exclusive ? 0 : from[i];                   \
    for (int64_t k = 1; k < size; k++) {                                                   \
      const type *next = exclusive ? from : from + step;                                   \
      for (int64_t i = 0; i < inner; i++) to[i + step] = (type)(to[i] + next[i]);          \
      from += step;                                                                        \
      to += step;                                                                          \
    }                                                                                      \
  }

EDGE_CUMSUM(cumsum_32, uint32_t)
EDGE_CUMSUM(cumsum_64, uint64_t)
EDGE_CUMSUM(cumsum_float, float)

static edge_status cumsum_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  cumsum_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->type = input->type;
  p->sum = p->type == EDGE_INT32     ? cumsum_32
           : p->type == EDGE_INT64   ? cumsum_64
           : p->type == EDGE_FLOAT32 ? cumsum_float
                                     : NULL;
  if (p->sum == NULL) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an input of int32, int64 or float32, got %s (tensor %lld)",
                          edge_type_name(p->type), (long long)node->inputs[0]);
  }
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", p->type));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 1), "an axis", EDGE_INT32));
  if (edge_table_bool(&node->options, CUMSUM_EXCLUSIVE, false, &p->exclusive) &&
      edge_table_bool(&node->options, CUMSUM_REVERSE, false, &p->reverse)) {
    return EDGE_OK;
  }
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected options within their table, got others");
}

static edge_status cumsum_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *axes = edge_view_in(planner, step, 1);
  const int32_t rank = input->rank;
  cumsum_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  if (edge_count(axes->shape, 0, axes->rank) != 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL, "expected 1 axis, got %lld",
                          (long long)edge_count(axes->shape, 0, axes->rank));
  }
  const int32_t *values = edge_values_in(planner, step, 1);
  if (values == NULL) return EDGE_DEFERRED;
  if (*values < -rank || *values >= rank) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an axis in %lld ... %lld, got %lld", -(long long)rank,
                          (long long)rank - 1, (long long)*values);
  }
  const int32_t axis = *values < 0 ? *values + rank : *values;
  s->outer = edge_count(input->shape, 0, axis);
  s->size = input->shape[axis];
  s->inner = edge_count(input->shape, axis + 1, rank);
  return edge_set_shape(planner, step, 0, rank, input->shape);
}

static void cumsum_run(const edge_frame *frame, const edge_step *step) {
  const cumsum_params *p = step->node->params;
  const cumsum_state *s = step->state;
  const uint8_t *in = edge_in(frame, step, 0);
  uint8_t *out = edge_out(frame, step, 0);
  const uint64_t block = (uint64_t)(s->size * s->inner) * edge_type_size(p->type);
  for (int64_t o = 0; o < s->outer; o++, in += block, out += block) {
    p->sum(in, out, s->size, s->inner, p->exclusive, p->reverse);
  }
}

const edge_operator edge_operator_cumsum = {
    .code = 128,
    .name = "CUMSUM",
    .version_max = 1,
    .options_type = 102,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = cumsum_compile,
    .shape = cumsum_shape,
    .run = cumsum_run,
};
