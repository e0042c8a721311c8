#include "broadcast.h"

/* Dimension d of the output's `rank`, of a view with fewer dimensions. */
static int32_t dimension(const edge_view *view, int32_t rank, int32_t d) {
  const int32_t own = d - (rank - view->rank);
  return own < 0 ? 1 : view->shape[own];
}

static void append(edge_broadcast *broadcast, int64_t size, uint32_t moves) {
  const int32_t last = broadcast->rank - 1;
  if (size == 1) return;
  if (last >= 0 && broadcast->moves[last] == moves) {
    broadcast->size[last] *= size;
    return;
  }
  broadcast->size[broadcast->rank] = size;
  broadcast->moves[broadcast->rank++] = moves;
}

/* The output's dimension d, and who moves along it. */
static edge_status join(edge_planner *planner, const edge_step *step, int32_t operands,
                        int32_t rank, int32_t d, int32_t *size, uint32_t *moves) {
  *size = 1;
  *moves = 0;
  for (int32_t i = 0; i < operands; i++) {
    const int32_t own = dimension(edge_view_in(planner, step, i), rank, d);
    if (own == 1) continue;
    if (*moves != 0 && own != *size) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected shapes that broadcast, got %lld and %lld in dimension %lld",
                            (long long)*size, (long long)own, (long long)d);
    }
    *size = own;
    *moves |= 1u << i;
  }
  return EDGE_OK;
}

edge_status edge_broadcast_plan(edge_planner *planner, const edge_step *step, int32_t operands,
                                edge_broadcast *broadcast) {
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = 0;
  *broadcast = (edge_broadcast){.operands = operands};
  for (int32_t i = 0; i < operands; i++) {
    rank = (int32_t)edge_max(rank, edge_view_in(planner, step, i)->rank);
  }
  for (int32_t d = 0; d < rank; d++) {
    uint32_t moves;
    EDGE_TRY(join(planner, step, operands, rank, d, &shape[d], &moves));
    append(broadcast, shape[d], moves);
  }
  if (broadcast->rank == 0) {
    broadcast->rank = 1;
    broadcast->size[0] = 1;
    broadcast->moves[0] = (1u << operands) - 1;
  }
  return edge_set_shape(planner, step, 0, rank, shape);
}

edge_status edge_broadcast_shape(edge_planner *planner, edge_step *step) {
  edge_broadcast *broadcast = edge_step_state(planner, step, sizeof *broadcast);
  if (broadcast == NULL) return edge_no_memory(planner->error);
  return edge_broadcast_plan(planner, step, 2, broadcast);
}

/* How far each operand goes with one step along dimension d. */
typedef struct strides {
  int64_t of[EDGE_MAX_RANK][EDGE_OPERANDS_MAX];
} strides;

/* Returns how many runs there are. */
static int64_t find_strides(const edge_broadcast *broadcast, strides *s) {
  int64_t elements[EDGE_OPERANDS_MAX] = {1, 1, 1};
  int64_t runs = 1;
  for (int32_t d = broadcast->rank - 1; d >= 0; d--) {
    for (int32_t i = 0; i < EDGE_OPERANDS_MAX; i++) {
      s->of[d][i] = broadcast->moves[d] >> i & 1 ? elements[i] : 0;
      if (s->of[d][i] != 0) elements[i] *= broadcast->size[d];
    }
    if (d < broadcast->rank - 1) runs *= broadcast->size[d];
  }
  return runs;
}

void edge_broadcast_walk(const edge_broadcast *broadcast, edge_broadcast_run_fn *run,
                         void *context) {
  const int32_t last = broadcast->rank - 1;
  int64_t index[EDGE_MAX_RANK] = {0};
  strides s = {0};
  const int64_t runs = find_strides(broadcast, &s);
  edge_run at = {.count = broadcast->size[last]};
  for (int32_t i = 0; i < EDGE_OPERANDS_MAX; i++) at.stride[i] = (ptrdiff_t)s.of[last][i];
  if (at.count == 0) return;
  for (int64_t r = 0; r < runs; r++) {
    at.out = r * at.count;
    run(context, &at);
    for (int32_t d = last - 1; d >= 0; d--) {
      const bool wraps = ++index[d] == broadcast->size[d];
      const int64_t back = wraps ? broadcast->size[d] : 0;
      for (int32_t i = 0; i < EDGE_OPERANDS_MAX; i++) at.at[i] += s.of[d][i] * (1 - back);
      if (!wraps) break;
      index[d] = 0;
    }
  }
}

bool edge_broadcast_five_fold(const edge_broadcast *broadcast) {
  /* From the inside: both, one repeated, both, the other repeated, both; any may be missing. */
  int32_t d = broadcast->rank - 1;
  const uint32_t *moves = broadcast->moves;
  if (d >= 0 && moves[d] == EDGE_BOTH) d--;
  if (d < 0) return true;
  const uint32_t inner = moves[d--];
  if (d >= 0 && moves[d] == EDGE_BOTH) d--;
  if (d >= 0 && moves[d] != EDGE_BOTH && moves[d] != inner) d--;
  if (d >= 0 && moves[d] == EDGE_BOTH) d--;
  return d < 0;
}
