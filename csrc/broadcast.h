/* Two or three operands against one output, by numpy's rules: dimensions collapsed as far as they
 * go. */
#ifndef EDGE_BROADCAST_H
#define EDGE_BROADCAST_H

#include "internal.h"

enum { EDGE_OPERANDS_MAX = 3 };

/* Who moves along a collapsed dimension of two operands; the other one is repeated. */
enum { EDGE_ONLY_A = 1, EDGE_ONLY_B = 2, EDGE_BOTH = 3 };

typedef struct edge_broadcast {
  int32_t operands;
  int32_t rank; /* at least 1; the last dimension is the inner run */
  int64_t size[EDGE_MAX_RANK];
  uint32_t moves[EDGE_MAX_RANK]; /* bit i: operand i moves */
} edge_broadcast;

/* Sets the output's shape from those of the first `operands` inputs, or says why the shapes do not
 * go together. */
edge_status edge_broadcast_plan(edge_planner *planner, const edge_step *step, int32_t operands,
                                edge_broadcast *broadcast);
/* The same of two inputs; the edge_broadcast becomes the step's state. */
edge_status edge_broadcast_shape(edge_planner *planner, edge_step *step);

/* One inner run: `count` outputs. A stride is 1, or 0 for an operand that is repeated. */
typedef struct edge_run {
  int64_t out, count;
  int64_t at[EDGE_OPERANDS_MAX];
  ptrdiff_t stride[EDGE_OPERANDS_MAX];
} edge_run;

typedef void edge_broadcast_run_fn(void *context, const edge_run *run);

/* Calls `run` for every inner run, with element offsets. */
void edge_broadcast_walk(const edge_broadcast *broadcast, edge_broadcast_run_fn *run,
                         void *context);

/* Whether two operands have one shape. */
static inline bool edge_broadcast_whole(const edge_broadcast *broadcast) {
  return broadcast->rank == 1 && broadcast->moves[0] == EDGE_BOTH;
}

/* Whether LiteRT's optimised kernels walk this by runs (at most five alternating folds), or
 * element by element. Source: BinaryBroadcastFiveFold, process_broadcast_shapes.h. */
bool edge_broadcast_five_fold(const edge_broadcast *broadcast);

#endif
