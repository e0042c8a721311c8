/* CONCATENATION and PACK: tensors of one type joined along an axis, which PACK makes new. A copy:
 * LiteRT refuses int8 inputs with another quantization than the output's, and so do we. Only uint8
 * of CONCATENATION is rescaled.
 *
 * Source: tflite/kernels/concatenation.cc, internal/reference/concatenation.h, pack.cc;
 * docs/numerics.md.
 */
#include <math.h>

#include "../movement.h"
#include "../operators.h"
#include "../rules.h"

enum { INPUTS_MAX = 4096 };

typedef struct join_params {
  bool pack;
  int32_t axis; /* as in the file, perhaps negative */
  /* uint8: for each input what each of its bytes becomes, NULL where it stays; or NULL */
  const uint8_t **tables;
} join_params;

typedef struct join_state {
  int64_t outer;  /* products of the dimensions before the axis */
  int64_t all;    /* bytes of the output below the axis */
  int64_t rows[]; /* [inputs] bytes of each input below the axis */
} join_state;

/* ---- compile() --------------------------------------------------------------------------- */

/* float32 step by step; beyond int32, where the conversion has no meaning, it saturates. */
static void fill_rescaling(edge_quant input, edge_quant output, uint8_t *table) {
  const float scale = input.scale * (1.0f / output.scale);
  const float bias = (float)-input.zero_point * scale;
  for (int32_t i = 0; i < 256; i++) {
    const float value = roundf((float)i * scale + bias) + (float)output.zero_point;
    table[i] = (uint8_t)(value > 0.0f ? value < 255.0f ? value : 255.0f : 0.0f);
  }
}

static edge_status add_rescaling(edge_compiler *c, const edge_node *node, join_params *p,
                                 int32_t i) {
  edge_quant input;
  edge_quant output;
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, i), "an input", &input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &output));
  if (p->tables == NULL) {
    p->tables = (const uint8_t **)edge_region_alloc(&c->model->region, (uint64_t)node->input_count,
                                                    sizeof *p->tables, c->error);
    if (p->tables == NULL) return edge_no_memory(c->error);
  }
  uint8_t *table = edge_region_alloc(&c->model->region, 256, 1, c->error);
  if (table == NULL) return edge_no_memory(c->error);
  fill_rescaling(input, output, table);
  p->tables[i] = table;
  return EDGE_OK;
}

static edge_status read_input(edge_compiler *c, const edge_node *node, join_params *p, int32_t i) {
  edge_tensor *input = edge_node_optional(c, node, i);
  const edge_tensor *output = edge_node_output(c, node, 0);
  if (input == NULL) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected input %lld, got none",
                          (long long)i);
  }
  EDGE_TRY(edge_keep(c, input));
  const bool rescaled = !p->pack && input->type == EDGE_UINT8 && output->type == EDGE_UINT8 &&
                        !edge_same_quantization(input, output);
  return rescaled ? add_rescaling(c, node, p, i) : edge_expect_moved(c, node, input, output);
}

static edge_status join_compile(edge_compiler *c, edge_node *node, bool pack, uint32_t field) {
  join_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (!edge_table_i32(&node->options, field, 0, &p->axis)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  p->pack = pack;
  for (int32_t i = 0; i < node->input_count; i++) EDGE_TRY(read_input(c, node, p, i));
  node->kernel = p->tables ? "table" : "copy";
  return EDGE_OK;
}

static edge_status concatenate_compile(edge_compiler *c, edge_node *node) {
  int8_t activation;
  EDGE_TRY(edge_read_activation(c, node, CONCATENATION_ACTIVATION, &activation));
  if (activation != ACTIVATION_NONE) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected no fused activation, got %lld", (long long)activation);
  }
  return join_compile(c, node, false, CONCATENATION_AXIS);
}

static edge_status pack_compile(edge_compiler *c, edge_node *node) {
  int32_t values;
  if (!edge_table_i32(&node->options, PACK_VALUES_COUNT, 0, &values) ||
      values != node->input_count) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected as many inputs as the options say, got %lld",
                          (long long)node->input_count);
  }
  return join_compile(c, node, true, PACK_AXIS);
}

/* ---- shape() ----------------------------------------------------------------------------- */

/* All inputs have the first one's shape, but for the axis. */
static edge_status expect_fit(edge_planner *planner, const edge_step *step, int32_t axis,
                              int32_t i) {
  const edge_view *first = edge_view_in(planner, step, 0);
  const edge_view *input = edge_view_in(planner, step, i);
  bool fits = input->rank == first->rank;
  for (int32_t d = 0; fits && d < first->rank; d++) {
    fits = d == axis || input->shape[d] == first->shape[d];
  }
  if (fits) return EDGE_OK;
  char wanted[EDGE_SHAPE_TEXT];
  char found[EDGE_SHAPE_TEXT];
  return edge_step_fail(
      planner, step, EDGE_MALFORMED_MODEL,
      "expected inputs of one shape but along dimension %lld, got %s and, at %lld, "
      "%s",
      (long long)axis, edge_shape_text(wanted, first->rank, first->shape), (long long)i,
      edge_shape_text(found, input->rank, input->shape));
}

static join_state *make_state(edge_planner *planner, edge_step *step, int32_t axis) {
  const edge_view *first = edge_view_in(planner, step, 0);
  const size_t inputs = (size_t)step->node->input_count;
  join_state *s = edge_step_state(planner, step, sizeof *s + inputs * sizeof *s->rows);
  if (s == NULL) return NULL;
  s->outer = edge_count(first->shape, 0, axis);
  for (int32_t i = 0; i < step->node->input_count; i++) {
    const edge_view *input = edge_view_in(planner, step, i);
    s->rows[i] = edge_count(input->shape, axis, input->rank) * edge_element_in(planner, step, i);
    s->all += s->rows[i];
  }
  return s;
}

static edge_status concatenate_shape(edge_planner *planner, edge_step *step) {
  const join_params *p = step->node->params;
  const edge_view *first = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t axis;
  int64_t size = 0;
  /* Scalars become a list. */
  if (first->rank == 0 && p->axis == 0) return edge_operator_pack.shape(planner, step);
  EDGE_TRY(edge_axis_of(planner, step, p->axis, first->rank, &axis));
  for (int32_t i = 0; i < step->node->input_count; i++) {
    EDGE_TRY(expect_fit(planner, step, axis, i));
    size += edge_view_in(planner, step, i)->shape[axis];
  }
  if (size > INT32_MAX) {
    return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                          "expected dimensions that fit int32, got %lld", (long long)size);
  }
  if (make_state(planner, step, axis) == NULL) return edge_no_memory(planner->error);
  memcpy(shape, first->shape, sizeof shape);
  shape[axis] = (int32_t)size;
  return edge_set_shape(planner, step, 0, first->rank, shape);
}

static edge_status pack_shape(edge_planner *planner, edge_step *step) {
  const join_params *p = step->node->params;
  const edge_view *first = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t axis;
  if (first->rank == EDGE_MAX_RANK) {
    return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                          "expected inputs of fewer than %lld dimensions, got %lld",
                          (long long)EDGE_MAX_RANK, (long long)first->rank);
  }
  EDGE_TRY(edge_axis_of(planner, step, p->axis, first->rank + 1, &axis));
  for (int32_t i = 1; i < step->node->input_count; i++) {
    EDGE_TRY(expect_fit(planner, step, -1, i));
  }
  if (make_state(planner, step, axis) == NULL) return edge_no_memory(planner->error);
  for (int32_t d = 0; d <= first->rank; d++) {
    shape[d] = d == axis ? step->node->input_count : first->shape[d < axis ? d : d - 1];
  }
  return edge_set_shape(planner, step, 0, first->rank + 1, shape);
}

/* ---- the run ----------------------------------------------------------------------------- */

static void rescale(const uint8_t *table, const uint8_t *in, int64_t row, int64_t outer,
                    uint8_t *out, int64_t all) {
  for (int64_t r = 0; r < outer; r++) {
    for (int64_t k = 0; k < row; k++) out[r * all + k] = table[in[r * row + k]];
  }
}

static void join_run(const edge_frame *frame, const edge_step *step) {
  const join_params *p = step->node->params;
  const join_state *s = step->state;
  uint8_t *out = edge_out(frame, step, 0);
  for (int32_t i = 0; i < step->node->input_count; i++) {
    const uint8_t *in = edge_in(frame, step, i);
    const int64_t row = s->rows[i];
    if (row == 0) continue;
    if (p->tables != NULL && p->tables[i] != NULL) {
      rescale(p->tables[i], in, row, s->outer, out, s->all);
    } else {
      edge_copy_blocks(in, row, out, s->all, row, s->outer);
    }
    out += row;
  }
}

const edge_operator edge_operator_concatenation = {
    .code = 2,
    .name = "CONCATENATION",
    .version_max = 7,
    .options_type = 10,
    .inputs_min = 1,
    .inputs_max = INPUTS_MAX,
    .compile = concatenate_compile,
    .shape = concatenate_shape,
    .run = join_run,
};

const edge_operator edge_operator_pack = {
    .code = 83,
    .name = "PACK",
    .version_max = 5,
    .options_type = 59,
    .inputs_min = 1,
    .inputs_max = INPUTS_MAX,
    .compile = pack_compile,
    .shape = pack_shape,
    .run = join_run,
};
