/* WHERE and UNIQUE: how much comes out depends on what comes in.
 *
 * Source: tflite/kernels/where.cc, unique.cc.
 */
#include <math.h>

#include "../movement.h"
#include "../operators.h"
#include "../order.h"
#include "../unary.h"

/* ---- WHERE ------------------------------------------------------------------------------- */

static edge_status where_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  switch (input->type) {
    case EDGE_FLOAT32:
    case EDGE_BOOL:
    case EDGE_INT8:
    case EDGE_UINT8:
    case EDGE_INT16:
    case EDGE_INT32:
    case EDGE_UINT32:
    case EDGE_INT64:
      return edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_INT64);
    default:
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected float32, whole numbers or bools, got %s",
                            edge_type_name(input->type));
  }
}

static bool is_true(const void *data, edge_type type, int64_t i) {
  switch (edge_type_size(type)) {
    case 1:
      return ((const uint8_t *)data)[i] != 0;
    case 2:
      return ((const uint16_t *)data)[i] != 0;
    case 8:
      return ((const uint64_t *)data)[i] != 0;
    default:
      /* A negative zero is zero. */
      return type == EDGE_FLOAT32 ? ((const float *)data)[i] != 0.0f
                                  : ((const uint32_t *)data)[i] != 0;
  }
}

static edge_status where_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_type type = edge_tensor_in(planner, step, 0)->type;
  const void *values = edge_values_in(planner, step, 0);
  const int64_t all = edge_count(input->shape, 0, input->rank);
  int32_t count = 0;
  if (input->rank == 0) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected conditions of rank 1 or more, got a scalar");
  }
  if (values == NULL) return EDGE_DEFERRED;
  for (int64_t i = 0; i < all; i++) count += is_true(values, type, i);
  return edge_set_shape(planner, step, 0, 2, (const int32_t[]){count, input->rank});
}

static void where_run(const edge_frame *frame, const edge_step *step) {
  const edge_view *input = &frame->views[step->node->inputs[0]];
  const edge_type type = frame->graph->tensors[step->node->inputs[0]].type;
  const int64_t all = edge_count(input->shape, 0, input->rank);
  int64_t *out = edge_out(frame, step, 0);
  for (int64_t i = 0; i < all; i++) {
    int64_t rest = i;
    if (!is_true(input->data, type, i)) continue;
    for (int32_t d = input->rank - 1; d >= 0; d--) {
      out[d] = rest % input->shape[d];
      rest /= input->shape[d];
    }
    out += input->rank;
  }
}

/* ---- UNIQUE ------------------------------------------------------------------------------ */

/* Found by shape(), whose input is known then. */
typedef struct unique_state {
  int32_t *group; /* [entries] of each entry, which unique value it is */
  int32_t *first; /* [unique values] where each came first */
  int32_t count;
} unique_state;

static edge_status unique_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  int8_t type = 0;
  if (!edge_table_i8(&node->options, UNIQUE_IDX_OUT_TYPE, EDGE_INT32, &type) ||
      (type != EDGE_INT32 && type != EDGE_INT64)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected an index type of INT32 or INT64, %lld or %lld, got %lld",
                          (long long)EDGE_INT32, (long long)EDGE_INT64, (long long)type);
  }
  EDGE_TRY(edge_expect_one_of(c, node, input, "an input", EDGE_ORDERED_TYPES));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "values", input->type));
  return edge_expect_type(c, node, edge_node_output(c, node, 1), "indices", (edge_type)type);
}

typedef struct unique_values {
  const void *data;
  edge_type type;
} unique_values;

/* Below 0, 0 or above: entry a against entry b. A NaN equals a NaN and is above all numbers. */
static int compare(const unique_values *v, int32_t a, int32_t b) {
  int64_t x = 0;
  int64_t y = 0;
  switch (v->type) {
    case EDGE_FLOAT32: {
      const float p = ((const float *)v->data)[a];
      const float q = ((const float *)v->data)[b];
      if (isnan(p) || isnan(q)) return isnan(p) - isnan(q);
      return (p > q) - (p < q);
    }
    case EDGE_INT64:
      x = ((const int64_t *)v->data)[a];
      y = ((const int64_t *)v->data)[b];
      break;
    case EDGE_INT32:
      x = ((const int32_t *)v->data)[a];
      y = ((const int32_t *)v->data)[b];
      break;
    case EDGE_INT16:
      x = ((const int16_t *)v->data)[a];
      y = ((const int16_t *)v->data)[b];
      break;
    default:
      x = ((const uint8_t *)v->data)[a];
      y = ((const uint8_t *)v->data)[b];
  }
  return (x > y) - (x < y);
}

static bool comes_before(const void *context, int32_t a, int32_t b) {
  const int order = compare(context, a, b);
  return order < 0 || (order == 0 && a < b);
}

/* order[]: the entries by value, those that are equal by place. group[] gets the place of the first
 * equal one, and then, in the order of places, numbers. */
static void find_groups(const unique_values *values, int32_t count, int32_t *order,
                        unique_state *s) {
  for (int32_t i = 0; i < count; i++) order[i] = i;
  edge_order(order, count, count, comes_before, values);
  for (int32_t i = 0; i < count; i++) {
    const bool equal = i > 0 && compare(values, order[i - 1], order[i]) == 0;
    s->group[order[i]] = equal ? s->group[order[i - 1]] : order[i];
  }
  for (int32_t i = 0; i < count; i++) {
    if (s->group[i] == i) {
      s->group[i] = s->count;
      s->first[s->count++] = i;
    } else {
      s->group[i] = s->group[s->group[i]];
    }
  }
}

static edge_status unique_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const unique_values values = {edge_values_in(planner, step, 0),
                                edge_tensor_in(planner, step, 0)->type};
  if (input->rank != 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL, "expected a list, got rank %lld",
                          (long long)input->rank);
  }
  EDGE_TRY(edge_set_shape(planner, step, 1, 1, input->shape));
  if (values.data == NULL) return EDGE_DEFERRED;
  const size_t entries = (size_t)input->shape[0];
  unique_state *s = edge_step_state(planner, step, sizeof *s + 3 * entries * sizeof(int32_t));
  if (s == NULL) return edge_no_memory(planner->error);
  s->group = (int32_t *)(void *)(s + 1);
  s->first = s->group + entries;
  find_groups(&values, input->shape[0], s->first + entries, s);
  return edge_set_shape(planner, step, 0, 1, &s->count);
}

static void unique_run(const edge_frame *frame, const edge_step *step) {
  const unique_state *s = step->state;
  const edge_view *input = &frame->views[step->node->inputs[0]];
  const size_t size = edge_type_size(frame->graph->tensors[step->node->inputs[0]].type);
  const uint8_t *in = input->data;
  uint8_t *values = edge_out(frame, step, 0);
  void *indices = edge_out(frame, step, 1);
  const bool wide = frame->graph->tensors[step->node->outputs[1]].type == EDGE_INT64;
  for (int32_t i = 0; i < s->count; i++) {
    memcpy(values + (size_t)i * size, in + (size_t)s->first[i] * size, size);
  }
  for (int32_t i = 0; i < input->shape[0]; i++) {
    if (wide) {
      ((int64_t *)indices)[i] = s->group[i];
    } else {
      ((int32_t *)indices)[i] = s->group[i];
    }
  }
}

const edge_operator edge_operator_where = {
    .code = 109,
    .name = "WHERE",
    .version_max = 2,
    .options_type = 85,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = where_compile,
    .shape = where_shape,
    .run = where_run,
};

const edge_operator edge_operator_unique = {
    .code = 103,
    .name = "UNIQUE",
    .version_max = 1,
    .options_type = 80,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_min = 2,
    .outputs_max = 2,
    .compile = unique_compile,
    .shape = unique_shape,
    .run = unique_run,
};
