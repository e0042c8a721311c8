/* Operators of one input over the rows of its last dimension, each by itself. */
#ifndef EDGE_ROWS_H
#define EDGE_ROWS_H

#include "internal.h"

struct edge_rows;
typedef void edge_rows_fn(const struct edge_rows *rows, const void *in, void *out, int32_t depth);

/* The parameters of such a node begin with this. */
typedef struct edge_rows {
  edge_rows_fn *row;
  uint32_t size_in, size_out; /* bytes of an element */
} edge_rows;

/* Zeroed parameters of `size` bytes, which begin with an edge_rows that is filled in. */
void *edge_rows_params(edge_compiler *compiler, edge_node *node, size_t size, edge_rows_fn *row);

/* shape() and run() of all of them: the output has the input's shape, and rows have elements. */
edge_status edge_rows_shape(edge_planner *planner, edge_step *step);
void edge_rows_run(const edge_frame *frame, const edge_step *step);

#endif
