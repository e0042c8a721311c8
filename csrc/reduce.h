/* Sums over some of a tensor's dimensions. */
#ifndef EDGE_REDUCE_H
#define EDGE_REDUCE_H

#include <math.h>

#include "internal.h"

/* Neighbouring dimensions of one kind are collapsed; kinds alternate. */
typedef struct edge_reduce {
  int32_t rank;
  int64_t size[EDGE_MAX_RANK];
  bool reduced[EDGE_MAX_RANK];
} edge_reduce;

/* Reads constant int32 axes, negative ones counting from the end, into bits. */
edge_status edge_read_axes(edge_compiler *compiler, const edge_node *node, const edge_tensor *axes,
                           int32_t rank, uint32_t *bits);

/* Sets the output's shape. *count: elements of one sum, at least 1. */
edge_status edge_reduce_plan(edge_planner *planner, const edge_step *step, int32_t rank,
                             uint32_t axes, bool keep, edge_reduce *reduce, int64_t *count);

uint64_t edge_reduce_sums(const edge_reduce *reduce);

/* sum[o] += every in[] of it, modulo 2^32. */
void edge_reduce_sum(const edge_reduce *reduce, const edge_kernels *kernels, const int8_t *in,
                     int32_t *sum);

#endif
