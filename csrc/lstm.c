/* Operands of an LSTM cell: which are there, their types and sizes. */
#include "lstm.h"

#include <math.h>

static const char *const weights_names[] = {"input-to-input weights", "input-to-forget weights",
                                            "input-to-cell weights", "input-to-output weights"};
static const char *const aux_names[] = {
    "auxiliary-input-to-input weights", "auxiliary-input-to-forget weights",
    "auxiliary-input-to-cell weights", "auxiliary-input-to-output weights"};
static const char *const recurrent_names[] = {
    "recurrent-to-input weights", "recurrent-to-forget weights", "recurrent-to-cell weights",
    "recurrent-to-output weights"};
static const char *const peephole_names[] = {"cell-to-input weights", "cell-to-forget weights", "",
                                             "cell-to-output weights"};
static const char *const norm_names[] = {"coefficients of the input gate's normalization",
                                         "coefficients of the forget gate's normalization",
                                         "coefficients of the cell gate's normalization",
                                         "coefficients of the output gate's normalization"};
static const char *const bias_names[] = {"a bias of the input gate", "a bias of the forget gate",
                                         "a bias of the cell gate", "a bias of the output gate"};

static edge_tensor *at(const edge_compiler *c, const edge_node *node, int32_t slot, int32_t i) {
  return slot < 0 ? NULL : edge_node_optional(c, node, slot + i);
}

edge_lstm_tensors edge_lstm_gate_tensors(const edge_compiler *c, const edge_node *node,
                                         const edge_lstm_slots *slots, const edge_lstm *cell,
                                         int32_t gate) {
  static const int32_t peephole[] = {0, 1, -1, 2};
  const bool looks = cell->peepholes && peephole[gate] >= 0;
  return (edge_lstm_tensors){
      .input = at(c, node, slots->weights, gate),
      .aux = cell->aux_inputs > 0 ? at(c, node, slots->aux, gate) : NULL,
      .recurrent = at(c, node, slots->recurrent, gate),
      .peephole = looks ? at(c, node, slots->peephole, peephole[gate]) : NULL,
      .norm = cell->normalized ? at(c, node, slots->norm, gate) : NULL,
      .bias = at(c, node, slots->bias, gate)};
}

/* ---- which operands are there ------------------------------------------------------------ */

static edge_status all_or_none(edge_compiler *c, const edge_node *node, bool ok, const char *what) {
  if (ok) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected %s, got some of them only", what);
}

static edge_status read_kind(edge_compiler *c, const edge_node *node, const edge_lstm_slots *slots,
                             edge_lstm *cell) {
  const bool has_input = at(c, node, slots->weights, LSTM_INPUT) != NULL;
  const bool has_recurrent = at(c, node, slots->recurrent, LSTM_INPUT) != NULL;
  const bool has_bias = at(c, node, slots->bias, LSTM_INPUT) != NULL;
  const bool to_input = at(c, node, slots->peephole, 0) != NULL;
  const bool to_forget = at(c, node, slots->peephole, 1) != NULL;
  const bool to_output = at(c, node, slots->peephole, 2) != NULL;
  const bool norm_input = at(c, node, slots->norm, LSTM_INPUT) != NULL;
  cell->coupled = !has_input;
  cell->normalized = at(c, node, slots->norm, LSTM_FORGET) != NULL;
  cell->peepholes = to_forget;
  cell->projects = at(c, node, slots->projection, 0) != NULL;
  EDGE_TRY(all_or_none(c, node, has_input == has_recurrent && has_input == has_bias,
                       "all weights and the bias of the input gate or none"));
  EDGE_TRY(all_or_none(c, node, to_forget == to_output && (cell->coupled || to_input == to_forget),
                       "all peephole weights or none"));
  EDGE_TRY(all_or_none(c, node, !cell->normalized || norm_input == has_input,
                       "coefficients of normalization for all gates"));
  return all_or_none(c, node, cell->projects || at(c, node, slots->projection_bias, 0) == NULL,
                     "weights and bias of a projection");
}

static edge_status read_sizes(edge_compiler *c, const edge_node *node, const edge_lstm_slots *slots,
                              edge_lstm *cell) {
  const edge_tensor *weights = at(c, node, slots->weights, LSTM_OUTPUT);
  const edge_tensor *recurrent = at(c, node, slots->recurrent, LSTM_OUTPUT);
  if (weights == NULL || recurrent == NULL) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected weights of the output gate, got none");
  }
  EDGE_TRY(edge_expect_rank(c, node, weights, weights_names[LSTM_OUTPUT], 2));
  if (recurrent->rank != 1) {
    EDGE_TRY(edge_expect_rank(c, node, recurrent, recurrent_names[LSTM_OUTPUT], 2));
  }
  cell->cells = weights->shape[0];
  cell->inputs = weights->shape[1];
  cell->outputs = recurrent->shape[recurrent->rank - 1];
  if (cell->cells < 1 || cell->inputs < 1 || cell->outputs < 1) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected weights, got none");
  }
  if (cell->projects || cell->cells == cell->outputs) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected as many outputs as cells without a projection, %lld, got %lld",
                        (long long)cell->cells, (long long)cell->outputs);
}

static edge_status check_options(edge_compiler *c, const edge_node *node,
                                 const edge_lstm_options *options) {
  if (options->cell_clip >= 0.0f && options->projection_clip >= 0.0f) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected clips of at least 0, got %g and %g", (double)options->cell_clip,
                        (double)options->projection_clip);
}

/* ---- float32 and hybrid ------------------------------------------------------------------ */

static edge_status floats(edge_compiler *c, const edge_node *node, edge_tensor *tensor,
                          const char *what, int32_t count, const float **values) {
  EDGE_TRY(edge_expect_parameter(c, node, tensor, what, EDGE_FLOAT32, count, 0));
  if (tensor != NULL) *values = tensor->constant; /* which has been expected */
  return EDGE_OK;
}

/* Peepholes are multiplied as float32 in hybrid cells, too. */
static edge_status compile_peephole(edge_compiler *c, const edge_node *node, edge_tensor *tensor,
                                    const char *what, const edge_lstm *cell, const float **values) {
  edge_quant quant;
  if (!cell->hybrid) return floats(c, node, tensor, what, cell->cells, values);
  if (tensor != NULL && !edge_is_byte(tensor->type)) {
    return edge_expect_type(c, node, tensor, what, EDGE_INT8);
  }
  EDGE_TRY(edge_expect_parameter(c, node, tensor, what, tensor ? tensor->type : EDGE_INT8,
                                 cell->cells, 0));
  EDGE_TRY(edge_expect_quant(c, node, tensor, what, &quant));
  float *made = edge_pack_alloc(c, (uint64_t)cell->cells, sizeof *made);
  if (made == NULL) return edge_no_memory(c->error);
  const int8_t *bytes = tensor->constant;
  for (int32_t i = 0; i < cell->cells; i++) made[i] = quant.scale * (float)bytes[i];
  *values = made;
  return EDGE_OK;
}

static edge_status rows_of_kind(edge_compiler *c, const edge_node *node, edge_tensor *tensor,
                                const char *what, int32_t count, int32_t depth,
                                const edge_lstm *cell, edge_rows *rows) {
  if (tensor != NULL && edge_is_byte(tensor->type) != cell->hybrid) {
    return edge_expect_type(c, node, tensor, what, cell->hybrid ? EDGE_INT8 : EDGE_FLOAT32);
  }
  return edge_rows_compile(c, node, tensor, what, count, depth, cell->options.asymmetric, rows);
}

static edge_status compile_gate(edge_compiler *c, const edge_node *node,
                                const edge_lstm_slots *slots, edge_lstm *cell, int32_t g) {
  const edge_lstm_tensors t = edge_lstm_gate_tensors(c, node, slots, cell, g);
  edge_lstm_gate *gate = &cell->gates[g];
  EDGE_TRY(rows_of_kind(c, node, t.input, weights_names[g], cell->cells, cell->inputs, cell,
                        &gate->input));
  if (cell->aux_inputs > 0) {
    EDGE_TRY(rows_of_kind(c, node, t.aux, aux_names[g], cell->cells, cell->aux_inputs, cell,
                          &gate->aux));
  }
  if (t.recurrent != NULL && t.recurrent->rank == 1 && cell->cells == cell->outputs) {
    EDGE_TRY(floats(c, node, t.recurrent, recurrent_names[g], cell->cells, &gate->diagonal));
  } else {
    EDGE_TRY(rows_of_kind(c, node, t.recurrent, recurrent_names[g], cell->cells, cell->outputs,
                          cell, &gate->recurrent));
  }
  if (t.peephole != NULL) {
    EDGE_TRY(compile_peephole(c, node, t.peephole, peephole_names[g], cell, &gate->peephole));
  }
  if (cell->normalized) {
    EDGE_TRY(floats(c, node, t.norm, norm_names[g], cell->cells, &gate->norm));
  }
  return floats(c, node, t.bias, bias_names[g], cell->cells, &gate->bias);
}

static edge_status compile_float(edge_compiler *c, const edge_node *node,
                                 const edge_lstm_slots *slots, edge_lstm *cell) {
  for (int32_t g = cell->coupled ? LSTM_FORGET : LSTM_INPUT; g < LSTM_GATES; g++) {
    EDGE_TRY(compile_gate(c, node, slots, cell, g));
  }
  EDGE_TRY(edge_expect_state(c, node, slots->hidden, "an output state", EDGE_FLOAT32));
  EDGE_TRY(edge_expect_state(c, node, slots->cell, "a cell state", EDGE_FLOAT32));
  if (!cell->projects) return EDGE_OK;
  edge_tensor *bias = at(c, node, slots->projection_bias, 0);
  EDGE_TRY(rows_of_kind(c, node, at(c, node, slots->projection, 0), "projection weights",
                        cell->outputs, cell->cells, cell, &cell->projection));
  if (bias == NULL) return EDGE_OK;
  return floats(c, node, bias, "a bias of the projection", cell->outputs, &cell->projection_bias);
}

/* ---- the whole --------------------------------------------------------------------------- */

edge_status edge_lstm_compile(edge_compiler *c, const edge_node *node, const edge_lstm_slots *slots,
                              const edge_lstm_options *options, int32_t aux_inputs,
                              edge_lstm *cell) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  cell->options = *options;
  cell->aux_inputs = aux_inputs;
  EDGE_TRY(check_options(c, node, options));
  EDGE_TRY(read_kind(c, node, slots, cell));
  EDGE_TRY(read_sizes(c, node, slots, cell));
  if (input->type == EDGE_INT8) return edge_lstm_compile_int8(c, node, slots, cell);
  EDGE_TRY(edge_expect_type(c, node, input, "an input", EDGE_FLOAT32));
  cell->hybrid = edge_is_byte(at(c, node, slots->weights, LSTM_OUTPUT)->type);
  return compile_float(c, node, slots, cell);
}

edge_status edge_lstm_check_states(edge_planner *planner, const edge_step *step,
                                   const edge_lstm_slots *slots, const edge_lstm *cell,
                                   int64_t batch) {
  EDGE_TRY(edge_expect_state_size(planner, step, slots->hidden, "an output state",
                                  batch * cell->outputs));
  return edge_expect_state_size(planner, step, slots->cell, "a cell state", batch * cell->cells);
}
