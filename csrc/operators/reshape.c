/* RESHAPE, SQUEEZE and EXPAND_DIMS: other dimensions over the same elements. The output shares the
 * input's memory where nobody could notice, and is a copy otherwise.
 *
 * Source: tflite/kernels/reshape.cc, squeeze.cc, expand_dims.cc.
 */
#include "../movement.h"
#include "../operators.h"

typedef struct reshape_params {
  bool computed; /* RESHAPE: the shape is input 1, and not in the options */
  int32_t rank;  /* of the options' shape; SQUEEZE: how many dimensions are named */
  int32_t list[EDGE_MAX_RANK];
} reshape_params;

static edge_status reshape_begin(edge_compiler *c, edge_node *node, reshape_params **params) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  *params = edge_node_params(c, node, sizeof **params);
  if (*params == NULL) return edge_no_memory(c->error);
  node->kernel = "none or copy";
  return edge_expect_movable(c, node, input, edge_node_output(c, node, 0));
}

static edge_status read_list(edge_compiler *c, const edge_node *node, uint32_t field,
                             reshape_params *p) {
  edge_vector list = {0};
  if (!edge_table_vector(&node->options, field, 4, &list) || list.count > EDGE_MAX_RANK) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a list of at most %lld dimensions, got %lld",
                          (long long)EDGE_MAX_RANK, (long long)list.count);
  }
  p->rank = (int32_t)list.count;
  for (uint32_t i = 0; i < list.count; i++) p->list[i] = edge_vector_i32(&list, i);
  return EDGE_OK;
}

/* The shape is the second input where that is a list, else the options'. */
static edge_status reshape_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *shape = edge_node_optional(c, node, 1);
  reshape_params *p;
  EDGE_TRY(reshape_begin(c, node, &p));
  /* LiteRT looks at the options where the input is no list: old files have both. */
  p->computed = shape != NULL && (shape->rank == 1 || !node->options.present);
  if (!p->computed) {
    EDGE_TRY(read_list(c, node, RESHAPE_NEW_SHAPE, p));
    /* Old converters wrote [0] for a scalar. */
    if (p->rank == 1 && p->list[0] == 0) p->rank = 0;
    return EDGE_OK;
  }
  EDGE_TRY(edge_expect_type(c, node, shape, "a shape", EDGE_INT32));
  if (shape->rank <= 1 && edge_stored_count(shape) <= EDGE_MAX_RANK) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected a shape of at most %lld entries, got %llu",
                        (long long)EDGE_MAX_RANK, (unsigned long long)edge_stored_count(shape));
}

static edge_status squeeze_compile(edge_compiler *c, edge_node *node) {
  reshape_params *p;
  EDGE_TRY(reshape_begin(c, node, &p));
  return read_list(c, node, SQUEEZE_DIMS, p);
}

static edge_status expand_compile(edge_compiler *c, edge_node *node) {
  reshape_params *p;
  EDGE_TRY(reshape_begin(c, node, &p));
  EDGE_TRY(edge_expect_moved(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0)));
  return edge_expect_whole(c, node, 1, "an axis");
}

/* ---- shapes ------------------------------------------------------------------------------ */

/* One entry of -1 takes what is left. */
static edge_status resolve_shape(edge_planner *planner, const edge_step *step, int32_t rank,
                                 int32_t *shape) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const int64_t elements = edge_count(input->shape, 0, input->rank);
  int64_t known = 1;
  int32_t open = -1;
  bool ok = true;
  for (int32_t d = 0; d < rank; d++) {
    if (shape[d] == -1 && open < 0) {
      open = d;
    } else if (shape[d] < 0 || (shape[d] > 0 && known > INT32_MAX / shape[d])) {
      ok = false;
    } else {
      known *= shape[d];
    }
  }
  if (ok && open >= 0 && known > 0 && elements % known == 0) {
    shape[open] = (int32_t)(elements / known);
    known = elements;
  } else if (open >= 0) {
    ok = false;
  }
  if (ok && known == elements) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected a shape for %lld elements, got one for %lld", (long long)elements,
                        (long long)known);
}

static edge_status set_shared(edge_planner *planner, const edge_step *step, int32_t rank,
                              const int32_t *shape) {
  EDGE_TRY(edge_set_shape(planner, step, 0, rank, shape));
  edge_share(planner, step);
  return EDGE_OK;
}

static edge_status reshape_shape(edge_planner *planner, edge_step *step) {
  const reshape_params *p = step->node->params;
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = p->rank;
  if (p->computed) {
    EDGE_TRY(edge_list_in(planner, step, 1, EDGE_MAX_RANK, shape, &rank));
  } else {
    memcpy(shape, p->list, sizeof shape);
  }
  EDGE_TRY(resolve_shape(planner, step, rank, shape));
  return set_shared(planner, step, rank, shape);
}

static edge_status squeeze_shape(edge_planner *planner, edge_step *step) {
  const reshape_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = 0;
  uint32_t drop = 0;
  for (int32_t i = 0; i < p->rank; i++) {
    const int64_t d = p->list[i] < 0 ? (int64_t)p->list[i] + input->rank : p->list[i];
    if (d < 0 || d >= input->rank || input->shape[d] != 1) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected dimensions of size 1 to squeeze, got dimension %lld",
                            (long long)p->list[i]);
    }
    drop |= 1u << d;
  }
  for (int32_t d = 0; d < input->rank; d++) {
    if (p->rank == 0 && input->shape[d] == 1) continue;
    if (!(drop >> d & 1)) shape[rank++] = input->shape[d];
  }
  return set_shared(planner, step, rank, shape);
}

static edge_status expand_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t axis;
  if (input->rank == EDGE_MAX_RANK) {
    return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an output of at most %lld dimensions, got one more",
                          (long long)EDGE_MAX_RANK);
  }
  EDGE_TRY(edge_axis_in(planner, step, 1, input->rank + 1, &axis));
  for (int32_t d = 0; d <= input->rank; d++) {
    shape[d] = d == axis ? 1 : input->shape[d < axis ? d : d - 1];
  }
  return set_shared(planner, step, input->rank + 1, shape);
}

static void reshape_run(const edge_frame *frame, const edge_step *step) {
  const void *in = edge_in(frame, step, 0);
  void *out = edge_out(frame, step, 0);
  if (out != in) memcpy(out, in, frame->views[step->node->outputs[0]].bytes);
}

const edge_operator edge_operator_reshape = {
    .code = 22,
    .name = "RESHAPE",
    .version_max = 2,
    .options_type = 17,
    .inputs_min = 1,
    .inputs_max = 2,
    .compile = reshape_compile,
    .shape = reshape_shape,
    .run = reshape_run,
};

const edge_operator edge_operator_squeeze = {
    .code = 43,
    .name = "SQUEEZE",
    .version_max = 2,
    .options_type = 30,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = squeeze_compile,
    .shape = squeeze_shape,
    .run = reshape_run,
};

const edge_operator edge_operator_expand_dims = {
    .code = 70,
    .name = "EXPAND_DIMS",
    .version_max = 1,
    .options_type = 52,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = expand_compile,
    .shape = expand_shape,
    .run = reshape_run,
};
