/* Values that an element of a type can take, and what a fused activation leaves of them. */
#ifndef EDGE_RANGES_H
#define EDGE_RANGES_H

#include "internal.h"
#include "rules.h"

/* Of int8, uint8 and int16. */
edge_range edge_type_range(edge_type type);

/* Reads a fused activation of the output, and what it leaves: by XNNPACK's rounding where `xnn`,
 * else by LiteRT's. */
edge_status edge_read_range(edge_compiler *compiler, const edge_node *node, uint32_t field,
                            bool xnn, edge_quant output, edge_range *range);

/* The same for float32. */
typedef struct edge_float_range {
  float min, max;
} edge_float_range;

edge_status edge_read_float_range(edge_compiler *compiler, const edge_node *node, uint32_t field,
                                  edge_float_range *range);

static inline float edge_clamp_float(float value, edge_float_range range) {
  value = value < range.min ? range.min : value;
  return value > range.max ? range.max : value;
}

#endif
