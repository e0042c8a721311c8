/* RNN, UNIDIRECTIONAL_SEQUENCE_RNN and BIDIRECTIONAL_SEQUENCE_RNN: h = activation(W x + A a + R h +
 * b), in float32, with weights of float32 or int8. The state h stays from one invoke to the next.
 *
 * Source: tflite/kernels/basic_rnn.cc, unidirectional_sequence_rnn.cc,
 * bidirectional_sequence_rnn.cc, internal/kernel_utils.cc.
 */
#include "../operators.h"
#include "../recurrent.h"
#include "../sequence.h"

enum { WEIGHTS, RECURRENT, BIAS, HIDDEN }; /* from the first of a cell's inputs on */
enum { CELL_INPUTS = 5, BIDIRECTIONAL_INPUTS = 12, AUX_INPUT = 9, AUX_WEIGHTS = 10 };

typedef struct rnn_cell {
  int32_t first; /* the node's input that is WEIGHTS */
  int32_t units;
  edge_rows input, aux, recurrent;
  const float *bias;
} rnn_cell;

typedef struct rnn_params {
  rnn_cell cells[2];
  edge_sequence_form form;
  bool hybrid, asymmetric;
  int8_t activation;
} rnn_params;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status read_options(edge_compiler *c, const edge_node *node, uint32_t activation,
                                uint32_t asymmetric, rnn_params *p) {
  if (!edge_table_bool(&node->options, asymmetric, false, &p->asymmetric)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  return edge_read_cell_activation(c, node, activation, true, &p->activation);
}

static edge_status rows(edge_compiler *c, const edge_node *node, int32_t i, const char *what,
                        int32_t count, int32_t depth, const rnn_params *p, edge_rows *out) {
  edge_tensor *tensor = edge_node_optional(c, node, i);
  if (tensor != NULL && edge_is_byte(tensor->type) != p->hybrid) {
    return edge_expect_type(c, node, tensor, what, p->hybrid ? EDGE_INT8 : EDGE_FLOAT32);
  }
  return edge_rows_compile(c, node, tensor, what, count, depth, p->asymmetric, out);
}

static edge_status compile_cell(edge_compiler *c, const edge_node *node, rnn_params *p, int32_t i) {
  rnn_cell *cell = &p->cells[i];
  const edge_tensor *weights = edge_node_optional(c, node, cell->first + WEIGHTS);
  edge_tensor *bias = edge_node_optional(c, node, cell->first + BIAS);
  if (weights == NULL || weights->rank != 2 || edge_stored_count(weights) == 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected input weights of rank 2 with elements, got none");
  }
  cell->units = weights->shape[0];
  p->form.depths[i] = weights->shape[1];
  p->form.widths[i] = cell->units;
  p->hybrid = edge_is_byte(weights->type);
  EDGE_TRY(rows(c, node, cell->first + WEIGHTS, "input weights", cell->units, weights->shape[1], p,
                &cell->input));
  EDGE_TRY(rows(c, node, cell->first + RECURRENT, "recurrent weights", cell->units, cell->units, p,
                &cell->recurrent));
  if (p->form.aux >= 0) {
    EDGE_TRY(rows(c, node, AUX_WEIGHTS + i, "weights of the auxiliary input", cell->units,
                  p->form.aux_depth, p, &cell->aux));
  }
  EDGE_TRY(edge_expect_parameter(c, node, bias, "a bias", EDGE_FLOAT32, cell->units, 0));
  cell->bias = bias->constant;
  return edge_expect_state(c, node, cell->first + HIDDEN, "a hidden state", EDGE_FLOAT32);
}

static edge_status compile_cells(edge_compiler *c, edge_node *node, rnn_params *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  uint64_t row = 0;
  EDGE_TRY(edge_expect_type(c, node, input, "an input", EDGE_FLOAT32));
  EDGE_TRY(edge_sequence_expect_outputs(c, node, &p->form));
  for (int32_t i = 0; i < p->form.count; i++) {
    p->cells[i].first = 1 + 4 * i;
    EDGE_TRY(compile_cell(c, node, p, i));
    const rnn_cell *cell = &p->cells[i];
    row += (uint64_t)cell->units *
           ((uint64_t)cell->input.depth + (uint64_t)cell->aux.depth + (uint64_t)cell->units);
  }
  node->effort = row / (uint64_t)p->cells[0].units + 1;
  node->macs = row * (edge_stored_count(input) / (uint64_t)p->form.depths[0]);
  node->kernel = p->hybrid ? "rnn, float32 by int8" : "rnn, float32";
  return EDGE_OK;
}

static edge_status expect_inputs(edge_compiler *c, const edge_node *node, int32_t count) {
  if (node->input_count == count) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected %lld inputs, got %lld",
                        (long long)count, (long long)node->input_count);
}

static edge_status rnn_compile(edge_compiler *c, edge_node *node) {
  rnn_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->form = (edge_sequence_form){.count = 1, .aux = -1};
  EDGE_TRY(expect_inputs(c, node, CELL_INPUTS));
  EDGE_TRY(read_options(c, node, RNN_FUSED_ACTIVATION_FUNCTION, RNN_ASYMMETRIC_QUANTIZE_INPUTS, p));
  return compile_cells(c, node, p);
}

static edge_status sequence_compile(edge_compiler *c, edge_node *node) {
  rnn_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->form = (edge_sequence_form){.count = 1, .sequence = true, .aux = -1};
  EDGE_TRY(expect_inputs(c, node, CELL_INPUTS));
  if (!edge_table_bool(&node->options, SEQUENCE_RNN_TIME_MAJOR, false, &p->form.time_major)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  EDGE_TRY(read_options(c, node, SEQUENCE_RNN_FUSED_ACTIVATION_FUNCTION,
                        SEQUENCE_RNN_ASYMMETRIC_QUANTIZE_INPUTS, p));
  return compile_cells(c, node, p);
}

static edge_status bidirectional_compile(edge_compiler *c, edge_node *node) {
  rnn_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->form = (edge_sequence_form){.count = 2, .sequence = true, .aux = -1};
  EDGE_TRY(expect_inputs(c, node, BIDIRECTIONAL_INPUTS));
  if (!edge_table_bool(&node->options, BIDIRECTIONAL_SEQUENCE_RNN_TIME_MAJOR, false,
                       &p->form.time_major) ||
      !edge_table_bool(&node->options, BIDIRECTIONAL_SEQUENCE_RNN_MERGE_OUTPUTS, false,
                       &p->form.merged)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  EDGE_TRY(read_options(c, node, BIDIRECTIONAL_SEQUENCE_RNN_FUSED_ACTIVATION_FUNCTION,
                        BIDIRECTIONAL_SEQUENCE_RNN_ASYMMETRIC_QUANTIZE_INPUTS, p));
  EDGE_TRY(edge_sequence_read_aux(c, node, AUX_INPUT, AUX_WEIGHTS, &p->form));
  /* With the batch first, LiteRT's backward cell reads the main input whatever there is. */
  if (!p->form.time_major) p->form.inputs[1] = 0;
  return compile_cells(c, node, p);
}

/* ---- shape ------------------------------------------------------------------------------- */

static uint64_t aligned(int64_t count) {
  return edge_round_up((uint64_t)count, EDGE_ALIGN);
}

static uint64_t scratch_of(const rnn_params *p, int32_t i) {
  const rnn_cell *cell = &p->cells[i];
  const uint64_t sums = aligned((int64_t)sizeof(float) * cell->units);
  if (!p->hybrid) return sums;
  return sums + aligned(cell->input.depth) + aligned(cell->aux.depth) + aligned(cell->units);
}

static edge_status rnn_shape(edge_planner *planner, edge_step *step) {
  const rnn_params *p = step->node->params;
  edge_sequence *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(edge_sequence_shape(planner, step, &p->form, s));
  for (int32_t i = 0; i < p->form.count; i++) {
    const rnn_cell *cell = &p->cells[i];
    EDGE_TRY(edge_expect_state_size(planner, step, cell->first + HIDDEN, "a hidden state",
                                    s->batch * cell->units));
    if (scratch_of(p, i) > step->scratch_size) step->scratch_size = scratch_of(p, i);
  }
  return EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

/* One step of one sequence; `h` [units] is read and written. */
static void rnn_step(const rnn_params *p, const rnn_cell *cell, const float *x, const float *aux,
                     float *h, uint8_t *scratch) {
  float *sums = (float *)(void *)scratch;
  int8_t *bytes = NULL;
  int8_t *aux_bytes = NULL;
  int8_t *state_bytes = NULL;
  edge_column second = {.zero = true};
  if (p->hybrid) {
    bytes = (int8_t *)scratch + aligned((int64_t)sizeof(float) * cell->units);
    aux_bytes = bytes + aligned(cell->input.depth);
    state_bytes = aux_bytes + aligned(cell->aux.depth);
  }
  const edge_column first = edge_column_of(x, cell->input.depth, bytes, p->asymmetric);
  const edge_column state = edge_column_of(h, cell->units, state_bytes, p->asymmetric);
  if (aux != NULL) second = edge_column_of(aux, cell->aux.depth, aux_bytes, p->asymmetric);
  for (int32_t r = 0; r < cell->units; r++) {
    float sum = cell->bias[r] + edge_rows_dot(&cell->input, r, &first);
    sum += edge_rows_dot(&cell->aux, r, &second);
    sums[r] = sum + edge_rows_dot(&cell->recurrent, r, &state);
  }
  edge_activate(sums, cell->units, p->activation);
  memcpy(h, sums, (size_t)cell->units * sizeof *h);
}

static void run_cell(const edge_frame *frame, const edge_step *step, int32_t i, float *out,
                     int64_t width) {
  const rnn_params *p = step->node->params;
  const edge_sequence *s = step->state;
  const rnn_cell *cell = &p->cells[i];
  const float *input = edge_in(frame, step, p->form.inputs[i]);
  const float *aux = p->form.aux >= 0 ? edge_in(frame, step, p->form.aux) : NULL;
  float *state = edge_in(frame, step, cell->first + HIDDEN);
  for (int64_t b = 0; b < s->batch; b++) {
    float *h = state + b * cell->units;
    for (int64_t t = 0; t < s->time; t++) {
      const int64_t row = edge_sequence_row(s, b, t, i == 1);
      rnn_step(p, cell, input + row * cell->input.depth, aux ? aux + row * cell->aux.depth : NULL,
               h, edge_scratch(frame, step, 0));
      memcpy(out + row * width, h, (size_t)cell->units * sizeof *h);
    }
  }
}

static void rnn_run(const edge_frame *frame, const edge_step *step) {
  const rnn_params *p = step->node->params;
  const int64_t together = (int64_t)p->form.widths[0] + p->form.widths[1];
  for (int32_t i = 0; i < p->form.count; i++) {
    if (p->form.merged) {
      float *out = edge_out(frame, step, 0);
      run_cell(frame, step, i, out + (i == 0 ? 0 : p->form.widths[0]), together);
    } else {
      run_cell(frame, step, i, edge_out(frame, step, i), p->form.widths[i]);
    }
  }
}

const edge_operator edge_operator_rnn = {
    .code = 24,
    .name = "RNN",
    .version_max = 3,
    .options_type = 7,
    .inputs_min = 1,
    .inputs_max = CELL_INPUTS,
    .compile = rnn_compile,
    .shape = rnn_shape,
    .run = rnn_run,
};

const edge_operator edge_operator_unidirectional_sequence_rnn = {
    .code = 35,
    .name = "UNIDIRECTIONAL_SEQUENCE_RNN",
    .version_max = 3,
    .options_type = 31,
    .inputs_min = 1,
    .inputs_max = CELL_INPUTS,
    .compile = sequence_compile,
    .shape = rnn_shape,
    .run = rnn_run,
};

const edge_operator edge_operator_bidirectional_sequence_rnn = {
    .code = 46,
    .name = "BIDIRECTIONAL_SEQUENCE_RNN",
    .version_max = 3,
    .options_type = 70,
    .inputs_min = 1,
    .inputs_max = BIDIRECTIONAL_INPUTS,
    .outputs_min = 1,
    .outputs_max = 2,
    .compile = bidirectional_compile,
    .shape = rnn_shape,
    .run = rnn_run,
};
