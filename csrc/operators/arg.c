/* ARG_MAX, ARG_MIN: the place of the largest or least element along one dimension, the first of
 * several; int8, uint8, int16, int32, float32, bool -> int32 or int64.
 *
 * Source: tflite/kernels/arg_min_max.cc, internal/reference/arg_min_max.h.
 */
#include "../operators.h"

/* Places of the best of `size` elements, for `inner` neighbouring columns. */
typedef void arg_fn(const void *in, int64_t size, int64_t inner, bool least, int64_t *places,
                    void *best);

typedef struct arg_params {
  edge_type type, output;
  bool least;
  arg_fn *find;
} arg_params;

typedef struct arg_state {
  int64_t outer, size, inner;
} arg_state;

#define EDGE_ARG(name, type)                                                                 \
  static void name(const void *in, int64_t size, int64_t inner, bool least, int64_t *places, \
                   void *best) {                                                             \
    const type *row = in;                                                                    \
    type *found = best;                                                                      \
    memcpy(found, row, (size_t)inner * sizeof *found);                                       \
    memset(places, 0, (size_t)inner * sizeof *places);                                       \
    for (int64_t k = 1; k < size; k++) {                                                     \
      row += inner;                                                                          \
      for (int64_t i = 0; i < inner; i++) {                                                  \
        if (least ? row[i] < found[i] : row[i] > found[i]) {                                 \
          found[i] = row[i];                                                                 \
          places[i] = k;                                                                     \
        }                                                                                    \
      }                                                                                      \
    }                                                                                        \
  }

EDGE_ARG(find_int8, int8_t)
EDGE_ARG(find_uint8, uint8_t)
EDGE_ARG(find_int16, int16_t)
EDGE_ARG(find_int32, int32_t)
EDGE_ARG(find_float32, float)

static arg_fn *find_of(edge_type type) {
  switch (type) {
    case EDGE_INT8:
      return find_int8;
    case EDGE_UINT8:
    case EDGE_BOOL:
      return find_uint8;
    case EDGE_INT16:
      return find_int16;
    case EDGE_INT32:
      return find_int32;
    case EDGE_FLOAT32:
      return find_float32;
    default:
      return NULL;
  }
}

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status check_types(edge_compiler *c, const edge_node *node, const arg_params *p) {
  const edge_tensor *axis = edge_node_input(c, node, 1);
  if (p->find == NULL) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an input of int8, uint8, int16, int32, float32 or bool, got %s "
                          "(tensor %lld)",
                          edge_type_name(p->type), (long long)node->inputs[0]);
  }
  if (axis->type != EDGE_INT64) {
    EDGE_TRY(edge_expect_type(c, node, axis, "an axis", EDGE_INT32));
  }
  if (p->output != EDGE_INT64) {
    EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_INT32));
  }
  return EDGE_OK;
}

/* The output's type is in the options as well, and LiteRT goes by that. */
static edge_status check_options(edge_compiler *c, const edge_node *node, const arg_params *p) {
  enum { INT32_IN_FILE = 2, INT64_IN_FILE = 4 };
  const int8_t expected = p->output == EDGE_INT64 ? INT64_IN_FILE : INT32_IN_FILE;
  int8_t type;
  if (!edge_table_i8(&node->options, ARG_MAX_OUTPUT_TYPE, 0, &type)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (type == expected) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected an output type of %lld as the output tensor has, got %lld",
                        (long long)expected, (long long)type);
}

static edge_status arg_compile(edge_compiler *c, edge_node *node, bool least) {
  arg_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->type = edge_node_input(c, node, 0)->type;
  p->output = edge_node_output(c, node, 0)->type;
  p->least = least;
  p->find = find_of(p->type);
  EDGE_TRY(check_types(c, node, p));
  return check_options(c, node, p);
}

static edge_status max_compile(edge_compiler *c, edge_node *node) {
  return arg_compile(c, node, false);
}

static edge_status min_compile(edge_compiler *c, edge_node *node) {
  return arg_compile(c, node, true);
}

/* ---- shape ------------------------------------------------------------------------------- */

/* The one axis, counting from the end where it is negative. */
static edge_status read_axis(edge_planner *planner, const edge_step *step, int32_t *axis) {
  const edge_view *view = edge_view_in(planner, step, 1);
  const int32_t rank = edge_view_in(planner, step, 0)->rank;
  const int64_t named = edge_count(view->shape, 0, view->rank);
  if (named != 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL, "expected 1 axis, got %lld",
                          (long long)named);
  }
  const void *values = edge_values_in(planner, step, 1);
  if (values == NULL) return EDGE_DEFERRED;
  *axis = edge_value_at(planner, step, 1, values, 0);
  if (*axis < -rank || *axis >= rank) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an axis in %lld ... %lld, got %lld", -(long long)rank,
                          (long long)rank - 1, (long long)*axis);
  }
  if (*axis < 0) *axis += rank;
  return EDGE_OK;
}

static edge_status arg_shape(edge_planner *planner, edge_step *step) {
  const arg_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t axis;
  int32_t kept = 0;
  arg_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(read_axis(planner, step, &axis));
  s->outer = edge_count(input->shape, 0, axis);
  s->size = input->shape[axis];
  s->inner = edge_count(input->shape, axis + 1, input->rank);
  if (s->size == 0) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected elements along dimension %lld, got none", (long long)axis);
  }
  for (int32_t d = 0; d < input->rank; d++) {
    if (d != axis) shape[kept++] = input->shape[d];
  }
  step->scratch_size = (uint64_t)s->inner * (sizeof(int64_t) + edge_type_size(p->type));
  return edge_set_shape(planner, step, 0, kept, shape);
}

/* ---- run --------------------------------------------------------------------------------- */

static void arg_run(const edge_frame *frame, const edge_step *step) {
  const arg_params *p = step->node->params;
  const arg_state *s = step->state;
  const uint8_t *in = edge_in(frame, step, 0);
  uint8_t *out = edge_out(frame, step, 0);
  int64_t *places = (int64_t *)(void *)edge_scratch(frame, step, 0);
  const int64_t block = s->size * s->inner * (int64_t)edge_type_size(p->type);
  for (int64_t o = 0; o < s->outer; o++) {
    p->find(in + o * block, s->size, s->inner, p->least, places, places + s->inner);
    if (p->output == EDGE_INT64) {
      memcpy(out + (size_t)(o * s->inner) * sizeof *places, places,
             (size_t)s->inner * sizeof *places);
      continue;
    }
    int32_t *row = (int32_t *)(void *)out + o * s->inner;
    for (int64_t i = 0; i < s->inner; i++) row[i] = (int32_t)places[i];
  }
}

const edge_operator edge_operator_arg_max = {
    .code = 56,
    .name = "ARG_MAX",
    .version_max = 3,
    .options_type = 40,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = max_compile,
    .shape = arg_shape,
    .run = arg_run,
};

const edge_operator edge_operator_arg_min = {
    .code = 79,
    .name = "ARG_MIN",
    .version_max = 3,
    .options_type = 57,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = min_compile,
    .shape = arg_shape,
    .run = arg_run,
};
