/* RANGE and ONE_HOT: tensors that are made of a few numbers.
 *
 * Source: tflite/kernels/range.cc, one_hot.cc.
 */
#include <math.h>

#include "../movement.h"
#include "../operators.h"

/* ---- RANGE ------------------------------------------------------------------------------- */

static edge_status range_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  node->kernel = "scalar";
  if (output->type != EDGE_INT32 && output->type != EDGE_INT64) {
    EDGE_TRY(edge_expect_type(c, node, output, "an output", EDGE_FLOAT32));
  }
  for (int32_t i = 0; i < 3; i++) {
    edge_tensor *input = edge_node_input(c, node, i);
    EDGE_TRY(edge_expect_type(c, node, input, "an input of the output's type", output->type));
    EDGE_TRY(edge_keep(c, input));
  }
  return EDGE_OK;
}

/* How many whole numbers; -1: none that go this way. */
static int64_t count_whole(int64_t start, int64_t limit, int64_t delta) {
  if (delta == 0 || (delta > 0 ? start > limit : start < limit)) return -1;
  const uint64_t span =
      delta > 0 ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
  const uint64_t pace = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
  const uint64_t count = span / pace + (span % pace != 0);
  return count > INT32_MAX ? INT64_MAX : (int64_t)count;
}

static int64_t count_float(float start, float limit, float delta) {
  if (!((start >= limit && delta < 0.0f) || (start <= limit && delta > 0.0f))) return -1;
  const float count = ceilf(fabsf((limit - start) / delta));
  return count < 0x1p31f ? (int64_t)count : INT64_MAX;
}

static edge_status range_shape(edge_planner *planner, edge_step *step) {
  const edge_type type = edge_tensor_in(planner, step, 0)->type;
  const void *values[3];
  int64_t count;
  for (int32_t i = 0; i < 3; i++) {
    const edge_view *view = edge_view_in(planner, step, i);
    if (edge_count(view->shape, 0, view->rank) != 1) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected one number as input %lld, got %lld", (long long)i,
                            (long long)edge_count(view->shape, 0, view->rank));
    }
    values[i] = edge_values_in(planner, step, i);
    if (values[i] == NULL) return EDGE_DEFERRED;
  }
  if (type == EDGE_FLOAT32) {
    const float *const *v = (const float *const *)values;
    count = count_float(*v[0], *v[1], *v[2]);
  } else if (type == EDGE_INT64) {
    const int64_t *const *v = (const int64_t *const *)values;
    count = count_whole(*v[0], *v[1], *v[2]);
  } else {
    const int32_t *const *v = (const int32_t *const *)values;
    count = count_whole(*v[0], *v[1], *v[2]);
  }
  if (count < 0 || count > INT32_MAX) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a step that leads from start to limit, got another");
  }
  const int32_t size = (int32_t)count;
  return edge_set_shape(planner, step, 0, 1, &size);
}

/* float32 adds up, as LiteRT does, with what that loses. */
static void range_run(const edge_frame *frame, const edge_step *step) {
  const int32_t output = step->node->outputs[0];
  const int64_t count = frame->views[output].shape[0];
  void *out = edge_out(frame, step, 0);
  const void *start = edge_in(frame, step, 0);
  const void *delta = edge_in(frame, step, 2);
  if (frame->graph->tensors[output].type == EDGE_FLOAT32) {
    float value = *(const float *)start;
    for (int64_t i = 0; i < count; i++, value += *(const float *)delta) ((float *)out)[i] = value;
  } else if (frame->graph->tensors[output].type == EDGE_INT64) {
    uint64_t value = *(const uint64_t *)start;
    for (int64_t i = 0; i < count; i++, value += *(const uint64_t *)delta) {
      ((uint64_t *)out)[i] = value;
    }
  } else {
    uint32_t value = *(const uint32_t *)start;
    for (int64_t i = 0; i < count; i++, value += *(const uint32_t *)delta) {
      ((uint32_t *)out)[i] = value;
    }
  }
}

/* ---- ONE_HOT ----------------------------------------------------------------------------- */

typedef struct hot_params {
  int32_t axis; /* as in the file; -1: the last one */
} hot_params;

typedef struct hot_state {
  int64_t outer, depth, inner, size;
} hot_state;

static edge_status hot_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  hot_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  node->kernel = "copy";
  if (!edge_table_i32(&node->options, ONE_HOT_AXIS, 0, &p->axis)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  EDGE_TRY(edge_expect_whole(c, node, 0, "indices"));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 1), "a depth", EDGE_INT32));
  for (int32_t i = 2; i < 4; i++) {
    EDGE_TRY(edge_expect_movable(c, node, edge_node_input(c, node, i), output));
    EDGE_TRY(edge_keep(c, edge_node_input(c, node, i)));
  }
  return EDGE_OK;
}

static edge_status hot_shape(edge_planner *planner, edge_step *step) {
  const hot_params *p = step->node->params;
  const edge_view *indices = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t depth = 0;
  const int32_t axis = p->axis == -1 ? indices->rank : p->axis;
  bool ok = indices->rank < EDGE_MAX_RANK && axis >= 0 && axis <= indices->rank;
  for (int32_t i = 2; i < 4; i++) {
    const edge_view *value = edge_view_in(planner, step, i);
    ok = ok && edge_count(value->shape, 0, value->rank) == 1;
  }
  if (!ok) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an axis in -1 ... %lld and two values, got axis %lld",
                          (long long)indices->rank, (long long)p->axis);
  }
  EDGE_TRY(edge_exact_list_in(planner, step, 1, 1, &depth));
  for (int32_t d = 0; d <= indices->rank; d++) {
    shape[d] = d == axis ? depth : indices->shape[d < axis ? d : d - 1];
  }
  EDGE_TRY(edge_set_shape(planner, step, 0, indices->rank + 1, shape));
  hot_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  *s =
      (hot_state){edge_count(shape, 0, axis), depth, edge_count(shape, axis + 1, indices->rank + 1),
                  edge_element_in(planner, step, 2)};
  return EDGE_OK;
}

static void hot_run(const edge_frame *frame, const edge_step *step) {
  const hot_state *s = step->state;
  const void *indices = edge_in(frame, step, 0);
  const uint8_t *on = edge_in(frame, step, 2);
  uint8_t *out = edge_out(frame, step, 0);
  const bool wide = frame->graph->tensors[step->node->inputs[0]].type == EDGE_INT64;
  edge_copy_blocks(edge_in(frame, step, 3), 0, out, s->size, s->size,
                   s->outer * s->depth * s->inner);
  for (int64_t o = 0; o < s->outer; o++) {
    for (int64_t k = 0; k < s->inner; k++) {
      const int64_t at = o * s->inner + k;
      /* LiteRT looks at the lower 32 bits. */
      const uint32_t index =
          wide ? (uint32_t)((const uint64_t *)indices)[at] : ((const uint32_t *)indices)[at];
      if (index >= s->depth) continue;
      memcpy(out + ((o * s->depth + index) * s->inner + k) * s->size, on, (size_t)s->size);
    }
  }
}

const edge_operator edge_operator_range = {
    .code = 96,
    .name = "RANGE",
    .version_max = 2,
    .options_type = 73,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = range_compile,
    .shape = range_shape,
    .run = range_run,
};

const edge_operator edge_operator_one_hot = {
    .code = 85,
    .name = "ONE_HOT",
    .version_max = 1,
    .options_type = 61,
    .inputs_min = 4,
    .inputs_max = 4,
    .compile = hot_compile,
    .shape = hot_shape,
    .run = hot_run,
};
