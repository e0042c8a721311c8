#include "ranges.h"

#include <math.h>

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

static edge_float_range bounds_of(int8_t activation) {
  switch (activation) {
    case ACTIVATION_RELU:
      return (edge_float_range){0.0f, INFINITY};
    case ACTIVATION_RELU_N1_TO_1:
      return (edge_float_range){-1.0f, 1.0f};
    case ACTIVATION_RELU6:
      return (edge_float_range){0.0f, 6.0f};
    default:
      return (edge_float_range){-INFINITY, INFINITY};
  }
}

/* Clamped before it is rounded, halves to even; NaN, from 0 / 0, gives the lower end. */
static int32_t quantize_even(float value, edge_quant quant, edge_range whole) {
  const float quotient = value / quant.scale;
  float shifted = quotient + (float)quant.zero_point;
  if (!(shifted > (float)whole.min)) shifted = (float)whole.min;
  if (shifted > (float)whole.max) shifted = (float)whole.max;
  return edge_round_even(shifted);
}

/* Rounded half away from zero, then clamped. False: it does not fit int32. */
static bool quantize_away(float value, edge_quant quant, edge_range whole, int32_t absent,
                          int32_t *end) {
  *end = absent;
  if (isinf(value)) return true;
  const float quotient = roundf(value / quant.scale);
  if (!(fabsf(quotient) < 2147483648.0f)) return false;
  *end = edge_clamp((int64_t)quotient + quant.zero_point, whole.min, whole.max);
  return true;
}

edge_status edge_read_range(edge_compiler *compiler, const edge_node *node, uint32_t field,
                            bool xnn, edge_quant output, edge_range *range) {
  const edge_range whole = edge_type_range(edge_node_output(compiler, node, 0)->type);
  int8_t activation;
  bool ok = true;
  EDGE_TRY(edge_read_activation(compiler, node, field, &activation));
  const edge_float_range bounds = bounds_of(activation);
  if (xnn) {
    range->min = quantize_even(bounds.min, output, whole);
    range->max = quantize_even(bounds.max, output, whole);
  } else {
    ok = quantize_away(bounds.min, output, whole, whole.min, &range->min) &&
         quantize_away(bounds.max, output, whole, whole.max, &range->max);
  }
  if (ok && range->min <= range->max) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected an output scale to which the fused activation fits, got one "
                        "that leaves no value");
}

edge_status edge_read_float_range(edge_compiler *compiler, const edge_node *node, uint32_t field,
                                  edge_float_range *range) {
  int8_t activation;
  EDGE_TRY(edge_read_activation(compiler, node, field, &activation));
  *range = bounds_of(activation);
  return EDGE_OK;
}
