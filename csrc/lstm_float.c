/* The LSTM cell in float32, with weights of float32 or int8. */
#include <math.h>

#include "lstm.h"

typedef struct scratch_parts {
  float *gates[LSTM_GATES];        /* [cells] */
  float *hidden;                   /* [cells] */
  int8_t *input, *aux, *recurrent; /* the vectors as bytes; NULL where the weights are not */
  int8_t *projection;
} scratch_parts;

static uint64_t aligned(int64_t count, uint64_t size) {
  return edge_round_up((uint64_t)count * size, EDGE_ALIGN);
}

uint64_t edge_lstm_scratch(const edge_lstm *cell) {
  /* The integer cell has four gates, a vector of 16 bits and one of 8: no more than this. */
  uint64_t size = (LSTM_GATES + 1) * aligned(cell->cells, sizeof(float));
  if (!cell->hybrid) return size + aligned(cell->outputs, 1) + EDGE_SLACK;
  size += aligned(cell->inputs, 1) + aligned(cell->aux_inputs, 1);
  return size + aligned(cell->outputs, 1) + aligned(cell->cells, 1) + EDGE_SLACK;
}

static scratch_parts divide(const edge_lstm *cell, uint8_t *scratch) {
  scratch_parts s = {0};
  const uint64_t step = aligned(cell->cells, sizeof(float));
  for (int g = 0; g < LSTM_GATES; g++, scratch += step) s.gates[g] = (float *)(void *)scratch;
  s.hidden = (float *)(void *)scratch;
  scratch += step;
  if (!cell->hybrid) return s;
  s.input = (int8_t *)scratch;
  s.aux = s.input + aligned(cell->inputs, 1);
  s.recurrent = s.aux + aligned(cell->aux_inputs, 1);
  s.projection = s.recurrent + aligned(cell->outputs, 1);
  return s;
}

static void normalize(float *values, int32_t count) {
  float sum = 0.0f;
  float squares = 0.0f;
  for (int32_t i = 0; i < count; i++) sum += values[i];
  const float mean = sum / (float)count;
  for (int32_t i = 0; i < count; i++) {
    const float distance = values[i] - mean;
    const float square = distance * distance;
    squares += square;
  }
  const float variance = squares / (float)count;
  const float inverse = 1.0f / sqrtf(variance + 1e-8f);
  for (int32_t i = 0; i < count; i++) values[i] = (values[i] - mean) * inverse;
}

typedef struct operands {
  edge_column input, aux, recurrent;
  const float *cell;
} operands;

static void run_gate(const edge_lstm *cell, int32_t g, const operands *o, float *out) {
  const edge_lstm_gate *gate = &cell->gates[g];
  for (int32_t r = 0; r < cell->cells; r++) {
    float sum = cell->normalized ? 0.0f : gate->bias[r];
    sum += edge_rows_dot(&gate->input, r, &o->input);
    if (cell->aux_inputs > 0) sum += edge_rows_dot(&gate->aux, r, &o->aux);
    if (gate->diagonal != NULL) {
      const float product = gate->diagonal[r] * o->recurrent.values[r];
      sum += product;
    } else {
      sum += edge_rows_dot(&gate->recurrent, r, &o->recurrent);
    }
    if (gate->peephole != NULL) {
      const float product = gate->peephole[r] * o->cell[r];
      sum += product;
    }
    out[r] = sum;
  }
  if (cell->normalized) {
    normalize(out, cell->cells);
    for (int32_t r = 0; r < cell->cells; r++) {
      const float scaled = out[r] * gate->norm[r];
      out[r] = scaled + gate->bias[r];
    }
  }
  if (g == LSTM_CELL) {
    edge_activate(out, cell->cells, cell->options.activation);
  } else {
    edge_logistic(out, cell->cells);
  }
}

static void clip(float *values, int32_t count, float most) {
  for (int32_t i = 0; most > 0.0f && i < count; i++) {
    values[i] = values[i] > most ? most : values[i] < -most ? -most : values[i];
  }
}

static void update_cell(const edge_lstm *cell, const scratch_parts *s, float *c) {
  const float *forget = s->gates[LSTM_FORGET];
  const float *input = s->gates[LSTM_INPUT];
  const float *update = s->gates[LSTM_CELL];
  for (int32_t i = 0; i < cell->cells; i++) {
    const float kept = forget[i] * c[i];
    const float share = cell->coupled ? 1.0f - forget[i] : input[i];
    const float added = update[i] * share;
    c[i] = kept + added;
  }
  clip(c, cell->cells, cell->options.cell_clip);
}

static void update_hidden(const edge_lstm *cell, const scratch_parts *s, const float *c, float *h) {
  float *hidden = s->hidden;
  memcpy(hidden, c, (size_t)cell->cells * sizeof *c);
  edge_activate(hidden, cell->cells, cell->options.activation);
  for (int32_t i = 0; i < cell->cells; i++) hidden[i] *= s->gates[LSTM_OUTPUT][i];
  if (!cell->projects) {
    memcpy(h, hidden, (size_t)cell->outputs * sizeof *h);
    return;
  }
  const edge_column column =
      edge_column_of(hidden, cell->cells, s->projection, cell->options.asymmetric);
  for (int32_t r = 0; r < cell->outputs; r++) {
    h[r] = edge_rows_dot(&cell->projection, r, &column) +
           (cell->projection_bias ? cell->projection_bias[r] : 0.0f);
  }
  clip(h, cell->outputs, cell->options.projection_clip);
}

void edge_lstm_step(const edge_lstm *cell, const float *x, const float *aux, float *h, float *c,
                    uint8_t *scratch) {
  const scratch_parts s = divide(cell, scratch);
  const bool asymmetric = cell->options.asymmetric;
  operands o = {.input = edge_column_of(x, cell->inputs, s.input, asymmetric),
                .recurrent = edge_column_of(h, cell->outputs, s.recurrent, asymmetric),
                .cell = c};
  if (cell->aux_inputs > 0) o.aux = edge_column_of(aux, cell->aux_inputs, s.aux, asymmetric);
  if (!cell->coupled) run_gate(cell, LSTM_INPUT, &o, s.gates[LSTM_INPUT]);
  run_gate(cell, LSTM_FORGET, &o, s.gates[LSTM_FORGET]);
  run_gate(cell, LSTM_CELL, &o, s.gates[LSTM_CELL]);
  update_cell(cell, &s, c);
  run_gate(cell, LSTM_OUTPUT, &o, s.gates[LSTM_OUTPUT]);
  update_hidden(cell, &s, c, h);
}
