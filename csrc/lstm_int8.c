/* The LSTM cell in int8: gates of 16 bits with 3 integer bits, a cell state of 16 bits whose scale
 * is a power of two, fixed-point functions. Only the peepholes take LiteRT's vector loop, whose
 * rounding differs; everything else rounds halves away from zero. */
#include <math.h>

#include "fixed_point.h"
#include "lstm.h"
#include "requantize.h"
#include "rules.h"

enum { INTEGER_BITS_MAX = 6 }; /* of edge_tanh16() */

/* ---- compile ----------------------------------------------------------------------------- */

static int16_t saturate_16(int64_t value) {
  return (int16_t)edge_clamp(value, INT16_MIN, INT16_MAX);
}

/* Symmetric weights of one scale. */
static edge_status weights_scale(edge_compiler *c, const edge_node *node, const edge_tensor *tensor,
                                 const char *what, float *scale) {
  edge_quant quant;
  EDGE_TRY(edge_expect_quant(c, node, tensor, what, &quant));
  *scale = quant.scale;
  return edge_expect_scales(c, node, tensor, what, 0);
}

/* bias[r] + zero_point * sum of the weights of row r. */
static edge_status fold_bias(edge_compiler *c, const edge_rows *rows, const int32_t *bias,
                             int32_t zero_point, const int32_t **folded) {
  int32_t *made = edge_pack_alloc(c, (uint64_t)rows->count, sizeof *made);
  if (made == NULL) return edge_no_memory(c->error);
  for (int32_t r = 0; r < rows->count; r++) {
    int64_t sum = 0;
    for (int32_t k = 0; k < rows->depth; k++) sum += rows->bytes[(int64_t)r * rows->depth + k];
    made[r] = edge_wrap((bias ? bias[r] : 0) + zero_point * sum);
  }
  *folded = made;
  return EDGE_OK;
}

/* A matrix of a gate or the projection, with its requantization. */
static edge_status compile_rows(edge_compiler *c, const edge_node *node, edge_tensor *tensor,
                                const char *what, edge_rows *rows, float *scale) {
  EDGE_TRY(edge_expect_parameter(c, node, tensor, what, EDGE_INT8, rows->count, rows->depth));
  rows->bytes = tensor->constant;
  return weights_scale(c, node, tensor, what, scale);
}

static edge_status compile_vector(edge_compiler *c, const edge_node *node, edge_tensor *tensor,
                                  const char *what, int32_t count, const int16_t **values,
                                  float *scale) {
  EDGE_TRY(edge_expect_parameter(c, node, tensor, what, EDGE_INT16, count, 0));
  *values = tensor->constant;
  return weights_scale(c, node, tensor, what, scale);
}

typedef struct scales {
  edge_quant input, state, cell, output;
  edge_quant gates[LSTM_GATES]; /* of the sums, before the activation */
  edge_quant hidden;
} scales;

static edge_status intermediate(edge_compiler *c, const edge_node *node, int32_t i,
                                edge_quant *quant) {
  const int32_t index = node->intermediates[i];
  if (index < 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected intermediate tensor %lld, got none", (long long)i);
  }
  return edge_expect_quant(c, node, &c->graph->tensors[index], "an intermediate", quant);
}

static edge_status read_scales(edge_compiler *c, const edge_node *node,
                               const edge_lstm_slots *slots, const edge_lstm *cell, scales *s) {
  EDGE_TRY(edge_expect_state(c, node, slots->hidden, "an output state", EDGE_INT8));
  EDGE_TRY(edge_expect_state(c, node, slots->cell, "a cell state", EDGE_INT16));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, 0), "an input", &s->input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &s->output));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, slots->hidden), "an output state",
                             &s->state));
  EDGE_TRY(
      edge_expect_quant(c, node, edge_node_input(c, node, slots->cell), "a cell state", &s->cell));
  if (node->intermediate_count != LSTM_GATES + 1) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected %lld intermediate tensors, got %lld", (long long)LSTM_GATES + 1,
                          (long long)node->intermediate_count);
  }
  for (int32_t g = 0; g < LSTM_GATES; g++) {
    s->gates[g] = (edge_quant){0x1p-12f, 0};
    if (cell->normalized && !(cell->coupled && g == LSTM_INPUT)) {
      EDGE_TRY(intermediate(c, node, g, &s->gates[g]));
    }
  }
  return intermediate(c, node, LSTM_GATES, &s->hidden);
}

static edge_status fixed(edge_compiler *c, const edge_node *node, double real, edge_fixed *out) {
  return edge_expect_fixed(c, node, (double)(float)real, true, out);
}

static edge_status compile_norm(edge_compiler *c, const edge_node *node, const edge_lstm *cell,
                                const edge_lstm_tensors *t, edge_lstm_int8_gate *gate) {
  float scale = 1.0f;
  if (cell->normalized) {
    EDGE_TRY(compile_vector(c, node, t->norm, "coefficients of normalization", cell->cells,
                            &gate->norm, &scale));
  }
  const float guard = 10000.0f * scale;
  gate->variance_guard = guard < 1.0f ? 1 : guard < 0x1p30f ? (int32_t)guard : 1 << 30;
  EDGE_TRY(fixed(c, node, (double)scale, &gate->norm_scale));
  /* 12 fraction bits of the gate; the sum must stay below LiteRT's bound of shifts, too. */
  gate->norm_scale.exponent = (int16_t)(gate->norm_scale.exponent + 12);
  if (gate->norm_scale.exponent <= 30) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected coefficients of normalization with a scale below 2^18, got a "
                        "larger one");
}

static edge_status compile_peephole(edge_compiler *c, const edge_node *node, const edge_lstm *cell,
                                    const edge_lstm_tensors *t, float gate_scale,
                                    edge_lstm_int8_gate *gate) {
  float scale;
  if (t->peephole == NULL) return EDGE_OK;
  EDGE_TRY(compile_vector(c, node, t->peephole, "peephole weights", cell->cells, &gate->peephole,
                          &scale));
  const double product = ldexp((double)scale, cell->integer->cell_exponent);
  return fixed(c, node, product / (double)gate_scale, &gate->peephole_scale);
}

static edge_status compile_gate(edge_compiler *c, const edge_node *node,
                                const edge_lstm_slots *slots, const edge_lstm *cell,
                                const scales *s, int32_t g) {
  const edge_lstm_tensors t = edge_lstm_gate_tensors(c, node, slots, cell, g);
  edge_lstm_int8_gate *gate = &cell->integer->gates[g];
  edge_rows input = {.count = cell->cells, .depth = cell->inputs};
  edge_rows recurrent = {.count = cell->cells, .depth = cell->outputs};
  float scale;
  EDGE_TRY(compile_rows(c, node, t.input, "input weights", &input, &scale));
  const float input_product = scale * s->input.scale;
  EDGE_TRY(fixed(c, node, (double)(input_product / s->gates[g].scale), &gate->input_scale));
  EDGE_TRY(compile_rows(c, node, t.recurrent, "recurrent weights", &recurrent, &scale));
  const float state_product = scale * s->state.scale;
  EDGE_TRY(fixed(c, node, (double)(state_product / s->gates[g].scale), &gate->recurrent_scale));
  EDGE_TRY(compile_peephole(c, node, cell, &t, s->gates[g].scale, gate));
  EDGE_TRY(compile_norm(c, node, cell, &t, gate));
  EDGE_TRY(edge_expect_parameter(c, node, t.bias, "a bias", EDGE_INT32, cell->cells, 0));
  const int32_t *bias = t.bias->constant;
  gate->input = input.bytes;
  gate->recurrent = recurrent.bytes;
  gate->norm_bias = bias;
  EDGE_TRY(fold_bias(c, &input, cell->normalized ? NULL : bias, -s->input.zero_point,
                     &gate->input_bias));
  return fold_bias(c, &recurrent, NULL, -s->state.zero_point, &gate->recurrent_bias);
}

static edge_status compile_projection(edge_compiler *c, const edge_node *node,
                                      const edge_lstm_slots *slots, const edge_lstm *cell,
                                      const scales *s) {
  edge_lstm_int8 *p = cell->integer;
  edge_rows rows = {.count = cell->outputs, .depth = cell->cells};
  edge_tensor *bias = edge_node_optional(c, node, slots->projection_bias);
  float scale;
  EDGE_TRY(compile_rows(c, node, edge_node_optional(c, node, slots->projection),
                        "projection weights", &rows, &scale));
  const float product = scale * s->hidden.scale;
  EDGE_TRY(fixed(c, node, (double)(product / s->state.scale), &p->projection_scale));
  if (bias != NULL) {
    EDGE_TRY(edge_expect_parameter(c, node, bias, "a bias of the projection", EDGE_INT32,
                                   cell->outputs, 0));
  }
  p->projection = rows.bytes;
  return fold_bias(c, &rows, bias ? bias->constant : NULL, s->hidden.zero_point,
                   &p->projection_bias);
}

/* The exponent of a power of two, as near as LiteRT wants it. */
static edge_status cell_exponent(edge_compiler *c, const edge_node *node, const edge_lstm *cell,
                                 float scale, int32_t *exponent) {
  const double log = log2((double)scale);
  const double rounded = round(log);
  *exponent = (int32_t)rounded;
  const int32_t least = cell->coupled ? -15 : -30;
  if (fabs(log - rounded) < 1e-3 && *exponent >= least && *exponent <= INTEGER_BITS_MAX - 15) {
    return EDGE_OK;
  }
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected a cell state whose scale is 2^%lld ... 2^-9, got %g",
                        (long long)least, (double)scale);
}

static int32_t quantized_clip(float clip, float scale, int32_t most) {
  const float quotient = clip / scale;
  if (!(clip > 0.0f)) return 0;
  return quotient < (float)most ? (int32_t)quotient : most;
}

edge_status edge_lstm_compile_int8(edge_compiler *c, const edge_node *node,
                                   const edge_lstm_slots *slots, edge_lstm *cell) {
  scales s = {0};
  edge_lstm_int8 *p = edge_pack_alloc(c, 1, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  cell->integer = p;
  if (cell->options.activation != ACTIVATION_TANH || cell->aux_inputs > 0) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected the activation TANH and one input, got activation %lld",
                          (long long)cell->options.activation);
  }
  EDGE_TRY(read_scales(c, node, slots, cell, &s));
  EDGE_TRY(cell_exponent(c, node, cell, s.cell.scale, &p->cell_exponent));
  for (int32_t g = cell->coupled ? LSTM_FORGET : LSTM_INPUT; g < LSTM_GATES; g++) {
    EDGE_TRY(compile_gate(c, node, slots, cell, &s, g));
  }
  EDGE_TRY(fixed(c, node, 0x1p-30 / (double)s.hidden.scale, &p->hidden_scale));
  if (cell->projects) EDGE_TRY(compile_projection(c, node, slots, cell, &s));
  p->hidden_zero_point = s.hidden.zero_point;
  p->output_zero_point = s.state.zero_point;
  p->cell_clip = (int16_t)quantized_clip(cell->options.cell_clip, s.cell.scale, INT16_MAX);
  p->projection_clip =
      (int8_t)quantized_clip(cell->options.projection_clip, s.output.scale, INT8_MAX);
  return EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

/* LiteRT walks the batch's cells as one array with rows of as many elements as there are outputs,
 * where it means cells. With a projection a cell thus takes another one's weight, and the last ones
 * of the batch take none. */
static void add_peephole(const edge_lstm *cell, const edge_lstm_int8_gate *gate,
                         const edge_lstm_row *row, const int16_t *c, int16_t *out) {
  const int32_t whole = cell->outputs - cell->outputs % 16;
  for (int32_t i = 0; i < cell->cells; i++) {
    const int64_t place = row->index * cell->cells + i;
    const int32_t weight = (int32_t)(place % cell->outputs);
    edge_fixed scale = gate->peephole_scale;
    scale.away = weight >= whole ? 1 : 0;
    if (place >= row->count * cell->outputs || weight >= cell->cells) continue;
    const int32_t product = gate->peephole[weight] * c[i];
    out[i] = saturate_16((int64_t)edge_multiply(product, scale) + out[i]);
  }
}

static void normalize(const edge_lstm_int8_gate *gate, int16_t *values, int32_t count) {
  int64_t sum = 0;
  int64_t squares = 0;
  for (int32_t i = 0; i < count; i++) {
    sum += values[i];
    squares += (int64_t)values[i] * values[i];
  }
  const int64_t mean = sum * 1024 / count;
  const int64_t variance = (squares * ((1 << 20) / count) - mean * mean) / (1 << 20);
  const int32_t wrapped = edge_wrap(variance);
  const edge_fixed inverse = edge_inverse_sqrt(wrapped < 1 ? gate->variance_guard : wrapped);
  for (int32_t i = 0; i < count; i++) {
    const int32_t distance = edge_wrap(1024 * (int64_t)values[i] - mean);
    const int32_t rescaled = edge_multiply(distance, inverse);
    const int64_t weighted =
        edge_wrap((int64_t)edge_wrap((int64_t)rescaled * gate->norm[i]) + gate->norm_bias[i]);
    const int32_t scaled = (int32_t)((weighted > 0 ? weighted + 512 : weighted - 512) / 1024);
    values[i] = saturate_16(edge_multiply(scaled, gate->norm_scale));
  }
}

static void run_gate(const edge_lstm *cell, int32_t g, const edge_lstm_row *row, const int8_t *x,
                     const int8_t *h, const int16_t *c, int16_t *out) {
  const edge_lstm_int8_gate *gate = &cell->integer->gates[g];
  for (int32_t r = 0; r < cell->cells; r++) {
    const int8_t *input = gate->input + (int64_t)r * cell->inputs;
    const int8_t *recurrent = gate->recurrent + (int64_t)r * cell->outputs;
    const int32_t first =
        edge_wrap((int64_t)edge_dot_s8(input, x, cell->inputs) + gate->input_bias[r]);
    const int32_t second =
        edge_wrap((int64_t)edge_dot_s8(recurrent, h, cell->outputs) + gate->recurrent_bias[r]);
    const int16_t sum = saturate_16(edge_multiply(first, gate->input_scale));
    out[r] = saturate_16((int64_t)edge_multiply(second, gate->recurrent_scale) + sum);
  }
  if (gate->peephole != NULL) add_peephole(cell, gate, row, c, out);
  if (cell->normalized) normalize(gate, out, cell->cells);
  for (int32_t r = 0; r < cell->cells; r++) {
    out[r] = g == LSTM_CELL ? edge_tanh16(out[r], 3) : edge_logistic16(out[r], 3);
  }
}

static int16_t scaled_product(int16_t a, int16_t b, int shift) {
  return (int16_t)edge_round_shift((int32_t)a * b, shift);
}

static void update_cell(const edge_lstm *cell, int16_t *const *gates, int16_t *c) {
  const edge_lstm_int8 *p = cell->integer;
  for (int32_t i = 0; i < cell->cells; i++) {
    const int16_t forget = gates[LSTM_FORGET][i];
    const int16_t share = cell->coupled ? (int16_t)(INT16_MAX - forget) : gates[LSTM_INPUT][i];
    const int16_t kept = scaled_product(forget, c[i], 15);
    const int16_t added = scaled_product(share, gates[LSTM_CELL][i], 30 + p->cell_exponent);
    const int16_t sum = saturate_16((int64_t)kept + added);
    c[i] = p->cell_clip > 0 ? (int16_t)edge_clamp(sum, -p->cell_clip, p->cell_clip) : sum;
  }
}

static void project(const edge_lstm *cell, const int8_t *hidden, int8_t *h) {
  const edge_lstm_int8 *p = cell->integer;
  for (int32_t r = 0; r < cell->outputs; r++) {
    const int8_t *weights = p->projection + (int64_t)r * cell->cells;
    const int32_t sum =
        edge_wrap((int64_t)edge_dot_s8(weights, hidden, cell->cells) + p->projection_bias[r]);
    const int64_t value = (int64_t)edge_multiply(sum, p->projection_scale) + p->output_zero_point;
    const int32_t byte = edge_clamp(value, INT8_MIN, INT8_MAX);
    const int32_t most = p->projection_clip;
    h[r] = (int8_t)(most > 0 ? edge_clamp(byte, -most, most) : byte);
  }
}

void edge_lstm_step_int8(const edge_lstm *cell, const edge_lstm_row *row, const int8_t *x,
                         int8_t *h, int16_t *c, uint8_t *scratch) {
  const edge_lstm_int8 *p = cell->integer;
  const uint64_t room = edge_round_up((uint64_t)cell->cells * sizeof(int16_t), EDGE_ALIGN);
  int16_t *gates[LSTM_GATES];
  for (int g = 0; g < LSTM_GATES; g++) gates[g] = (int16_t *)(void *)(scratch + (uint64_t)g * room);
  int8_t *hidden = (int8_t *)(scratch + LSTM_GATES * room);
  if (!cell->coupled) run_gate(cell, LSTM_INPUT, row, x, h, c, gates[LSTM_INPUT]);
  run_gate(cell, LSTM_FORGET, row, x, h, c, gates[LSTM_FORGET]);
  run_gate(cell, LSTM_CELL, row, x, h, c, gates[LSTM_CELL]);
  update_cell(cell, gates, c);
  run_gate(cell, LSTM_OUTPUT, row, x, h, c, gates[LSTM_OUTPUT]);
  int8_t *out = cell->projects ? hidden : h;
  const int32_t zero_point = cell->projects ? -p->hidden_zero_point : p->hidden_zero_point;
  for (int32_t i = 0; i < cell->cells; i++) {
    /* LiteRT has no tanh for states below 1, and goes on with what the memory for it held. */
    const int16_t active =
        p->cell_exponent < -15 ? gates[LSTM_INPUT][i] : edge_tanh16(c[i], 15 + p->cell_exponent);
    const int32_t product = (int32_t)gates[LSTM_OUTPUT][i] * active;
    const int64_t value = (int64_t)edge_multiply(product, p->hidden_scale) + zero_point;
    out[i] = (int8_t)edge_clamp(value, INT8_MIN, INT8_MAX);
  }
  if (cell->projects) project(cell, hidden, h);
}
