#include "broadcast.h"

#include "rules.h"

edge_status edge_operands_read(edge_compiler *compiler, const edge_node *node,
                               edge_operands *operands) {
  edge_tensor *a = edge_node_input(compiler, node, 0);
  edge_tensor *b = edge_node_input(compiler, node, 1);
  const edge_tensor *output = edge_node_output(compiler, node, 0);
  EDGE_TRY(edge_expect_type(compiler, node, a, "a first operand", EDGE_INT8));
  EDGE_TRY(edge_expect_type(compiler, node, b, "a second operand", EDGE_INT8));
  EDGE_TRY(edge_expect_type(compiler, node, output, "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_quant(compiler, node, a, "a first operand", &operands->a));
  EDGE_TRY(edge_expect_quant(compiler, node, b, "a second operand", &operands->b));
  EDGE_TRY(edge_expect_quant(compiler, node, output, "an output", &operands->output));
  EDGE_TRY(edge_read_activation(compiler, node, BINARY_ACTIVATION, &operands->activation));
  operands->xnn = edge_xnn_activation(a) && edge_xnn_activation(b) && edge_xnn_activation(output);
  return edge_keep(compiler, b);
}

/* Dimension d of the output's `rank`, of a view with fewer dimensions. */
static int32_t dimension(const edge_view *view, int32_t rank, int32_t d) {
  const int32_t own = d - (rank - view->rank);
  return own < 0 ? 1 : view->shape[own];
}

static void append(edge_broadcast *broadcast, int64_t size, edge_broadcast_kind kind) {
  const int32_t last = broadcast->rank - 1;
  if (size == 1) return;
  if (last >= 0 && broadcast->kind[last] == kind) {
    broadcast->size[last] *= size;
    return;
  }
  broadcast->size[broadcast->rank] = size;
  broadcast->kind[broadcast->rank++] = kind;
}

static edge_status plan(edge_planner *planner, const edge_step *step, edge_broadcast *broadcast) {
  const edge_view *a = edge_view_in(planner, step, 0);
  const edge_view *b = edge_view_in(planner, step, 1);
  const int32_t rank = a->rank > b->rank ? a->rank : b->rank;
  int32_t shape[EDGE_MAX_RANK];
  *broadcast = (edge_broadcast){0};
  for (int32_t d = 0; d < rank; d++) {
    const int32_t of_a = dimension(a, rank, d);
    const int32_t of_b = dimension(b, rank, d);
    if (of_a != of_b && of_a != 1 && of_b != 1) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected shapes that broadcast, got %lld and %lld in dimension %lld",
                            (long long)of_a, (long long)of_b, (long long)d);
    }
    shape[d] = of_a == 1 ? of_b : of_a;
    append(broadcast, shape[d], of_a == of_b ? EDGE_BOTH : of_b == 1 ? EDGE_ONLY_A : EDGE_ONLY_B);
  }
  if (broadcast->rank == 0) {
    broadcast->rank = 1;
    broadcast->size[0] = 1;
    broadcast->kind[0] = EDGE_BOTH;
  }
  return edge_set_shape(planner, step, 0, rank, shape);
}

edge_status edge_broadcast_shape(edge_planner *planner, edge_step *step) {
  edge_broadcast *broadcast = edge_step_state(planner, step, sizeof *broadcast);
  if (broadcast == NULL) return edge_no_memory(planner->error);
  return plan(planner, step, broadcast);
}

void edge_broadcast_walk(const edge_broadcast *broadcast, edge_broadcast_run_fn *run,
                         void *context) {
  const int32_t last = broadcast->rank > 1 ? broadcast->rank - 1 : 0;
  int64_t index[EDGE_MAX_RANK] = {0};
  int64_t step_a[EDGE_MAX_RANK];
  int64_t step_b[EDGE_MAX_RANK];
  int64_t a = 1;
  int64_t b = 1;
  int64_t runs = 1;
  for (int32_t d = last; d >= 0; d--) {
    step_a[d] = broadcast->kind[d] == EDGE_ONLY_B ? 0 : a;
    step_b[d] = broadcast->kind[d] == EDGE_ONLY_A ? 0 : b;
    if (step_a[d]) a *= broadcast->size[d];
    if (step_b[d]) b *= broadcast->size[d];
    if (d < last) runs *= broadcast->size[d];
  }
  const int64_t count = broadcast->size[last];
  if (count == 0) return;
  a = b = 0;
  for (int64_t r = 0; r < runs; r++) {
    run(context, r * count, a, (ptrdiff_t)step_a[last], b, (ptrdiff_t)step_b[last], count);
    for (int32_t d = last - 1; d >= 0; d--) {
      a += step_a[d];
      b += step_b[d];
      if (++index[d] < broadcast->size[d]) break;
      a -= step_a[d] * broadcast->size[d];
      b -= step_b[d] * broadcast->size[d];
      index[d] = 0;
    }
  }
}

bool edge_broadcast_five_fold(const edge_broadcast *broadcast) {
  /* From the inside: both, one repeated, both, the other repeated, both; any may be missing. */
  int32_t d = broadcast->rank - 1;
  const edge_broadcast_kind *kind = broadcast->kind;
  if (d >= 0 && kind[d] == EDGE_BOTH) d--;
  if (d < 0) return true;
  const edge_broadcast_kind inner = kind[d--];
  if (d >= 0 && kind[d] == EDGE_BOTH) d--;
  if (d >= 0 && kind[d] != EDGE_BOTH && kind[d] != inner) d--;
  if (d >= 0 && kind[d] == EDGE_BOTH) d--;
  return d < 0;
}
