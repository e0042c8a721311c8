/* Two operands against one output, by numpy's rules: dimensions collapsed as far as they go. */
#ifndef EDGE_BROADCAST_H
#define EDGE_BROADCAST_H

#include "internal.h"

/* Two int8 operands and their output, as the file describes them. */
typedef struct edge_operands {
  edge_quant a, b, output;
  int8_t activation;
  bool xnn; /* all three are tensors that XNNPACK takes */
} edge_operands;

/* Checks types and quantizations, and keeps operands that are constants. */
edge_status edge_operands_read(edge_compiler *compiler, const edge_node *node,
                               edge_operands *operands);

/* How the collapsed dimensions of the operands relate. */
typedef enum edge_broadcast_kind {
  EDGE_BOTH,   /* both advance */
  EDGE_ONLY_A, /* b is repeated */
  EDGE_ONLY_B, /* a is repeated */
} edge_broadcast_kind;

typedef struct edge_broadcast {
  int32_t rank; /* at least 1; the last dimension is the inner run */
  int64_t size[EDGE_MAX_RANK];
  edge_broadcast_kind kind[EDGE_MAX_RANK];
} edge_broadcast;

/* Sets the output's shape and makes an edge_broadcast the step's state, or says why the shapes do
 * not go together. */
edge_status edge_broadcast_shape(edge_planner *planner, edge_step *step);

/* One inner run: `count` outputs; a stride is 1, or 0 for an operand that is repeated. */
typedef void edge_broadcast_run_fn(void *context, int64_t out, int64_t a, ptrdiff_t stride_a,
                                   int64_t b, ptrdiff_t stride_b, int64_t count);

/* Calls `run` for every inner run, with element offsets. */
void edge_broadcast_walk(const edge_broadcast *broadcast, edge_broadcast_run_fn *run,
                         void *context);

/* Whether LiteRT's optimised kernels walk this by runs (at most five alternating folds), or
 * element by element. Source: BinaryBroadcastFiveFold, process_broadcast_shapes.h. */
bool edge_broadcast_five_fold(const edge_broadcast *broadcast);

#endif
