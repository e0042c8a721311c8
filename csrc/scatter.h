/* Sums of a transposed convolution: input cells times weights, scattered over output cells, and
 * what becomes of them. */
#ifndef EDGE_SCATTER_H
#define EDGE_SCATTER_H

#include "lhs.h"
#include "ranges.h"

struct edge_scatter;

/* Adds one input cell's products to one output cell: sums[o] += in[i] * weights[i][o]. */
typedef void edge_scatter_add_fn(const struct edge_scatter *scatter, const void *in,
                                 const void *weights, void *sums);

/* `count` sums, whole cells: outputs first ... of the `total` that the tensor has. */
typedef struct edge_scatter_sums {
  const void *sums;
  int64_t first, total, count;
  float scale; /* of the image, where it has been quantized by the run */
} edge_scatter_sums;

typedef void edge_scatter_finish_fn(const struct edge_scatter *scatter,
                                    const edge_scatter_sums *sums, void *out);

typedef struct edge_scatter {
  edge_type type; /* of input and output */
  bool xnn;
  int32_t outputs, channels;
  edge_lhs lhs;        /* how inputs become what `add` reads: int16 without zero point, or float */
  const void *weights; /* [KH][KW][I][O], as inputs are */
  const void *bias;    /* [O], int32, int64 or float */
  uint64_t sum_size;   /* bytes of a sum: int32, int64 or float */
  edge_qs8_output output; /* its arrays are [O] */
  const float *scales;    /* float32 with int8 weights: theirs, [O] */
  edge_float_range range;
  edge_scatter_add_fn *add;
  edge_scatter_finish_fn *finish;
} edge_scatter;

/* Sets what adds and finishes, and the size of sums. `wide`: int16 with sums of 64 bits; `dynamic`:
 * float32 with int8 weights. False: there is no arithmetic for the type. */
bool edge_scatter_choose(edge_scatter *scatter, bool wide, bool dynamic);

#endif
