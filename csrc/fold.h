/* Which nodes XNNPACK computes by one table for several of them.
 *
 * XNNPACK replaces a chain of elementwise nodes between 8-bit tensors by a table of 256 entries,
 * which it fills by running the nodes themselves. Bits change in one case only: a tensor times
 * itself is a product inside of a chain, and a square elsewhere (mul.c). So each node that may be
 * part of a chain says so here, in the order of execution.
 *
 * A chain starts at an 8-bit tensor, has 2 to 10 nodes, a fused activation counting as one more,
 * and nobody else sees what is between them.
 *
 * Source: XNNPACK src/subgraph.c, xnn_subgraph_fuse_unary_quantized_into_lut.
 */
#ifndef EDGE_FOLD_H
#define EDGE_FOLD_H

#include "internal.h"

/* A node that XNNPACK takes and that reads one tensor. */
void edge_fold_unary(edge_compiler *compiler, edge_node *node);
/* A node of two operands. True: it continues a chain. */
bool edge_fold_binary(edge_compiler *compiler, edge_node *node, bool activation);

/* What the graph's shape says of each tensor, for the time of compiling. */
edge_status edge_uses_read(const edge_graph *graph, edge_region *region, edge_uses *uses,
                           edge_error *error);

#endif
