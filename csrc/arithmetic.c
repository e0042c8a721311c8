#include "arithmetic.h"

#include <math.h>

#include "requantize.h"

/* Entries behind the last output that kernels may read. */
enum { PADDING = 16 };

/* ---- types --------------------------------------------------------------------------------- */

static edge_status check_weights_type(edge_compiler *c, const edge_node *node,
                                      const edge_layer *layer, edge_type type) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  switch (type) {
    case EDGE_FLOAT32:
      if (weights->type == EDGE_FLOAT32) return EDGE_OK;
      if (weights->type == EDGE_INT4 && !layer->depthwise) return EDGE_OK;
      return edge_expect_type(c, node, weights, "weights", EDGE_INT8);
    case EDGE_INT8:
    case EDGE_INT16: /* LiteRT takes int4 for int8 where int16 goes channel by channel */
      if (weights->type == EDGE_INT4 && !(type == EDGE_INT16 && layer->depthwise)) return EDGE_OK;
      return edge_expect_type(c, node, weights, "weights", EDGE_INT8);
    default:
      return edge_expect_type(c, node, weights, "weights", type);
  }
}

static edge_status check_bias(edge_compiler *c, const edge_node *node, edge_type type,
                              uint32_t outputs) {
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  if (bias == NULL) return EDGE_OK;
  const bool wide = type == EDGE_INT16 && bias->type == EDGE_INT64;
  const edge_type wanted = type == EDGE_FLOAT32 ? EDGE_FLOAT32 : EDGE_INT32;
  if (!wide) EDGE_TRY(edge_expect_type(c, node, bias, "a bias", wanted));
  const int64_t count = edge_count(bias->shape, 0, bias->rank);
  if (count == (int64_t)outputs) return EDGE_OK;
  return edge_node_fail(
      c, node, EDGE_MALFORMED_MODEL, "expected a bias of %lld elements, got %lld (tensor %lld)",
      (long long)outputs, (long long)count, (long long)(bias - c->graph->tensors));
}

static edge_status check_types(edge_compiler *c, const edge_node *node, const edge_layer *layer) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const bool known = input->type == EDGE_FLOAT32 || input->type == EDGE_INT8 ||
                     input->type == EDGE_UINT8 || input->type == EDGE_INT16;
  if (!known) return edge_expect_type(c, node, input, "an input", EDGE_INT8);
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", input->type));
  EDGE_TRY(check_weights_type(c, node, layer, input->type));
  return check_bias(c, node, input->type, (uint32_t)weights->shape[layer->axis]);
}

/* ---- quantization -------------------------------------------------------------------------- */

static edge_status read_weights_quant(edge_compiler *c, const edge_node *node,
                                      const edge_layer *layer, edge_arithmetic *a) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  edge_quant quant = {0};
  /* LiteRT has arithmetic for zero points of these only. */
  if (a->type == EDGE_UINT8 || (layer->dense && weights->scale.count == 1 &&
                                weights->type == EDGE_INT8 && a->type != EDGE_FLOAT32)) {
    EDGE_TRY(edge_expect_quant(c, node, weights, "weights", &quant));
  } else {
    EDGE_TRY(edge_expect_scales(c, node, weights, "weights", layer->axis));
  }
  a->weights_zero_point = quant.zero_point;
  return EDGE_OK;
}

static edge_status read_quant(edge_compiler *c, const edge_node *node, const edge_layer *layer,
                              edge_arithmetic *a) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  if (a->kind == EDGE_ARITHMETIC_F32) return EDGE_OK;
  EDGE_TRY(read_weights_quant(c, node, layer, a));
  if (a->kind == EDGE_ARITHMETIC_QD8) return EDGE_OK;
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &a->input));
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &a->output));
  if (a->type != EDGE_INT16 || (a->input.zero_point == 0 && a->output.zero_point == 0)) {
    return EDGE_OK;
  }
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected int16 tensors with zero points of 0, got %lld and %lld",
                        (long long)a->input.zero_point, (long long)a->output.zero_point);
}

/* int64 accumulators, and another requantization: where the bias is int64, or might be.
 * quantizedBiasType: 0 is none, 2 int32, 4 int64. */
static edge_status read_width(edge_compiler *c, const edge_node *node, const edge_layer *layer,
                              edge_arithmetic *a) {
  int8_t declared = 0;
  if (a->type != EDGE_INT16) return EDGE_OK;
  if (layer->bias_type >= 0 &&
      !edge_table_i8(&node->options, (uint32_t)layer->bias_type, 0, &declared)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  const bool known = declared == 0 || declared == EDGE_INT32 || declared == EDGE_INT64;
  if (!known || (declared != 0 && a->biased && declared != (int8_t)a->bias_type)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a type of the bias that is the bias tensor's, got %lld",
                          (long long)declared);
  }
  a->wide = layer->depthwise || (a->biased && a->bias_type == EDGE_INT64) ||
            declared == EDGE_INT64 || a->weights_zero_point != 0;
  return EDGE_OK;
}

/* ---- which rule ---------------------------------------------------------------------------- */

/* The delegate wants shapes that it can work with in the file, which may leave them open. */
static bool has_images(edge_compiler *c, const edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  return input->rank == 4 && edge_stored_count(input) > 0 && output->rank == 4 &&
         edge_stored_count(output) > 0;
}

static bool xnn_integers(edge_compiler *c, const edge_node *node, const edge_layer *layer,
                         const edge_arithmetic *a) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  if (a->type == EDGE_INT16 || layer->foreign_multiplier) return false;
  if (a->type == EDGE_UINT8 && weights->axis != 0) return false;
  if (a->type == EDGE_INT8 && a->weights_zero_point != 0) return false;
  if (weights->type == EDGE_INT4 && (!layer->dense || weights->shape[1] % 2 != 0)) return false;
  if (layer->dense && node->version == 8) return false;
  if (!layer->dense && !has_images(c, node)) return false;
  return edge_xnn_activation(edge_node_input(c, node, 0)) &&
         edge_xnn_activation(edge_node_output(c, node, 0)) &&
         (layer->dense ? edge_xnn_dense_weights(weights, bias) : edge_xnn_weights(weights, bias)) &&
         edge_xnn_scales(weights, a->input.scale, a->output.scale);
}

/* Whether XNNPACK quantizes float32 inputs itself. */
static bool xnn_dynamic(edge_compiler *c, const edge_node *node, const edge_layer *layer) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  if (layer->depthwise) return false;
  for (uint32_t i = 0; i < weights->scale.count; i++) {
    if (!edge_scale_normal(edge_scale_at(weights, (int32_t)i))) return false;
  }
  if (layer->dense) {
    return node->version != 8 && (weights->type != EDGE_INT4 || weights->shape[1] % 2 == 0);
  }
  return weights->type == EDGE_INT8 && bias != NULL && bias->rank == 1 && has_images(c, node);
}

static bool scales_differ(const edge_tensor *tensor) {
  for (uint32_t i = 1; i < tensor->scale.count; i++) {
    if (edge_scale_at(tensor, (int32_t)i) != edge_scale_at(tensor, 0)) return true;
  }
  return false;
}

/* LiteRT's own kernel for int4 quantizes inputs symmetrically, whatever the options say. */
static bool has_int4_kernel(const edge_tensor *weights) {
  return weights->type == EDGE_INT4 && weights->data != NULL && weights->shape[0] >= 4 &&
         weights->shape[1] >= 32 && weights->shape[1] % 2 == 0;
}

static edge_status read_dynamic(edge_compiler *c, const edge_node *node, const edge_layer *layer,
                                edge_arithmetic *a) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  bool asymmetric = layer->depthwise || layer->grouped || scales_differ(weights);
  if (layer->dense &&
      !edge_table_bool(&node->options, DENSE_ASYMMETRIC_INPUTS, false, &asymmetric)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (layer->dense && has_int4_kernel(weights)) asymmetric = false;
  a->xnn = !a->computed && xnn_dynamic(c, node, layer);
  a->dynamic = a->xnn       ? EDGE_DYNAMIC_XNN
               : asymmetric ? EDGE_DYNAMIC_ASYMMETRIC
                            : EDGE_DYNAMIC_SYMMETRIC;
  return EDGE_OK;
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* From which output on LiteRT's own kernel rounds halves away from zero, and not up. */
static uint32_t away_from(const edge_layer *layer, const edge_arithmetic *a) {
  if (layer->depthwise && a->type == EDGE_UINT8) return 0;
  /* The vector loop for int8 takes 8 channels at a time. */
  if (layer->depthwise) return a->outputs / 8 * 8;
  return layer->grouped ? 0 : a->outputs; /* by the reference kernel */
}

static edge_status expect_wide(edge_compiler *c, const edge_node *node, const edge_arithmetic *a) {
  for (uint32_t i = 0; i < a->outputs; i++) {
    if (a->integers.fixed[i].exponent <= 14) continue;
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected input scales below 2^14 times the output's, got larger ones");
  }
  return EDGE_OK;
}

static edge_status make_multipliers(edge_compiler *c, const edge_node *node,
                                    const edge_layer *layer, edge_arithmetic *a) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const bool per_tensor = weights->scale.count == 1;
  const edge_multipliers multipliers = {
      .weights = weights,
      .outputs = a->outputs,
      .input = a->input.scale,
      .output = a->output.scale,
      .xnn = a->xnn,
      /* LiteRT multiplies the scales of input and weights as float64, in these cases as float32. */
      .float_product = a->type == EDGE_UINT8 || (layer->dense && per_tensor),
      .away_from = away_from(layer, a)};
  EDGE_TRY(edge_multipliers_pack(c, node, &multipliers, &a->integers));
  return a->wide ? expect_wide(c, node, a) : EDGE_OK;
}

static edge_status make_reals(edge_compiler *c, const edge_node *node, edge_arithmetic *a) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  double *reals = edge_pack_alloc(c, a->outputs, sizeof *reals);
  if (reals == NULL) return edge_no_memory(c->error);
  for (uint32_t i = 0; i < a->outputs; i++) {
    const double weight = (double)edge_scale_at(weights, (int32_t)i);
    reals[i] = (double)a->input.scale * weight / (double)a->output.scale;
  }
  a->reals = reals;
  return EDGE_OK;
}

static edge_status make_scales(edge_compiler *c, const edge_node *node, edge_arithmetic *a) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  float *scales = edge_pack_alloc(c, (uint64_t)a->outputs + PADDING, sizeof *scales);
  if (scales == NULL) return edge_no_memory(c->error);
  for (uint32_t i = 0; i < a->outputs; i++) scales[i] = edge_scale_at(weights, (int32_t)i);
  a->scales = scales;
  return EDGE_OK;
}

static edge_status make_numbers(edge_compiler *c, const edge_node *node, const edge_layer *layer,
                                edge_arithmetic *a) {
  edge_range range;
  if (a->type == EDGE_FLOAT32) {
    EDGE_TRY(edge_read_float_range(c, node, layer->activation, &a->floats));
    return a->kind == EDGE_ARITHMETIC_QD8 ? make_scales(c, node, a) : EDGE_OK;
  }
  EDGE_TRY(edge_read_range(c, node, layer->activation, a->xnn, a->output, &range));
  a->integers.zero_point = a->output.zero_point;
  a->integers.min = range.min;
  a->integers.max = range.max;
  /* LiteRT's reference kernel of dense layers keeps float64 multipliers. */
  if (a->wide && layer->dense) return make_reals(c, node, a);
  return make_multipliers(c, node, layer, a);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static edge_status keep_computed(edge_compiler *c, const edge_node *node,
                                 const edge_arithmetic *a) {
  if (!a->computed) return EDGE_OK;
  EDGE_TRY(edge_keep(c, edge_node_input(c, node, 1)));
  return a->biased ? edge_keep(c, edge_node_input(c, node, 2)) : EDGE_OK;
}

static edge_arithmetic_kind kind_of(const edge_arithmetic *a) {
  if (a->type == EDGE_FLOAT32) {
    return a->weights_type == EDGE_FLOAT32 ? EDGE_ARITHMETIC_F32 : EDGE_ARITHMETIC_QD8;
  }
  return a->type == EDGE_INT8 && !a->computed ? EDGE_ARITHMETIC_QS8 : EDGE_ARITHMETIC_S16;
}

edge_status edge_arithmetic_read(edge_compiler *c, edge_node *node, const edge_layer *layer,
                                 edge_arithmetic *a) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  EDGE_TRY(check_types(c, node, layer));
  *a = (edge_arithmetic){.type = edge_node_input(c, node, 0)->type,
                         .weights_type = weights->type,
                         .bias_type = bias ? bias->type : EDGE_INT32,
                         .biased = bias != NULL,
                         .computed = weights->data == NULL || (bias && bias->data == NULL),
                         .outputs = (uint32_t)weights->shape[layer->axis]};
  a->kind = kind_of(a);
  EDGE_TRY(read_quant(c, node, layer, a));
  if (a->kind == EDGE_ARITHMETIC_QS8 && a->weights_zero_point != 0) a->kind = EDGE_ARITHMETIC_S16;
  EDGE_TRY(read_width(c, node, layer, a));
  if (a->kind == EDGE_ARITHMETIC_QD8) {
    EDGE_TRY(read_dynamic(c, node, layer, a));
  } else if (a->kind != EDGE_ARITHMETIC_F32) {
    a->xnn = !a->computed && xnn_integers(c, node, layer, a);
  }
  EDGE_TRY(make_numbers(c, node, layer, a));
  return keep_computed(c, node, a);
}

edge_lhs edge_arithmetic_lhs(const edge_kernels *kernels, const edge_arithmetic *a) {
  switch (a->kind) {
    case EDGE_ARITHMETIC_QS8:
      return edge_lhs_qs8(kernels, a->input.zero_point);
    case EDGE_ARITHMETIC_S16:
      return edge_lhs_s16(a->type, a->input.zero_point);
    case EDGE_ARITHMETIC_QD8:
      return edge_lhs_quantized(a->dynamic);
    default:
      return edge_lhs_f32();
  }
}

/* ---- operands ------------------------------------------------------------------------------ */

static void read_int4(const uint8_t *weights, uint64_t first, size_t count, int16_t *out) {
  for (size_t i = 0; i < count; i++) {
    const uint64_t at = first + i;
    const int32_t nibble = weights[at / 2] >> (at % 2 * 4) & 15;
    out[i] = (int16_t)(nibble < 8 ? nibble : nibble - 16);
  }
}

void edge_arithmetic_weights(const edge_arithmetic *a, const uint8_t *weights, uint64_t first,
                             size_t count, int16_t *out) {
  const uint8_t *from = weights + first;
  const int32_t zero_point = a->weights_zero_point;
  if (a->weights_type == EDGE_INT4) {
    read_int4(weights, first, count, out);
  } else if (a->weights_type == EDGE_UINT8) {
    for (size_t i = 0; i < count; i++) out[i] = (int16_t)(from[i] - zero_point);
  } else {
    for (size_t i = 0; i < count; i++) out[i] = (int16_t)((int8_t)from[i] - zero_point);
  }
}

void edge_arithmetic_put_bias(const edge_arithmetic *a, const uint8_t *bias, uint32_t first,
                              uint32_t count, void *out) {
  for (uint32_t i = 0; i < count; i++) {
    const int64_t value = edge_arithmetic_bias(a, bias, first + i);
    if (a->wide) ((int64_t *)out)[i] = value;
    if (!a->wide) ((int32_t *)out)[i] = edge_wrap(value);
  }
}

int64_t edge_arithmetic_bias(const edge_arithmetic *a, const uint8_t *bias, uint32_t i) {
  if (bias == NULL) return 0;
  return a->bias_type == EDGE_INT64 ? edge_load_i64(bias + (size_t)i * 8)
                                    : edge_load_i32(bias + (size_t)i * 4);
}

const char *edge_arithmetic_name(const edge_arithmetic *a, bool depthwise) {
  switch (a->kind) {
    case EDGE_ARITHMETIC_F32:
      return depthwise ? "dwconv, float32" : "gemm, float32";
    case EDGE_ARITHMETIC_QD8:
      return depthwise ? "dwconv, float32 quantized by run" : "gemm, float32 quantized by run";
    default:
      if (depthwise) return a->xnn ? "dwconv, float32 rounding" : "dwconv, fixed-point rounding";
      return a->xnn ? "gemm, float32 rounding" : "gemm, fixed-point rounding";
  }
}

/* ---- sums to outputs ----------------------------------------------------------------------- */

/* Outputs that are finished at a time: loops over them have nothing to decide. */
enum { SOME = 64 };

static void store(edge_type type, void *out, ptrdiff_t at, const int32_t *values, size_t count) {
  if (type == EDGE_INT16) {
    int16_t *to = (int16_t *)out + at;
    for (size_t i = 0; i < count; i++) to[i] = (int16_t)values[i];
  } else {
    uint8_t *to = (uint8_t *)out + at;
    for (size_t i = 0; i < count; i++) to[i] = (uint8_t)values[i];
  }
}

/* edge_rescale_float() without calls, for compilers to make vectors of. */
static void rescale_floats(const edge_qs8_output *output, const float *scale, const int32_t *sums,
                           const int32_t *bias, size_t count, int32_t *values) {
  static const float whole = 12582912.0f; /* 1.5 * 2^23: leaves whole numbers, halves to even */
  const float min = (float)(output->min - output->zero_point);
  const float max = (float)(output->max - output->zero_point);
  for (size_t i = 0; i < count; i++) {
    float value = (float)(int32_t)((uint32_t)sums[i] + (uint32_t)bias[i]) * scale[i];
    value = value < min ? min : value;
    value = value > max ? max : value;
    values[i] = (int32_t)((value + whole) - whole) + output->zero_point;
  }
}

static void finish_narrow(const edge_arithmetic *a, const edge_sums *s, size_t row, size_t first,
                          size_t count, int32_t *values) {
  const edge_qs8_output *output = &a->integers;
  const int32_t *bias = (const int32_t *)s->bias + first;
  const int32_t *sums = s->narrow + (ptrdiff_t)row * s->stride + first;
  if (output->scale != NULL) {
    rescale_floats(output, output->scale + s->first + first, sums, bias, count, values);
    return;
  }
  const edge_fixed *fixed = output->fixed + s->first + first;
  for (size_t i = 0; i < count; i++) {
    values[i] = edge_rescale_fixed(edge_wrap((int64_t)bias[i] + sums[i]), fixed[i], output);
  }
}

/* Halves away from zero. */
static int32_t rescale_real(int64_t sum, double real, const edge_qs8_output *output) {
  const double value = round((double)sum * real);
  if (!(value > output->min)) return output->min;
  return value < output->max ? (int32_t)value : output->max;
}

static void finish_wide(const edge_arithmetic *a, const edge_sums *s, size_t row, size_t first,
                        size_t count, int32_t *values) {
  const edge_qs8_output *output = &a->integers;
  const int64_t *bias = (const int64_t *)s->bias + first;
  const int64_t *sums = s->wide + (ptrdiff_t)row * s->stride + first;
  const size_t at = s->first + first;
  for (size_t i = 0; i < count; i++) {
    const int64_t sum = (int64_t)((uint64_t)bias[i] + (uint64_t)sums[i]);
    values[i] = a->reals ? rescale_real(sum, a->reals[at + i], output)
                         : edge_clamp(edge_multiply_wide(sum, output->fixed[at + i]), output->min,
                                      output->max);
  }
}

static void finish_integers(const edge_arithmetic *a, const edge_sums *s) {
  int32_t values[SOME];
  for (size_t r = 0; r < s->rows; r++) {
    for (size_t c = 0; c < s->columns; c += SOME) {
      const size_t count = s->columns - c < SOME ? s->columns - c : SOME;
      if (a->wide) {
        finish_wide(a, s, r, c, count, values);
      } else {
        finish_narrow(a, s, r, c, count, values);
      }
      store(a->type, s->out, (ptrdiff_t)r * s->out_row + (ptrdiff_t)c, values, count);
    }
  }
}

static void finish_float(const edge_arithmetic *a, const edge_sums *s) {
  const float *bias = s->bias;
  const float *scales = a->scales + s->first;
  for (size_t r = 0; r < s->rows; r++) {
    const int32_t *sums = s->narrow + (ptrdiff_t)r * s->stride;
    const float row_scale = s->row_scales[(ptrdiff_t)r * s->row_step];
    float *out = (float *)s->out + (ptrdiff_t)r * s->out_row;
    for (size_t c = 0; c < s->columns; c++) {
      const float product = (float)sums[c] * row_scale * scales[c];
      out[c] = edge_clamp_float(product + bias[c], a->floats);
    }
  }
}

void edge_arithmetic_finish(const edge_arithmetic *a, const edge_sums *sums) {
  if (a->kind == EDGE_ARITHMETIC_QD8) {
    finish_float(a, sums);
  } else {
    finish_integers(a, sums);
  }
}
