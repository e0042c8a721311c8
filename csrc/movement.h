/* What operators share that move elements and do not change them: a walk over two layouts, axes
 * and short lists of whole numbers among the inputs. */
#ifndef EDGE_MOVEMENT_H
#define EDGE_MOVEMENT_H

#include "internal.h"

/* A dimension may fall into two: TILE repeats each, blocks split each. */
enum { EDGE_WALK_RANK = 2 * EDGE_MAX_RANK };

/* `block` contiguous bytes at a time, from strides to strides. Strides are bytes; those of the
 * source may be 0 (repeats) or negative (goes backwards). */
typedef struct edge_walk {
  int64_t block;
  int64_t start; /* the first byte of the source */
  int32_t rank;
  int64_t count[EDGE_WALK_RANK];
  int64_t from[EDGE_WALK_RANK];
  int64_t to[EDGE_WALK_RANK];
} edge_walk;

/* `count` blocks of `block` bytes. */
void edge_copy_blocks(const uint8_t *from, int64_t from_stride, uint8_t *to, int64_t to_stride,
                      int64_t block, int64_t count);
/* Adds a dimension within those that are there; neighbours that go on from each other become one.
 */
void edge_walk_add(edge_walk *walk, int64_t count, int64_t from, int64_t to);
/* Every block once; nothing where a count is 0. */
void edge_walk_run(const edge_walk *walk, const uint8_t *from, uint8_t *to);
/* Where the step's state is a walk from input 0 to output 0, this is its run(). */
void edge_move_run(const edge_frame *frame, const edge_step *step);

/* Input and output of one type of fixed size. Elements of 8 and 16 bits have one quantization:
 * LiteRT demands it where it does not rescale, and so do we. */
edge_status edge_expect_moved(edge_compiler *compiler, const edge_node *node,
                              const edge_tensor *input, const edge_tensor *output);
/* An int32 or int64 input. */
edge_status edge_expect_whole(edge_compiler *compiler, const edge_node *node, int32_t i,
                              const char *what);

/* The entries of input i, at most `most`; int64 is clamped to int32. EDGE_DEFERRED: not known. */
edge_status edge_list_in(edge_planner *planner, const edge_step *step, int32_t i, int32_t most,
                         int32_t *list, int32_t *count);
/* The same, and exactly `count` of them. */
edge_status edge_exact_list_in(edge_planner *planner, const edge_step *step, int32_t i,
                               int32_t count, int32_t *list);
/* A dimension of a tensor of `rank`; a negative one counts from the end. */
edge_status edge_axis_of(edge_planner *planner, const edge_step *step, int64_t value, int32_t rank,
                         int32_t *axis);
/* The same, given by input i. */
edge_status edge_axis_in(edge_planner *planner, const edge_step *step, int32_t i, int32_t rank,
                         int32_t *axis);

/* What perform() reports where values do not fit: they are the caller's, or, while planning, the
 * file's. */
static inline edge_status edge_value_status(const edge_planner *planner) {
  return planner->turn != NULL ? EDGE_INVALID_ARGUMENT : EDGE_MALFORMED_MODEL;
}

/* Bytes of one element of a tensor of the step. */
static inline int64_t edge_element_in(const edge_planner *planner, const edge_step *step,
                                      int32_t i) {
  return (int64_t)edge_type_size(edge_tensor_in(planner, step, i)->type);
}

#endif
