/* Reductions over some of a tensor's dimensions, whatever is done with the elements. */
#ifndef EDGE_REDUCE_H
#define EDGE_REDUCE_H

#include <math.h>

#include "internal.h"

/* Dimensions of size 1 are left out and neighbours of one kind collapsed, so that kinds alternate.
 */
typedef struct edge_reduce {
  int32_t rank;
  int64_t size[EDGE_MAX_RANK];
  bool reduced[EDGE_MAX_RANK];
  uint32_t axes;   /* bit d: dimension d of the input is reduced */
  int64_t count;   /* elements that one result is made of; 0: there is nothing to reduce */
  int64_t results; /* elements of the output */
} edge_reduce;

/* Checks the axes, input 1: int32, at most 64 where they are a constant. */
edge_status edge_expect_axes(edge_compiler *compiler, const edge_node *node);

/* Reads `keep_dims` of a reduction's options. */
edge_status edge_read_keep(edge_compiler *compiler, const edge_node *node, bool *keep);

/* Reads the axes, negative ones counting from the end and repeated ones once, and sets the output's
 * shape. A scalar has no dimensions to reduce: its axes mean nothing. May be EDGE_DEFERRED. */
edge_status edge_reduce_plan(edge_planner *planner, const edge_step *step, bool keep,
                             edge_reduce *reduce);

/* Neighbouring elements `in` ... `in + count - 1` of the input. Either all belong to result `out`
 * (`joined`), or to results `out` ... `out + count - 1`. `first`: these results have no element
 * yet. */
typedef struct edge_reduce_run {
  int64_t out, in, count;
  bool joined, first;
} edge_reduce_run;

typedef void edge_reduce_run_fn(void *context, const edge_reduce_run *run);

/* Calls `run` for all of the input, which must not be empty, in the order of memory. */
void edge_reduce_walk(const edge_reduce *reduce, edge_reduce_run_fn *run, void *context);

#endif
