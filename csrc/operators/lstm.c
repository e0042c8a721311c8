/* LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM: cells of csrc/lstm.h over
 * [batch][inputs], or sequences [time][batch][inputs] or [batch][time][inputs]. Each sequence goes
 * on where the last invoke has left the states.
 *
 * Source: tflite/kernels/lstm.cc, unidirectional_sequence_lstm.cc, bidirectional_sequence_lstm.cc.
 */
#include "../lstm.h"
#include "../operators.h"
#include "../sequence.h"

enum { FULL_INPUTS = 20, NORMALIZED_INPUTS = 24, BIDIRECTIONAL_INPUTS = 48, AUX_INPUT = 39 };

static const edge_lstm_slots plain_slots = {1, 5, 9, 12, 16, 17, 18, 19, -1, -1};
static const edge_lstm_slots normalized_slots = {1, 5, 9, 12, 16, 17, 18, 19, 20, -1};
static const edge_lstm_slots forward_slots = {1, 5, 9, 12, 16, 17, 35, 36, -1, 40};
static const edge_lstm_slots backward_slots = {18, 22, 26, 29, 33, 34, 37, 38, -1, 44};

typedef struct lstm_params {
  edge_lstm cells[2]; /* forward, backward */
  edge_lstm_slots slots[2];
  edge_sequence_form form;
} lstm_params;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status malformed_options(edge_compiler *c, const edge_node *node) {
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected options within their table, got others");
}

/* The options that all three have, in the same order but for the last. */
static edge_status read_options(edge_compiler *c, const edge_node *node, uint32_t asymmetric,
                                edge_lstm_options *o) {
  if (!edge_table_f32(&node->options, LSTM_CELL_CLIP, 0.0f, &o->cell_clip) ||
      !edge_table_f32(&node->options, LSTM_PROJ_CLIP, 0.0f, &o->projection_clip) ||
      !edge_table_bool(&node->options, asymmetric, false, &o->asymmetric)) {
    return malformed_options(c, node);
  }
  return edge_read_cell_activation(c, node, LSTM_FUSED_ACTIVATION_FUNCTION, false, &o->activation);
}

static void count_work(const edge_compiler *c, edge_node *node, const lstm_params *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  uint64_t row = 0;
  for (int32_t i = 0; i < p->form.count; i++) {
    const edge_lstm *cell = &p->cells[i];
    const uint64_t depth =
        (uint64_t)cell->inputs + (uint64_t)cell->aux_inputs + (uint64_t)cell->outputs;
    row += (cell->coupled ? 3 : 4) * depth * (uint64_t)cell->cells;
    if (cell->projects) row += (uint64_t)cell->cells * (uint64_t)cell->outputs;
  }
  node->effort = row / (uint64_t)p->cells[0].outputs + 1;
  node->macs = row * (edge_stored_count(input) / (uint64_t)p->cells[0].inputs);
  node->kernel = p->cells[0].integer  ? "lstm, int8 with 16-bit gates"
                 : p->cells[0].hybrid ? "lstm, float32 by int8"
                                      : "lstm, float32";
}

static edge_status compile_one(edge_compiler *c, edge_node *node, lstm_params *p,
                               const edge_lstm_options *options) {
  if (node->input_count != FULL_INPUTS && node->input_count != NORMALIZED_INPUTS) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected %lld or %lld inputs, got %lld",
                          (long long)FULL_INPUTS, (long long)NORMALIZED_INPUTS,
                          (long long)node->input_count);
  }
  p->slots[0] = node->input_count == NORMALIZED_INPUTS ? normalized_slots : plain_slots;
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output",
                            edge_node_input(c, node, 0)->type));
  EDGE_TRY(edge_lstm_compile(c, node, &p->slots[0], options, 0, &p->cells[0]));
  p->form.count = 1;
  p->form.aux = -1;
  p->form.depths[0] = p->cells[0].inputs;
  p->form.widths[0] = p->cells[0].outputs;
  count_work(c, node, p);
  return EDGE_OK;
}

static edge_status refuse_diagonals(edge_compiler *c, const edge_node *node,
                                    const edge_lstm *cell) {
  for (int32_t g = 0; g < LSTM_GATES; g++) {
    if (cell->gates[g].diagonal == NULL) continue;
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected recurrent weights of rank 2, got 1");
  }
  return EDGE_OK;
}

static edge_status lstm_compile(edge_compiler *c, edge_node *node) {
  edge_lstm_options options;
  int8_t kind;
  lstm_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (!edge_table_i8(&node->options, LSTM_KERNEL_TYPE, 0, &kind)) {
    return malformed_options(c, node);
  }
  if (kind != 0) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected the full kernel, 0, got kernel type %lld", (long long)kind);
  }
  EDGE_TRY(read_options(c, node, LSTM_ASYMMETRIC_QUANTIZE_INPUTS, &options));
  EDGE_TRY(compile_one(c, node, p, &options));
  return refuse_diagonals(c, node, &p->cells[0]);
}

static edge_status sequence_compile(edge_compiler *c, edge_node *node) {
  edge_lstm_options options;
  lstm_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->form.sequence = true;
  if (!edge_table_bool(&node->options, UNIDIRECTIONAL_SEQUENCE_LSTM_TIME_MAJOR, false,
                       &p->form.time_major)) {
    return malformed_options(c, node);
  }
  EDGE_TRY(
      read_options(c, node, UNIDIRECTIONAL_SEQUENCE_LSTM_ASYMMETRIC_QUANTIZE_INPUTS, &options));
  return compile_one(c, node, p, &options);
}

static edge_status bidirectional_compile(edge_compiler *c, edge_node *node) {
  edge_lstm_options options;
  lstm_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->form.sequence = true;
  if (node->input_count != BIDIRECTIONAL_INPUTS) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected %lld inputs, got %lld",
                          (long long)BIDIRECTIONAL_INPUTS, (long long)node->input_count);
  }
  if (!edge_table_bool(&node->options, BIDIRECTIONAL_SEQUENCE_LSTM_TIME_MAJOR, true,
                       &p->form.time_major) ||
      !edge_table_bool(&node->options, BIDIRECTIONAL_SEQUENCE_LSTM_MERGE_OUTPUTS, false,
                       &p->form.merged)) {
    return malformed_options(c, node);
  }
  p->form.count = 2;
  EDGE_TRY(read_options(c, node, BIDIRECTIONAL_SEQUENCE_LSTM_ASYMMETRIC_QUANTIZE_INPUTS, &options));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "an input", EDGE_FLOAT32));
  EDGE_TRY(edge_sequence_read_aux(c, node, AUX_INPUT, forward_slots.aux + LSTM_FORGET, &p->form));
  EDGE_TRY(edge_sequence_expect_outputs(c, node, &p->form));
  p->slots[0] = forward_slots;
  p->slots[1] = backward_slots;
  for (int32_t i = 0; i < 2; i++) {
    EDGE_TRY(edge_lstm_compile(c, node, &p->slots[i], &options, p->form.aux_depth, &p->cells[i]));
    EDGE_TRY(refuse_diagonals(c, node, &p->cells[i]));
    p->form.depths[i] = p->cells[i].inputs;
    p->form.widths[i] = p->cells[i].outputs;
  }
  count_work(c, node, p);
  return EDGE_OK;
}

/* ---- shape ------------------------------------------------------------------------------- */

static edge_status lstm_shape(edge_planner *planner, edge_step *step) {
  const lstm_params *p = step->node->params;
  edge_sequence *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(edge_sequence_shape(planner, step, &p->form, s));
  for (int32_t i = 0; i < p->form.count; i++) {
    EDGE_TRY(edge_lstm_check_states(planner, step, &p->slots[i], &p->cells[i], s->batch));
    const uint64_t size = edge_lstm_scratch(&p->cells[i]);
    if (size > step->scratch_size) step->scratch_size = size;
  }
  return EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct lstm_walk {
  const edge_lstm *cell;
  const uint8_t *input, *aux;
  uint8_t *hidden, *state, *out, *scratch;
  uint64_t element;  /* bytes of an input, state or output */
  bool together;     /* LiteRT steps the sequences of the batch together, not one by one */
  int64_t out_width; /* elements of an output row */
  bool backward;
} lstm_walk;

static void walk_sequence(const lstm_walk *w, const edge_sequence *s, int64_t b) {
  const edge_lstm *cell = w->cell;
  const uint64_t size = w->element;
  const edge_lstm_row place = w->together ? (edge_lstm_row){b, s->batch} : (edge_lstm_row){0, 1};
  uint8_t *h = w->hidden + (uint64_t)(b * cell->outputs) * size;
  uint8_t *c = w->state + (uint64_t)(b * cell->cells) * (cell->integer ? 2 : size);
  for (int64_t i = 0; i < s->time; i++) {
    const int64_t row = edge_sequence_row(s, b, i, w->backward);
    const uint8_t *x = w->input + (uint64_t)(row * cell->inputs) * size;
    if (cell->integer != NULL) {
      edge_lstm_step_int8(cell, &place, (const int8_t *)x, (int8_t *)h, (int16_t *)(void *)c,
                          w->scratch);
    } else {
      const uint8_t *aux = w->aux ? w->aux + (uint64_t)(row * cell->aux_inputs) * size : NULL;
      edge_lstm_step(cell, (const float *)(const void *)x, (const float *)(const void *)aux,
                     (float *)(void *)h, (float *)(void *)c, w->scratch);
    }
    memcpy(w->out + (uint64_t)(row * w->out_width) * size, h, (uint64_t)cell->outputs * size);
  }
}

static void lstm_run(const edge_frame *frame, const edge_step *step) {
  const lstm_params *p = step->node->params;
  const edge_sequence *s = step->state;
  int64_t column = 0;
  for (int32_t i = 0; i < p->form.count; i++) {
    const edge_lstm *cell = &p->cells[i];
    const uint64_t element = cell->integer ? 1 : sizeof(float);
    const int32_t output = p->form.merged ? 0 : i;
    lstm_walk w = {.cell = cell,
                   .input = edge_in(frame, step, p->form.inputs[i]),
                   .aux = p->form.aux >= 0 ? edge_in(frame, step, p->form.aux) : NULL,
                   .hidden = edge_in(frame, step, p->slots[i].hidden),
                   .state = edge_in(frame, step, p->slots[i].cell),
                   .out = edge_out(frame, step, output),
                   .scratch = edge_scratch(frame, step, 0),
                   .element = element,
                   .together = p->form.time_major || !p->form.sequence,
                   .out_width = cell->outputs,
                   .backward = i == 1};
    if (p->form.merged) w.out_width = (int64_t)p->cells[0].outputs + p->cells[1].outputs;
    w.out += (uint64_t)column * element;
    for (int64_t b = 0; b < s->batch; b++) walk_sequence(&w, s, b);
    if (p->form.merged) column += cell->outputs;
  }
}

const edge_operator edge_operator_lstm = {
    .code = 16,
    .name = "LSTM",
    .version_max = 4,
    .options_type = 14,
    .inputs_min = 1,
    .inputs_max = NORMALIZED_INPUTS,
    .compile = lstm_compile,
    .shape = lstm_shape,
    .run = lstm_run,
};

const edge_operator edge_operator_unidirectional_sequence_lstm = {
    .code = 44,
    .name = "UNIDIRECTIONAL_SEQUENCE_LSTM",
    .version_max = 4,
    .options_type = 71,
    .inputs_min = 1,
    .inputs_max = NORMALIZED_INPUTS,
    .compile = sequence_compile,
    .shape = lstm_shape,
    .run = lstm_run,
};

const edge_operator edge_operator_bidirectional_sequence_lstm = {
    .code = 52,
    .name = "BIDIRECTIONAL_SEQUENCE_LSTM",
    .version_max = 3,
    .options_type = 69,
    .inputs_min = 1,
    .inputs_max = BIDIRECTIONAL_INPUTS,
    .outputs_min = 1,
    .outputs_max = 2,
    .compile = bidirectional_compile,
    .shape = lstm_shape,
    .run = lstm_run,
};
