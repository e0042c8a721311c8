#include "rules.h"

#include <float.h>
#include <math.h>

bool edge_scale_normal(float scale) {
  return isfinite(scale) && scale >= FLT_MIN;
}

bool edge_xnn_shape(const edge_tensor *tensor) {
  return tensor->rank <= 6 && edge_count(tensor->shape, 0, tensor->rank) > 0;
}

bool edge_xnn_activation(const edge_tensor *tensor) {
  return edge_xnn_shape(tensor) && tensor->scale.count == 1 && tensor->axis == 0 &&
         edge_scale_normal(edge_scale_at(tensor, 0));
}

static bool scales_normal(const edge_tensor *tensor) {
  for (uint32_t i = 0; i < tensor->scale.count; i++) {
    if (!edge_scale_normal(edge_scale_at(tensor, (int32_t)i))) return false;
  }
  return tensor->scale.count > 0;
}

bool edge_xnn_dense_weights(const edge_tensor *weights, const edge_tensor *bias) {
  if (weights->data == NULL || !scales_normal(weights)) return false;
  if (bias == NULL) return true;
  /* Scales for each output run along the first dimension. */
  return bias->data != NULL && scales_normal(bias) && (bias->scale.count == 1 || bias->axis == 0);
}

bool edge_xnn_weights(const edge_tensor *weights, const edge_tensor *bias) {
  if (!edge_xnn_dense_weights(weights, bias)) return false;
  /* Per-channel weights want a per-channel bias, per-tensor weights a per-tensor one. */
  return bias == NULL || (bias->rank == 1 && (bias->scale.count > 1) == (weights->scale.count > 1));
}

bool edge_xnn_scales(const edge_tensor *weights, float input, float output) {
  for (uint32_t i = 0; i < weights->scale.count; i++) {
    if (!(edge_scale_float(input, edge_scale_at(weights, (int32_t)i), output) < 256.0f)) {
      return false;
    }
  }
  return true;
}

float edge_scale_float(float input, float weight, float output) {
  const float product = input * weight;
  return product / output;
}

edge_fixed edge_fixed_of(double real, bool away) {
  if (!(real > 0.0) || !isfinite(real)) return (edge_fixed){0, 0, away};
  int exponent;
  const double fraction = frexp(real, &exponent); /* in [1/2, 1) */
  int64_t multiplier = (int64_t)floor(fraction * 2147483648.0 + 0.5);
  if (multiplier == INT64_C(1) << 31) {
    multiplier /= 2;
    exponent++;
  }
  if (exponent < -31) return (edge_fixed){0, 0, away};
  if (exponent > 30) return (edge_fixed){INT32_MAX, 30, away};
  return (edge_fixed){(int32_t)multiplier, (int16_t)exponent, away};
}

edge_status edge_expect_fixed(edge_compiler *compiler, const edge_node *node, double real,
                              bool away, edge_fixed *fixed) {
  *fixed = edge_fixed_of(real, away);
  if (real < 0x1p30) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected input scales below 2^30 times the output's, got larger ones");
}

/* Kernels read whole panels. */
enum { MULTIPLIERS_PADDING = 64 };

edge_status edge_multipliers_pack(edge_compiler *compiler, const edge_node *node,
                                  const edge_multipliers *m, edge_qs8_output *output) {
  const uint64_t padded = (uint64_t)m->outputs + MULTIPLIERS_PADDING;
  float *scale = m->xnn ? edge_pack_alloc(compiler, padded, sizeof *scale) : NULL;
  edge_fixed *fixed = m->xnn ? NULL : edge_pack_alloc(compiler, padded, sizeof *fixed);
  if (scale == NULL && fixed == NULL) return edge_no_memory(compiler->error);
  for (uint32_t i = 0; i < m->outputs; i++) {
    const float weight = edge_scale_at(m->weights, (int32_t)i);
    if (m->xnn) {
      scale[i] = edge_scale_float(m->input, weight, m->output);
      continue;
    }
    const float rounded = m->input * weight;
    const double product = m->float_product ? (double)rounded : (double)m->input * (double)weight;
    EDGE_TRY(edge_expect_fixed(compiler, node, product / (double)m->output, i >= m->away_from,
                               &fixed[i]));
  }
  output->scale = scale;
  output->fixed = fixed;
  return EDGE_OK;
}

bool edge_activation_known(int8_t activation) {
  return activation >= ACTIVATION_NONE && activation <= ACTIVATION_RELU6;
}

void edge_activation_bounds(int8_t activation, float *min, float *max) {
  *min = activation == ACTIVATION_NONE           ? -INFINITY
         : activation == ACTIVATION_RELU_N1_TO_1 ? -1.0f
                                                 : 0.0f;
  *max = activation == ACTIVATION_RELU6          ? 6.0f
         : activation == ACTIVATION_RELU_N1_TO_1 ? 1.0f
                                                 : INFINITY;
}

static edge_range type_range(edge_type type) {
  switch (type) {
    case EDGE_UINT8:
      return (edge_range){0, UINT8_MAX};
    case EDGE_INT16:
      return (edge_range){INT16_MIN, INT16_MAX};
    default:
      return (edge_range){INT8_MIN, INT8_MAX};
  }
}

/* Clamped before it is rounded; NaN, from 0 / 0, gives the lower end. */
static int32_t quantize_float(float value, edge_quant quant, edge_range type) {
  const float quotient = value / quant.scale;
  float shifted = quotient + (float)quant.zero_point;
  if (!(shifted > (float)type.min)) shifted = (float)type.min;
  if (shifted > (float)type.max) shifted = (float)type.max;
  return edge_round_even(shifted);
}

static edge_range range_float(int8_t activation, edge_quant output, edge_range type) {
  float min;
  float max;
  edge_activation_bounds(activation, &min, &max);
  return (edge_range){quantize_float(min, output, type), quantize_float(max, output, type)};
}

edge_range edge_range_float(int8_t activation, edge_quant output) {
  return range_float(activation, output, type_range(EDGE_INT8));
}

static bool range_fixed(int8_t activation, edge_quant output, edge_range type, edge_range *range) {
  float bounds[2];
  int32_t *ends[2] = {&range->min, &range->max};
  *range = type;
  edge_activation_bounds(activation, &bounds[0], &bounds[1]);
  for (int i = 0; i < 2; i++) {
    if (isinf(bounds[i])) continue;
    const float quotient = roundf(bounds[i] / output.scale);
    if (!(fabsf(quotient) < 2147483648.0f)) return false;
    const int64_t value = (int64_t)quotient + output.zero_point;
    *ends[i] = edge_clamp(value, type.min, type.max);
  }
  return true;
}

bool edge_range_fixed(int8_t activation, edge_quant output, edge_range *range) {
  return range_fixed(activation, output, type_range(EDGE_INT8), range);
}

edge_status edge_read_activation(edge_compiler *compiler, const edge_node *node, uint32_t field,
                                 int8_t *activation) {
  if (!edge_table_i8(&node->options, field, ACTIVATION_NONE, activation)) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (!edge_activation_known(*activation)) {
    return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected a fused activation in 0 ... %lld, got %lld",
                          (long long)ACTIVATION_RELU6, (long long)*activation);
  }
  return EDGE_OK;
}

edge_status edge_output_range(edge_compiler *compiler, const edge_node *node, bool xnn,
                              int8_t activation, edge_quant output, edge_range *range) {
  return edge_output_range_of(compiler, node, xnn, activation, output, EDGE_INT8, range);
}

edge_status edge_output_range_of(edge_compiler *compiler, const edge_node *node, bool xnn,
                                 int8_t activation, edge_quant output, edge_type type,
                                 edge_range *range) {
  bool ok = true;
  if (xnn) {
    *range = range_float(activation, output, type_range(type));
  } else {
    ok = range_fixed(activation, output, type_range(type), range);
  }
  if (ok && range->min <= range->max) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected an output scale to which the fused activation fits, got one "
                        "that leaves no value");
}
