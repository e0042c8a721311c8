/* The arithmetic of a layer with weights, which its types decide, and the numbers for it. CONV_2D,
 * DEPTHWISE_CONV_2D and FULLY_CONNECTED share it.
 *
 *   kind  input             weights     what is multiplied       accumulators
 *   QS8   int8              int8, int4  int8, by the table       int32
 *   S16   int8 uint8 int16  as given    int16, zero points gone  int32, or int64 where `wide`
 *   QD8   float32           int8, int4  int16, quantized by run  int32, then float32
 *   F32   float32           float32     float32                  float32
 *
 * QS8 is for constant operands with weights around 0; S16 for all other whole numbers.
 */
#ifndef EDGE_ARITHMETIC_H
#define EDGE_ARITHMETIC_H

#include "lhs.h"
#include "ranges.h"

typedef enum edge_arithmetic_kind {
  EDGE_ARITHMETIC_QS8,
  EDGE_ARITHMETIC_S16,
  EDGE_ARITHMETIC_QD8,
  EDGE_ARITHMETIC_F32
} edge_arithmetic_kind;

/* Which operator asks, and where its options and weights have what. */
typedef struct edge_layer {
  int32_t axis;            /* of the weights, along which outputs run */
  uint32_t activation;     /* fields of the options */
  int32_t bias_type;       /* likewise, -1: none */
  bool dense, depthwise;   /* neither: a convolution */
  bool grouped;            /* a convolution in groups */
  bool foreign_multiplier; /* a depth multiplier in the options that contradicts the shapes */
} edge_layer;

typedef struct edge_arithmetic {
  edge_arithmetic_kind kind;
  edge_type type;         /* of input and output */
  edge_type weights_type; /* int4 is two to a byte, the first in the low half */
  edge_type bias_type;
  bool biased;
  bool computed; /* weights or bias come from other operators, and are packed in each run */
  bool xnn;      /* XNNPACK's arithmetic */
  bool wide;     /* S16 */
  uint32_t outputs;
  edge_quant input, output;
  int32_t weights_zero_point;
  edge_dynamic_rule dynamic; /* QD8 */
  edge_float_range floats;   /* QD8, F32 */
  edge_qs8_output integers;  /* QS8, S16: its arrays are [outputs], padded */
  const double *reals;       /* wide dense layers: multipliers, instead of those */
  const float *scales;       /* QD8: of the weights, [outputs], padded */
} edge_arithmetic;

/* Checks types, quantization, bias and activation of a node whose weights have been checked for
 * rank, and reads them. Computed operands are kept for the runs. */
edge_status edge_arithmetic_read(edge_compiler *compiler, edge_node *node, const edge_layer *layer,
                                 edge_arithmetic *arithmetic);

/* How inputs become what is multiplied. */
edge_lhs edge_arithmetic_lhs(const edge_kernels *kernels, const edge_arithmetic *arithmetic);

/* A piece of the weights as int16, zero points subtracted. `weights` need not be aligned. */
void edge_arithmetic_weights(const edge_arithmetic *arithmetic, const uint8_t *weights,
                             uint64_t first, size_t count, int16_t *out);
/* A bias entry, 0 where there is no bias. Integers. */
int64_t edge_arithmetic_bias(const edge_arithmetic *arithmetic, const uint8_t *bias, uint32_t i);

/* S16: `count` of them as edge_arithmetic_finish() wants them. */
void edge_arithmetic_put_bias(const edge_arithmetic *arithmetic, const uint8_t *bias,
                              uint32_t first, uint32_t count, void *out);

/* Sums of rows as the kernels leave them: sums[r * stride + c] for outputs `first` + c. */
typedef struct edge_sums {
  size_t rows, columns;
  uint32_t first;
  const int32_t *narrow;
  const int64_t *wide; /* instead of narrow, where the arithmetic is wide */
  ptrdiff_t stride;
  const void *bias;        /* [columns]: int32, int64 where wide (S16), float (QD8) */
  const float *row_scales; /* QD8, [rows] or, with row_step 0, one */
  ptrdiff_t row_step;
  void *out; /* elements of the output's type */
  ptrdiff_t out_row;
} edge_sums;

/* S16 and QD8: sums -> outputs. */
void edge_arithmetic_finish(const edge_arithmetic *arithmetic, const edge_sums *sums);

/* What people read about the node. */
const char *edge_arithmetic_name(const edge_arithmetic *arithmetic, bool depthwise);

#endif
