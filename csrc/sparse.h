/* Sparse constants: a tensor's data is its elements that are not 0, and trees of indices. */
#ifndef EDGE_SPARSE_H
#define EDGE_SPARSE_H

#include "internal.h"

/* Gives a sparse constant the dense data that it stands for, in the compiler's temporary memory:
 * float32, float16 and int8 are zeros with the file's elements at their places. Refuses trees that
 * do not fit the shape, or each other, or the data. */
edge_status edge_sparse_expand(edge_compiler *compiler, edge_tensor *tensor);

#endif
