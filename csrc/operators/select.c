/* SELECT and SELECT_V2: x where the condition holds, else y; any type of 1, 2, 4 or 8 bytes.
 *
 * SELECT wants x and y of one shape, and a condition of that shape, of rank 0, or of rank 1 along
 * the first dimension. The shapes of SELECT_V2 broadcast.
 *
 * Source: tflite/kernels/select.cc, internal/reference/select.h.
 */
#include "../broadcast.h"
#include "../operators.h"

typedef struct select_params {
  uint64_t size; /* bytes of an element */
} select_params;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status select_compile(edge_compiler *c, edge_node *node) {
  select_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  edge_tensor *x = edge_node_input(c, node, 1);
  edge_tensor *y = edge_node_input(c, node, 2);
  const edge_tensor *condition = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_type(c, node, condition, "a condition", EDGE_BOOL));
  EDGE_TRY(edge_expect_type(c, node, y, "a second choice", x->type));
  EDGE_TRY(edge_expect_movable(c, node, x, output));
  p->size = edge_type_size(x->type);
  if (p->size > 8 || x->type == EDGE_RESOURCE) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected elements of at most 8 bytes, got %s (tensor %lld)",
                          edge_type_name(x->type), (long long)node->inputs[1]);
  }
  EDGE_TRY(edge_keep(c, x));
  return edge_keep(c, y);
}

/* ---- shape ------------------------------------------------------------------------------- */

static bool is_one(const edge_view *view) {
  return edge_count(view->shape, 0, view->rank) == 1;
}

/* One element of each: LiteRT leaves the output the shape in the file, if that has one too. */
static bool all_one(const edge_planner *planner, const edge_step *step, const edge_tensor *output) {
  for (int32_t i = 0; i < 3; i++) {
    if (!is_one(edge_view_in(planner, step, i))) return false;
  }
  return edge_stored_count(output) == 1;
}

static bool same_shape(const edge_view *a, const edge_view *b) {
  return a->rank == b->rank && memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
}

static void fold(edge_broadcast *broadcast, int64_t outer, int64_t inner) {
  enum { ALL = 7, CHOICES = 6 };
  const int32_t rank = inner == 1 ? 1 : 2;
  *broadcast = (edge_broadcast){
      .operands = 3, .rank = rank, .size = {outer, inner}, .moves = {ALL, CHOICES}};
}

static edge_status plan_first(edge_planner *planner, edge_step *step, edge_broadcast *broadcast) {
  const edge_view *condition = edge_view_in(planner, step, 0);
  const edge_view *x = edge_view_in(planner, step, 1);
  const int64_t count = edge_count(x->shape, 0, x->rank);
  bool fits = same_shape(x, edge_view_in(planner, step, 2));
  if (condition->rank == 0) {
    fold(broadcast, 1, count);
  } else if (same_shape(condition, x)) {
    fold(broadcast, count, 1);
  } else {
    fits = fits && condition->rank == 1 && x->rank >= 1 && condition->shape[0] == x->shape[0];
    fold(broadcast, condition->shape[0], edge_count(x->shape, 1, x->rank));
  }
  if (fits) return edge_set_shape(planner, step, 0, x->rank, x->shape);
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected two choices of one shape, and a condition of that shape, of its "
                        "first dimension or of rank 0, got others");
}

static edge_status plan(edge_planner *planner, edge_step *step, edge_broadcast **made) {
  const edge_tensor *output = &planner->frame->graph->tensors[step->node->outputs[0]];
  edge_broadcast *broadcast = edge_step_state(planner, step, sizeof *broadcast);
  if (broadcast == NULL) return edge_no_memory(planner->error);
  *made = NULL;
  if (all_one(planner, step, output)) {
    fold(broadcast, 1, 1);
    return edge_set_shape(planner, step, 0, output->rank, output->shape);
  }
  *made = broadcast;
  return EDGE_OK;
}

static edge_status select_shape(edge_planner *planner, edge_step *step) {
  edge_broadcast *broadcast;
  EDGE_TRY(plan(planner, step, &broadcast));
  return broadcast == NULL ? EDGE_OK : plan_first(planner, step, broadcast);
}

static edge_status select_v2_shape(edge_planner *planner, edge_step *step) {
  edge_broadcast *broadcast;
  EDGE_TRY(plan(planner, step, &broadcast));
  return broadcast == NULL ? EDGE_OK : edge_broadcast_plan(planner, step, 3, broadcast);
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct select_job {
  const uint8_t *condition, *x, *y;
  uint8_t *out;
} select_job;

/* Strides of elements. Where one condition is for all, a copy. */
#define SELECT(name, T)                                                      \
  static void name(void *context, const edge_run *run) {                     \
    const select_job *job = context;                                         \
    const uint8_t *condition = job->condition + run->at[0];                  \
    const T *x = (const T *)(const void *)job->x + run->at[1];               \
    const T *y = (const T *)(const void *)job->y + run->at[2];               \
    T *restrict out = (T *)(void *)job->out + run->out;                      \
    if (run->stride[0] == 0) {                                               \
      const T *from = *condition ? x : y;                                    \
      const ptrdiff_t stride = run->stride[*condition ? 1 : 2];              \
      if (stride == 1) {                                                     \
        memcpy(out, from, (size_t)run->count * sizeof *out);                 \
      } else {                                                               \
        for (int64_t i = 0; i < run->count; i++) out[i] = *from;             \
      }                                                                      \
      return;                                                                \
    }                                                                        \
    for (int64_t i = 0; i < run->count; i++) {                               \
      out[i] = condition[i] ? x[i * run->stride[1]] : y[i * run->stride[2]]; \
    }                                                                        \
  }

SELECT(select_8, uint8_t)
SELECT(select_16, uint16_t)
SELECT(select_32, uint32_t)
SELECT(select_64, uint64_t)

static void select_run(const edge_frame *frame, const edge_step *step) {
  const select_params *p = step->node->params;
  select_job job = {.condition = edge_in(frame, step, 0),
                    .x = edge_in(frame, step, 1),
                    .y = edge_in(frame, step, 2),
                    .out = edge_out(frame, step, 0)};
  edge_broadcast_walk(step->state,
                      p->size == 1   ? select_8
                      : p->size == 2 ? select_16
                      : p->size == 4 ? select_32
                                     : select_64,
                      &job);
}

const edge_operator edge_operator_select = {.code = 64,
                                            .name = "SELECT",
                                            .version_max = 4,
                                            .options_type = 47,
                                            .inputs_min = 3,
                                            .inputs_max = 3,
                                            .compile = select_compile,
                                            .shape = select_shape,
                                            .run = select_run};
const edge_operator edge_operator_select_v2 = {.code = 123,
                                               .name = "SELECT_V2",
                                               .version_max = 2,
                                               .options_type = 98,
                                               .inputs_min = 3,
                                               .inputs_max = 3,
                                               .compile = select_compile,
                                               .shape = select_v2_shape,
                                               .run = select_run};
