/* What operators with a state share: state tensors, and products of constant rows with a vector
 * that is float32, or, where the rows are int8, quantized as it comes ("hybrid").
 *
 * Source: tflite/kernels/internal/optimized/sse_tensor_utils.cc, neon_tensor_utils.cc.
 */
#ifndef EDGE_RECURRENT_H
#define EDGE_RECURRENT_H

#include "internal.h"

/* Constant weights [count][depth]. Either `values` or `bytes` is there. */
typedef struct edge_rows {
  int32_t count, depth;
  const float *values;
  const int8_t *bytes;
  float scale;         /* of the bytes */
  const int32_t *sums; /* [count], sum of a row's bytes, where vectors have an offset */
} edge_rows;

/* A vector as edge_rows_dot() wants it. */
typedef struct edge_column {
  const float *values; /* [depth] */
  const int8_t *bytes; /* [depth], the values quantized; NULL: not wanted */
  float scale;
  int32_t offset;
  bool zero; /* all values are 0 */
} edge_column;

/* ---- for compile() ----------------------------------------------------------------------- */

/* Input i is a variable tensor of that type, which the node has once among its inputs. */
edge_status edge_expect_state(edge_compiler *compiler, const edge_node *node, int32_t i,
                              const char *what, edge_type type);
/* A constant of that type and shape; `columns` is 0 for a rank of 1. Keeps it for run(). */
edge_status edge_expect_parameter(edge_compiler *compiler, const edge_node *node,
                                  edge_tensor *tensor, const char *what, edge_type type,
                                  int32_t rows, int32_t columns);
/* Whether the type is that of weights of hybrid operators. */
bool edge_is_byte(edge_type type);
/* float32 or hybrid weights. `asymmetric`: vectors will have an offset. */
edge_status edge_rows_compile(edge_compiler *compiler, const edge_node *node, edge_tensor *tensor,
                              const char *what, int32_t count, int32_t depth, bool asymmetric,
                              edge_rows *rows);
/* The activation of a cell in float32. */
edge_status edge_read_cell_activation(edge_compiler *compiler, const edge_node *node,
                                      uint32_t field, bool none, int8_t *activation);

/* ---- for shape() ------------------------------------------------------------------------- */

edge_status edge_expect_state_size(edge_planner *planner, const edge_step *step, int32_t i,
                                   const char *what, int64_t elements);

/* ---- for run() --------------------------------------------------------------------------- */

/* `bytes` is room for `depth` bytes where the rows are bytes, else NULL. */
edge_column edge_column_of(const float *values, int32_t depth, int8_t *bytes, bool asymmetric);
/* Row r times the vector. */
float edge_rows_dot(const edge_rows *rows, int32_t r, const edge_column *column);
float edge_dot_f32(const float *a, const float *b, int32_t count);
/* Modulo 2^32. */
int32_t edge_dot_s8(const int8_t *a, const int8_t *b, int32_t count);
/* In place. */
void edge_activate(float *values, int32_t count, int8_t activation);
void edge_logistic(float *values, int32_t count);

#endif
