/* Matrix products as convolutions and dense layers need them: weights packed once into panels, then
 * panels run over rows that lie in a worker's scratch. */
#ifndef EDGE_MATRIX_H
#define EDGE_MATRIX_H

#include "internal.h"
#include "rules.h"

/* Weights of one group: `outputs` columns, each a sum over `runs` stretches of `depth` elements. */
typedef struct edge_matrix {
  uint32_t outputs;
  uint32_t runs;
  uint32_t depth;        /* elements of a run */
  uint32_t depth_packed; /* rounded up to kr */
  uint32_t panels;
  uint64_t panel_size;    /* bytes of weights */
  const int8_t *weights;  /* [panels][panel_size] */
  const int32_t *bias;    /* [panels * nr] */
  edge_qs8_output output; /* arrays are [panels * nr] */
} edge_matrix;

/* What the weights are in the file. */
typedef struct edge_matrix_source {
  const int8_t *weights;     /* [outputs][runs][depth] */
  const uint8_t *bias;       /* int32 [outputs], perhaps not aligned, or NULL */
  const edge_tensor *scales; /* tensor whose scales `first_output` ... belong to the outputs */
  uint32_t first_output;
  uint32_t outputs, runs, depth;
  edge_quant input, output;
  edge_range range;
  bool xnn;
  bool away;          /* fixed-point rule: of the last rounding */
  bool float_product; /* likewise: one input * weight scale is rounded to float32 (dense layers) */
} edge_matrix_source;

edge_status edge_matrix_pack(edge_compiler *compiler, const edge_node *node,
                             const edge_matrix_source *source, edge_matrix *matrix);

/* bias - zero point * sum of weights, for a kernel that multiplies the input's bytes as they are.
 */
int32_t edge_fold_zero_point(const uint8_t *bias, uint32_t output, int32_t sum_of_weights,
                             int32_t zero_point);

/* The two forms of a requantization for outputs first ... first + count - 1 of `scales`, in memory
 * of the model padded to `padded` entries. `away_from`: the first output whose fixed-point rounding
 * is away from zero. */
edge_status edge_output_pack(edge_compiler *compiler, const edge_node *node,
                             const edge_matrix_source *source, uint32_t padded, uint32_t away_from,
                             edge_qs8_output *output);

/* Rows of a product: out[r][c] for panels first_panel ... last_panel - 1. */
typedef struct edge_matrix_rows {
  size_t rows;
  const void *lhs;
  ptrdiff_t lhs_row;         /* elements */
  const ptrdiff_t *lhs_runs; /* elements */
  int8_t *out;               /* of output 0 */
  ptrdiff_t out_row;
} edge_matrix_rows;

void edge_matrix_run(const edge_kernels *kernels, const edge_matrix *matrix, uint32_t panel,
                     const edge_matrix_rows *rows);

#endif
