/* TRANSPOSE: dimensions in another order. Elements are moved as bytes.
 *
 * Source: tflite/kernels/transpose.cc.
 */
#include "../operators.h"
#include "../rules.h"

typedef struct transpose_params {
  int32_t rank;
  uint32_t size;
  int32_t order[EDGE_MAX_RANK];
} transpose_params;

/* Collapsed: output dimensions with the input's stride of each. */
typedef struct transpose_state {
  int32_t rank;
  int64_t size[EDGE_MAX_RANK];
  int64_t stride[EDGE_MAX_RANK]; /* bytes of the input */
} transpose_state;

static edge_status read_order(edge_compiler *c, const edge_node *node, transpose_params *p) {
  const edge_tensor *order = edge_node_input(c, node, 1);
  uint32_t seen = 0;
  EDGE_TRY(edge_expect_type(c, node, order, "an order", EDGE_INT32));
  EDGE_TRY(edge_expect_constant_or_empty(c, node, order, "an order"));
  bool ok = edge_count(order->shape, 0, order->rank) == p->rank;
  for (int32_t i = 0; ok && i < p->rank; i++) {
    const int32_t d = edge_load_i32(order->data + (size_t)i * 4);
    p->order[i] = d < 0 ? d + p->rank : d;
    ok = p->order[i] >= 0 && p->order[i] < p->rank && !(seen >> p->order[i] & 1);
    if (ok) seen |= 1u << p->order[i];
  }
  if (ok) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected each of %lld dimensions once, got another order",
                        (long long)p->rank);
}

static edge_status transpose_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  transpose_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_movable(c, node, input, edge_node_output(c, node, 0)));
  p->rank = input->rank;
  p->size = (uint32_t)edge_type_size(input->type);
  node->kernel = "copy";
  return read_order(c, node, p);
}

/* Neighbours of the output that are neighbours of the input, in order, are one dimension. */
static void collapse(const transpose_params *p, const edge_view *input, transpose_state *s) {
  for (int32_t i = 0; i < p->rank; i++) {
    const int32_t d = p->order[i];
    if (input->shape[d] == 1) continue;
    const int64_t stride = edge_count(input->shape, d + 1, input->rank) * p->size;
    const int64_t span = stride * input->shape[d];
    if (s->rank > 0 && s->stride[s->rank - 1] == span) {
      s->size[s->rank - 1] *= input->shape[d];
      s->stride[s->rank - 1] = stride;
    } else {
      s->size[s->rank] = input->shape[d];
      s->stride[s->rank++] = stride;
    }
  }
}

static edge_status transpose_shape(edge_planner *planner, edge_step *step) {
  const transpose_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  if (input->rank != p->rank) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input of rank %lld, got %lld", (long long)p->rank,
                          (long long)input->rank);
  }
  transpose_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  for (int32_t i = 0; i < p->rank; i++) shape[i] = input->shape[p->order[i]];
  collapse(p, input, s);
  return edge_set_shape(planner, step, 0, p->rank, shape);
}

/* The innermost dimension: one copy where it is contiguous, else element by element. */
static uint8_t *move_run(const transpose_params *p, const uint8_t *in, int64_t count,
                         int64_t stride, uint8_t *out) {
  if (stride == p->size) {
    memcpy(out, in, (size_t)count * p->size);
  } else if (p->size == 1) {
    for (int64_t i = 0; i < count; i++) out[i] = in[i * stride];
  } else {
    for (int64_t i = 0; i < count; i++) memcpy(out + i * p->size, in + i * stride, p->size);
  }
  return out + count * p->size;
}

static void transpose_run(const edge_frame *frame, const edge_step *step) {
  const transpose_params *p = step->node->params;
  const transpose_state *s = step->state;
  const uint8_t *in = edge_in(frame, step, 0);
  uint8_t *out = edge_out(frame, step, 0);
  const int32_t last = s->rank - 1;
  int64_t index[EDGE_MAX_RANK] = {0};
  int64_t runs = 1;
  if (s->rank == 0) {
    memcpy(out, in, p->size);
    return;
  }
  for (int32_t d = 0; d < last; d++) runs *= s->size[d];
  for (int64_t r = 0; r < runs; r++) {
    out = move_run(p, in, s->size[last], s->stride[last], out);
    for (int32_t d = last - 1; d >= 0; d--) {
      in += s->stride[d];
      if (++index[d] < s->size[d]) break;
      in -= s->stride[d] * s->size[d];
      index[d] = 0;
    }
  }
}

const edge_operator edge_operator_transpose = {
    .code = 39,
    .name = "TRANSPOSE",
    .version_max = 7,
    .options_type = 26,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = transpose_compile,
    .shape = transpose_shape,
    .run = transpose_run,
};
