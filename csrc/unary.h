/* Operators of one input that treat each element by itself: what their files share. */
#ifndef EDGE_UNARY_H
#define EDGE_UNARY_H

#include "internal.h"
#include "rules.h"

struct edge_unary;
/* `count` elements in a row. Whoever treats groups of elements apart may rely on this: every row
 * but the last one is a multiple of 16 long. */
typedef void edge_unary_span(const struct edge_unary *unary, const void *in, void *out,
                             size_t count);

/* The parameters of such a node begin with this. */
typedef struct edge_unary {
  edge_unary_span *span;
  const edge_kernels *kernels;
  uint32_t size_in, size_out; /* bytes of an element */
  int32_t least;              /* of the inputs that have a result; SQRT and RSQRT ask for it */
} edge_unary;

/* A set of types: bits by edge_type. */
#define EDGE_TYPE_BIT(type) (UINT32_C(1) << (type))
/* Elements that operators order. */
#define EDGE_ORDERED_TYPES                                                              \
  (EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT8) | EDGE_TYPE_BIT(EDGE_UINT8) | \
   EDGE_TYPE_BIT(EDGE_INT16) | EDGE_TYPE_BIT(EDGE_INT32) | EDGE_TYPE_BIT(EDGE_INT64))

/* Refuses a tensor whose type is not in the set, naming those that are. */
edge_status edge_expect_one_of(edge_compiler *compiler, const edge_node *node,
                               const edge_tensor *tensor, const char *what, uint32_t types);
/* Input and output of one type, which is in the set. */
edge_status edge_unary_types(edge_compiler *compiler, const edge_node *node, uint32_t types);
/* Quantizations of input and output; int16 ones have zero points of 0. */
edge_status edge_unary_quants(edge_compiler *compiler, const edge_node *node, edge_quant *input,
                              edge_quant *output);
/* Zeroed parameters of `size` bytes, which begin with an edge_unary that is filled in. */
void *edge_unary_params(edge_compiler *compiler, edge_node *node, size_t size,
                        edge_unary_span *span);
/* XNNPACK takes 8-bit input and output. */
bool edge_xnn_both(const edge_compiler *compiler, const edge_node *node);

/* A node whose span needs no parameters. */
edge_status edge_unary_plain(edge_compiler *compiler, edge_node *node, edge_unary_span *span,
                             const char *kernel);
/* The same of a float32 node that XNNPACK takes. */
edge_status edge_unary_float(edge_compiler *compiler, edge_node *node, edge_unary_span *span);

/* A span that computes float32 `expression` of float32 `x`. */
#define EDGE_FLOAT_SPAN(name, expression)                                              \
  static void name(const edge_unary *unary, const void *in, void *out, size_t count) { \
    const float *from = in;                                                            \
    float *to = out;                                                                   \
    (void)unary;                                                                       \
    for (size_t i = 0; i < count; i++) {                                               \
      const float x = from[i];                                                         \
      to[i] = (expression);                                                            \
    }                                                                                  \
  }

/* shape() and run() of all of them: the output has the input's shape. */
edge_status edge_unary_shape(edge_planner *planner, edge_step *step);
void edge_unary_run(const edge_frame *frame, const edge_step *step);

#define EDGE_UNARY(symbol, code_, name_, version_, options_, compile_)      \
  const edge_operator edge_operator_##symbol = {.code = (code_),            \
                                                .name = (name_),            \
                                                .version_max = (version_),  \
                                                .options_type = (options_), \
                                                .inputs_min = 1,            \
                                                .inputs_max = 1,            \
                                                .compile = (compile_),      \
                                                .shape = edge_unary_shape,  \
                                                .run = edge_unary_run}

#endif
