/* Matrix products as convolutions and dense layers need them: weights packed into panels, then
 * panels run over rows that lie in a worker's scratch. */
#ifndef EDGE_MATRIX_H
#define EDGE_MATRIX_H

#include "arithmetic.h"

/* Weights of one group: `outputs` columns, each a sum over `runs` stretches of `depth` elements. */
typedef struct edge_matrix {
  uint32_t first_output; /* of the layer's */
  uint32_t outputs;
  uint32_t runs;
  uint32_t depth;        /* elements of a run */
  uint32_t depth_packed; /* rounded up to kr */
  uint32_t nr, kr;       /* columns of a panel; elements of a column that lie together */
  uint32_t panels;
  uint64_t panel_size; /* bytes of weights */
  uint8_t *weights;    /* [panels][runs][depth_packed / kr][nr][kr], of the arithmetic's type */
  void *bias;          /* [panels * nr]: int32 or, where wide, int64 (QS8, S16); float (QD8, F32) */
} edge_matrix;

/* Sets all but the memory. */
void edge_matrix_plan(const edge_kernels *kernels, const edge_arithmetic *arithmetic,
                      edge_matrix *matrix);
/* Bytes that the matrix needs. */
uint64_t edge_matrix_bytes(const edge_arithmetic *arithmetic, const edge_matrix *matrix);
/* Packs into `memory`, zeroed, weights [outputs][runs][depth] and a bias, or NULL, of the whole
 * layer: as the file or another operator has them, perhaps not aligned. */
void edge_matrix_pack(const edge_arithmetic *arithmetic, edge_matrix *matrix, void *memory,
                      const uint8_t *weights, const uint8_t *bias);

/* Rows of a product: out[r][c] for a panel's columns. */
typedef struct edge_matrix_rows {
  size_t rows;
  const void *lhs;
  ptrdiff_t lhs_row;         /* elements */
  const ptrdiff_t *lhs_runs; /* elements */
  const float *row_scales;   /* QD8 */
  ptrdiff_t row_step;
  void *out; /* output 0 of the layer */
  ptrdiff_t out_row;
} edge_matrix_rows;

void edge_matrix_run(const edge_kernels *kernels, const edge_arithmetic *arithmetic,
                     const edge_matrix *matrix, uint32_t panel, const edge_matrix_rows *rows);

#endif
