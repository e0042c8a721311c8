/* The first few of many indices, in the order of what they stand for. */
#ifndef EDGE_ORDER_H
#define EDGE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

/* Whether index a comes before index b. */
typedef bool edge_before_fn(const void *context, int32_t a, int32_t b);

/* Orders indices[0 ... keep), which are those of all `count` that come first. The order of equal
 * ones follows from the place in which they stood. keep <= count. */
void edge_order(int32_t *indices, int64_t count, int64_t keep, edge_before_fn *before,
                const void *context);

#endif
