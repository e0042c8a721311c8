/* STRIDED_SLICE: every n-th entry of each dimension, forwards or backwards, with numpy's notation
 * in bit masks: an entry may be open at its begin or end, be an ellipsis, insert a dimension of
 * size 1, or pick one index and drop the dimension.
 *
 * Source: tflite/kernels/strided_slice.cc, internal/reference/strided_slice.h.
 */
#include "../movement.h"
#include "../operators.h"

enum { ENTRIES_MAX = 2 * EDGE_MAX_RANK };

typedef struct strided_params {
  uint32_t begin_open, end_open, ellipsis, new_axis, shrink;
  bool offset; /* ends count from begins */
} strided_params;

/* The entries of the three lists. */
typedef struct strided_entries {
  int32_t count;
  int32_t begin[ENTRIES_MAX], end[ENTRIES_MAX], stride[ENTRIES_MAX];
} strided_entries;

/* What one entry makes of a dimension. */
typedef struct strided_cut {
  int32_t first, count, stride;
} strided_cut;

static edge_status strided_compile(edge_compiler *c, edge_node *node) {
  strided_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  node->kernel = "copy";
  if (!edge_table_u32(&node->options, STRIDED_SLICE_BEGIN_MASK, 0, &p->begin_open) ||
      !edge_table_u32(&node->options, STRIDED_SLICE_END_MASK, 0, &p->end_open) ||
      !edge_table_u32(&node->options, STRIDED_SLICE_ELLIPSIS_MASK, 0, &p->ellipsis) ||
      !edge_table_u32(&node->options, STRIDED_SLICE_NEW_AXIS_MASK, 0, &p->new_axis) ||
      !edge_table_u32(&node->options, STRIDED_SLICE_SHRINK_AXIS_MASK, 0, &p->shrink) ||
      !edge_table_bool(&node->options, STRIDED_SLICE_OFFSET, false, &p->offset)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  EDGE_TRY(edge_expect_whole(c, node, 1, "begins"));
  EDGE_TRY(edge_expect_whole(c, node, 2, "ends"));
  EDGE_TRY(edge_expect_whole(c, node, 3, "strides"));
  return edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

static edge_status read_entries(edge_planner *planner, const edge_step *step, strided_entries *e) {
  EDGE_TRY(edge_list_in(planner, step, 3, ENTRIES_MAX, e->stride, &e->count));
  EDGE_TRY(edge_exact_list_in(planner, step, 1, e->count, e->begin));
  EDGE_TRY(edge_exact_list_in(planner, step, 2, e->count, e->end));
  for (int32_t i = 0; i < e->count; i++) {
    if (e->stride[i] == 0 || e->stride[i] == INT32_MIN) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected strides other than 0, got %lld", (long long)e->stride[i]);
    }
  }
  return EDGE_OK;
}

/* An index as the file has it, within what an iteration in this direction may start or end at. */
static int64_t clamped(int64_t index, int64_t size, bool forwards) {
  if (index < 0) index += size;
  return forwards ? edge_max(0, edge_min(index, size)) : edge_max(-1, edge_min(index, size - 1));
}

static edge_status cut_dimension(edge_planner *planner, const edge_step *step,
                                 const strided_entries *e, int32_t entry, int32_t size,
                                 strided_cut *cut) {
  const strided_params *p = step->node->params;
  const int64_t stride = e->stride[entry];
  const bool forwards = stride > 0;
  int64_t first = clamped(e->begin[entry], size, forwards);
  if (p->begin_open >> entry & 1) first = forwards ? 0 : size - 1;
  int64_t end = clamped(e->end[entry] + (p->offset ? first : 0), size, forwards);
  if (p->end_open >> entry & 1) end = forwards ? size : -1;
  if (p->shrink >> entry & 1) {
    end = first + (forwards ? 1 : -1);
    if (first < 0 || first >= size) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected an index below %lld, got %lld", (long long)size,
                            (long long)e->begin[entry]);
    }
  }
  const int64_t span = forwards ? end - first : first - end;
  const int64_t pace = forwards ? stride : -stride;
  cut->first = (int32_t)first;
  cut->stride = (int32_t)stride;
  cut->count = (int32_t)(span <= 0 ? 0 : (span - 1) / pace + 1);
  return EDGE_OK;
}

/* How many dimensions the ellipsis stands for. */
static edge_status ellipsis_span(edge_planner *planner, const edge_step *step, int32_t entries,
                                 int32_t *span) {
  const strided_params *p = step->node->params;
  const uint32_t all = (1u << entries) - 1;
  const uint32_t ellipsis = p->ellipsis & all;
  const int32_t rank = edge_view_in(planner, step, 0)->rank;
  const int32_t added = __builtin_popcount(p->new_axis & all & ~ellipsis);
  const int32_t named = entries - added - (ellipsis != 0);
  *span = rank - named;
  if ((ellipsis & (ellipsis - 1)) == 0 && *span >= 0 && rank + added <= ENTRIES_MAX) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected entries for at most %lld dimensions and one ellipsis, got %lld "
                        "for more",
                        (long long)rank, (long long)entries);
}

/* The cuts of the input's dimensions, and the shape that they leave. */
typedef struct strided_plan {
  int32_t rank; /* of the output */
  int32_t shape[ENTRIES_MAX];
  strided_cut cuts[EDGE_MAX_RANK];
} strided_plan;

static void append(strided_plan *plan, int32_t size) {
  plan->shape[plan->rank++] = size;
}

static void keep_whole(strided_plan *plan, const edge_view *input, int32_t from, int32_t to) {
  for (int32_t d = from; d < to; d++) {
    plan->cuts[d] = (strided_cut){.count = input->shape[d], .stride = 1};
    append(plan, input->shape[d]);
  }
}

static edge_status plan_cuts(edge_planner *planner, const edge_step *step, const strided_entries *e,
                             strided_plan *plan) {
  const strided_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t span = 0;
  int32_t d = 0;
  EDGE_TRY(ellipsis_span(planner, step, e->count, &span));
  for (int32_t i = 0; i < e->count; i++) {
    if (p->ellipsis >> i & 1) {
      keep_whole(plan, input, d, d + span);
      d += span;
    } else if (p->new_axis >> i & 1) {
      append(plan, 1);
    } else {
      EDGE_TRY(cut_dimension(planner, step, e, i, input->shape[d], &plan->cuts[d]));
      if (!(p->shrink >> i & 1)) append(plan, plan->cuts[d].count);
      d++;
    }
  }
  keep_whole(plan, input, d, input->rank);
  if (plan->rank <= EDGE_MAX_RANK) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                        "expected an output of at most %lld dimensions, got %lld",
                        (long long)EDGE_MAX_RANK, (long long)plan->rank);
}

static edge_status strided_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  strided_entries entries;
  strided_plan plan = {0};
  EDGE_TRY(read_entries(planner, step, &entries));
  EDGE_TRY(plan_cuts(planner, step, &entries, &plan));
  EDGE_TRY(edge_set_shape(planner, step, 0, plan.rank, plan.shape));
  edge_walk *walk = edge_step_state(planner, step, sizeof *walk);
  if (walk == NULL) return edge_no_memory(planner->error);
  walk->block = edge_element_in(planner, step, 0);
  int64_t to = walk->block;
  for (int32_t d = 0; d < input->rank; d++) to *= plan.cuts[d].count;
  for (int32_t d = 0; d < input->rank && to > 0; d++) {
    const strided_cut *cut = &plan.cuts[d];
    const int64_t from = edge_count(input->shape, d + 1, input->rank) * walk->block;
    to /= cut->count;
    walk->start += cut->first * from;
    edge_walk_add(walk, cut->count, cut->stride * from, to);
  }
  return EDGE_OK;
}

const edge_operator edge_operator_strided_slice = {
    .code = 45,
    .name = "STRIDED_SLICE",
    .version_max = 8,
    .options_type = 32,
    .inputs_min = 4,
    .inputs_max = 4,
    .compile = strided_compile,
    .shape = strided_shape,
    .run = edge_move_run,
};
