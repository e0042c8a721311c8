/* What operators of two operands share, whose shapes broadcast: types, quantization, the run. */
#ifndef EDGE_BINARY_H
#define EDGE_BINARY_H

#include "broadcast.h"
#include "ranges.h"

/* The parameters of such a node begin with this. */
typedef struct edge_binary {
  edge_broadcast_run_fn *run;
  edge_type type; /* of the operands */
} edge_binary;

/* What the run functions get as their context. */
typedef struct edge_binary_job {
  const void *params; /* the node's */
  const edge_kernels *kernels;
  const void *a, *b;
  void *out;
  bool by_runs; /* LiteRT's vector loops apply (edge_broadcast_five_fold) */
  const edge_broadcast *broadcast;
} edge_binary_job;

/* A type of operands, and the run function for it. */
typedef struct edge_binary_type {
  edge_type type;
  edge_broadcast_run_fn *run;
} edge_binary_type;

/* Checks that both operands have one type of the list, which ends with a NULL function, and that
 * the output has it too. Sets the run function; NULL: another type. */
edge_status edge_binary_find(edge_compiler *compiler, const edge_node *node,
                             const edge_binary_type *types, edge_binary *binary);
/* The same, refusing other types; `known` names those of the list. */
edge_status edge_binary_types(edge_compiler *compiler, const edge_node *node,
                              const edge_binary_type *types, const char *known,
                              edge_binary *binary);
/* The same, for a node whose parameters are an edge_binary. */
edge_status edge_binary_plain(edge_compiler *compiler, edge_node *node,
                              const edge_binary_type *types, const char *known);
/* Refuses operands of different types; keeps those that are constants. */
edge_status edge_binary_operands(edge_compiler *compiler, const edge_node *node);
/* Why operands of this type are refused. */
edge_status edge_binary_refuse(edge_compiler *compiler, const edge_node *node, const char *known);

/* The run() of all of them. */
void edge_binary_run(const edge_frame *frame, const edge_step *step);

/* Quantized operands and their output, as the file describes them. */
typedef struct edge_operands {
  edge_quant a, b, output;
  bool xnn; /* all three are tensors that XNNPACK takes */
} edge_operands;

/* Checks quantizations: int8, uint8, or int16 with zero points of 0. */
edge_status edge_operands_read(edge_compiler *compiler, const edge_node *node,
                               edge_operands *operands);

/* What a fused activation leaves of types that are not quantized. */
typedef struct edge_bounds {
  edge_float_range real;
  int64_t low, high;
} edge_bounds;

/* Reads the node's fused activation. */
edge_status edge_bounds_read(edge_compiler *compiler, const edge_node *node, edge_type type,
                             edge_bounds *bounds);
/* Tells of a node that XNNPACK takes if it is of floats, and makes part of chains (fold.h).
 * `bounds`: what its activation leaves, or NULL. */
void edge_binary_chain(edge_compiler *compiler, edge_node *node, const edge_bounds *bounds);

/* A run function: out[i] of type U from x = a[i] of type T and y = b[i] of type S. The expression
 * may use i, and what the prologue declares; `job` and `count` are known there. */
#define EDGE_BINARY_LOOP_OF(name, T, S, U, prologue, expression) \
  static void name(void *context, const edge_run *run) {         \
    const edge_binary_job *job = context;                        \
    const T *a = (const T *)job->a + run->at[0];                 \
    const S *b = (const S *)job->b + run->at[1];                 \
    U *restrict out = (U *)job->out + run->out;                  \
    const int64_t count = run->count;                            \
    prologue;                                                    \
    if (run->stride[0] != 0 && run->stride[1] != 0) {            \
      for (int64_t i = 0; i < count; i++) {                      \
        const T x = a[i];                                        \
        const S y = b[i];                                        \
        out[i] = (U)(expression);                                \
      }                                                          \
    } else if (run->stride[0] != 0) {                            \
      const S y = *b;                                            \
      for (int64_t i = 0; i < count; i++) {                      \
        const T x = a[i];                                        \
        out[i] = (U)(expression);                                \
      }                                                          \
    } else {                                                     \
      const T x = *a;                                            \
      for (int64_t i = 0; i < count; i++) {                      \
        const S y = b[i];                                        \
        out[i] = (U)(expression);                                \
      }                                                          \
    }                                                            \
  }
#define EDGE_BINARY_LOOP(name, T, U, prologue, expression) \
  EDGE_BINARY_LOOP_OF(name, T, T, U, prologue, expression)

/* Fields that all of them have. */
#define EDGE_BINARY_OPERATOR(code_, name_, version_, options_, compile_) \
  {.code = (code_),                                                      \
   .name = (name_),                                                      \
   .version_max = (version_),                                            \
   .options_type = (options_),                                           \
   .inputs_min = 2,                                                      \
   .inputs_max = 2,                                                      \
   .compile = (compile_),                                                \
   .shape = edge_broadcast_shape,                                        \
   .run = edge_binary_run}

#endif
