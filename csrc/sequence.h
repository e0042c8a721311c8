/* How recurrent operators walk their inputs: rows [batch][depth], or sequences [time][batch][depth]
 * or [batch][time][depth], by one cell forward or by a second one backward as well.
 *
 * Source: tflite/kernels/lstm_eval.cc, unidirectional_sequence_rnn.cc,
 * bidirectional_sequence_lstm.cc.
 */
#ifndef EDGE_SEQUENCE_H
#define EDGE_SEQUENCE_H

#include "internal.h"

/* What the file says, for one cell or two. */
typedef struct edge_sequence_form {
  int32_t count;     /* cells */
  bool sequence;     /* there is a dimension of time */
  bool time_major;   /* it is the first one */
  bool merged;       /* the cells' outputs lie side by side in output 0 */
  int32_t inputs[2]; /* the node's input that a cell reads */
  int32_t depths[2]; /* of its rows */
  int32_t widths[2]; /* of its output's rows */
  int32_t aux;       /* the input that both cells read as well, -1: none */
  int32_t aux_depth;
} edge_sequence_form;

/* The same at certain shapes. */
typedef struct edge_sequence {
  int64_t batch, time;
  int64_t batch_stride, time_stride; /* rows */
} edge_sequence;

/* Reads where the auxiliary input goes: to both cells, if the node has weights for it; else it is
 * what the second cell reads. The form's options must be there. */
edge_status edge_sequence_read_aux(edge_compiler *compiler, const edge_node *node, int32_t aux,
                                   int32_t weights, edge_sequence_form *form);
/* As many outputs as the form has, all float32. */
edge_status edge_sequence_expect_outputs(edge_compiler *compiler, const edge_node *node,
                                         const edge_sequence_form *form);
/* Checks the inputs and sets the outputs' shapes. */
edge_status edge_sequence_shape(edge_planner *planner, const edge_step *step,
                                const edge_sequence_form *form, edge_sequence *sequence);

/* The row of the inputs and outputs that is step i of sequence b; backward from the end. */
static inline int64_t edge_sequence_row(const edge_sequence *s, int64_t b, int64_t i,
                                        bool backward) {
  return b * s->batch_stride + (backward ? s->time - 1 - i : i) * s->time_stride;
}

#endif
