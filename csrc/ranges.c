#include "ranges.h"

edge_range edge_type_range(edge_type type) {
  switch (type) {
    case EDGE_UINT8:
      return (edge_range){0, UINT8_MAX};
    case EDGE_INT16:
      return (edge_range){INT16_MIN, INT16_MAX};
    default:
      return (edge_range){INT8_MIN, INT8_MAX};
  }
}

edge_status edge_read_range(edge_compiler *compiler, const edge_node *node, uint32_t field,
                            bool xnn, edge_quant output, edge_range *range) {
  const edge_type type = edge_node_output(compiler, node, 0)->type;
  int8_t activation;
  EDGE_TRY(edge_read_activation(compiler, node, field, &activation));
  return edge_output_range_of(compiler, node, xnn, activation, output, type, range);
}

edge_status edge_read_float_range(edge_compiler *compiler, const edge_node *node, uint32_t field,
                                  edge_float_range *range) {
  int8_t activation;
  EDGE_TRY(edge_read_activation(compiler, node, field, &activation));
  edge_activation_bounds(activation, &range->min, &range->max);
  return EDGE_OK;
}
