/* A cell of long short-term memory, for the operators that walk sequences with it.
 *
 *   gate  = activation(W_x x + W_a a + W_h h + w_c c + b)     input, forget, cell, output
 *   c     = forget * c + input * cell                          input is 1 - forget where coupled
 *   h     = output * activation(c), or its projection
 *
 * With layer normalization the sum, without b, is normalized and scaled before b is added. Three
 * arithmetics: float32, hybrid (float32 by int8 weights), and int8 with 16-bit gates.
 * Source: tflite/kernels/lstm_eval.cc, lstm.cc, unidirectional_sequence_lstm.cc.
 */
#ifndef EDGE_LSTM_H
#define EDGE_LSTM_H

#include "recurrent.h"

enum { LSTM_INPUT, LSTM_FORGET, LSTM_CELL, LSTM_OUTPUT, LSTM_GATES };

/* Inputs of a node by what they are: the first of the gates', in the order above. -1: no such. */
typedef struct edge_lstm_slots {
  int32_t weights, recurrent, peephole, bias; /* peepholes: input, forget, output */
  int32_t projection, projection_bias;
  int32_t hidden, cell; /* states */
  int32_t norm;
  int32_t aux; /* weights of the auxiliary input */
} edge_lstm_slots;

typedef struct edge_lstm_options {
  float cell_clip, projection_clip; /* 0: none */
  int8_t activation;
  bool asymmetric;
} edge_lstm_options;

typedef struct edge_lstm_gate {
  edge_rows input, aux, recurrent;
  const float *diagonal; /* instead of `recurrent` */
  const float *peephole, *norm, *bias;
} edge_lstm_gate;

typedef struct edge_lstm_int8_gate {
  const int8_t *input, *recurrent;
  const int32_t *input_bias, *recurrent_bias; /* with the zero points' share */
  edge_fixed input_scale, recurrent_scale, peephole_scale, norm_scale;
  const int16_t *peephole, *norm;
  const int32_t *norm_bias;
  int32_t variance_guard;
} edge_lstm_int8_gate;

typedef struct edge_lstm_int8 {
  edge_lstm_int8_gate gates[LSTM_GATES];
  int32_t cell_exponent;          /* the cell state's scale is 2 to it */
  int16_t cell_clip;              /* 0: none */
  int8_t projection_clip;         /* 0: none */
  edge_fixed hidden_scale;        /* of output * tanh(c) */
  int32_t hidden_zero_point;      /* of the same */
  const int8_t *projection;       /* [outputs][cells] or NULL */
  const int32_t *projection_bias; /* with the zero point's share */
  edge_fixed projection_scale;
  int32_t output_zero_point;
} edge_lstm_int8;

typedef struct edge_lstm {
  int32_t inputs, aux_inputs, cells, outputs;
  bool coupled, normalized, peepholes, projects, hybrid;
  edge_lstm_options options;
  edge_lstm_gate gates[LSTM_GATES];
  edge_rows projection;
  const float *projection_bias;
  edge_lstm_int8 *integer; /* NULL: float32 or hybrid */
} edge_lstm;

/* The tensors that a gate has, some of them NULL. */
typedef struct edge_lstm_tensors {
  edge_tensor *input, *aux, *recurrent, *peephole, *norm, *bias;
} edge_lstm_tensors;

/* Reads sizes and checks all operands of the cell. */
edge_status edge_lstm_compile(edge_compiler *compiler, const edge_node *node,
                              const edge_lstm_slots *slots, const edge_lstm_options *options,
                              int32_t aux_inputs, edge_lstm *cell);
edge_lstm_tensors edge_lstm_gate_tensors(const edge_compiler *compiler, const edge_node *node,
                                         const edge_lstm_slots *slots, const edge_lstm *cell,
                                         int32_t gate);
edge_status edge_lstm_compile_int8(edge_compiler *compiler, const edge_node *node,
                                   const edge_lstm_slots *slots, edge_lstm *cell);
/* The states are those of the node at these shapes. */
edge_status edge_lstm_check_states(edge_planner *planner, const edge_step *step,
                                   const edge_lstm_slots *slots, const edge_lstm *cell,
                                   int64_t batch);
/* Bytes that a step needs beside the states. */
uint64_t edge_lstm_scratch(const edge_lstm *cell);
/* Which one of the sequences that LiteRT steps together. */
typedef struct edge_lstm_row {
  int64_t index, count;
} edge_lstm_row;

/* One step of one sequence: `x` [inputs], `aux` [aux_inputs] or NULL; `h` [outputs] and `c` [cells]
 * are read and written. */
void edge_lstm_step(const edge_lstm *cell, const float *x, const float *aux, float *h, float *c,
                    uint8_t *scratch);
void edge_lstm_step_int8(const edge_lstm *cell, const edge_lstm_row *row, const int8_t *x,
                         int8_t *h, int16_t *c, uint8_t *scratch);

#endif
