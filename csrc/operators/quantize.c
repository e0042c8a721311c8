/* QUANTIZE: float32 -> int8, and between int8 and uint8 of any quantization. DEQUANTIZE: int8 or
 * uint8 -> float32.
 *
 * XNNPACK takes float32 -> int8 (half even), int8 -> int8 with a ratio of scales in 1/256 ... 128
 * (8 fraction bits), and DEQUANTIZE. The rest follows LiteRT's optimised kernels, whose vector
 * loops round otherwise than what is left behind the last whole vector.
 *
 * Source: XNNPACK src/qs8-vcvt, src/f32-qs8-vcvt; tflite/kernels/quantize.cc, dequantize.h,
 * internal/optimized/optimized_ops.h; docs/numerics.md.
 */
#include <float.h>
#include <math.h>

#include "../fold.h"
#include "../operators.h"
#include "../rules.h"
#include "../table.h"

typedef enum quantize_rule { QUANTIZE_FLOAT, QUANTIZE_FLOAT_FIXED, QUANTIZE_TABLE } quantize_rule;

typedef struct quantize_params {
  quantize_rule rule;
  edge_quant output;
  int32_t least, most;
  edge_table8 vector; /* whole groups of 16 elements */
  edge_table8 rest;
} quantize_params;

typedef struct dequantize_params {
  edge_quant input;
  bool is_unsigned;
  bool xnn;
} dequantize_params;

/* ---- QUANTIZE ---------------------------------------------------------------------------- */

static bool is_8bit(edge_type type) {
  return type == EDGE_INT8 || type == EDGE_UINT8;
}

static int32_t value_of(edge_type type, int32_t byte) {
  return type == EDGE_INT8 ? edge_byte_value(byte) : byte;
}

/* One byte by LiteRT's own kernels. */
static uint8_t convert_fixed(const quantize_params *p, int32_t difference, edge_fixed fixed) {
  const int64_t value = (int64_t)edge_multiply(difference, fixed) + p->output.zero_point;
  return (uint8_t)edge_clamp(value, p->least, p->most);
}

/* One byte by XNNPACK: a multiplier with 8 fraction bits, half up. */
static uint8_t convert_xnn(const quantize_params *p, int32_t difference, int32_t multiplier) {
  const int32_t value = (difference * multiplier + 128) >> 8;
  return (uint8_t)edge_clamp((int64_t)value + p->output.zero_point, p->least, p->most);
}

static void build_tables(quantize_params *p, edge_type from, edge_quant input, bool xnn,
                         bool flip) {
  const float ratio = input.scale / p->output.scale;
  const int32_t multiplier = xnn ? edge_round_even(256.0f * ratio) : 0;
  const double real = (double)input.scale / (double)p->output.scale;
  const edge_fixed up = edge_fixed_of(real, false);
  const edge_fixed away = edge_fixed_of(real, true);
  for (int32_t i = 0; i < 256; i++) {
    const int32_t difference = value_of(from, i) - input.zero_point;
    if (flip) {
      p->vector.bytes[i] = p->rest.bytes[i] = (uint8_t)(i ^ 0x80);
    } else if (xnn) {
      p->vector.bytes[i] = p->rest.bytes[i] = convert_xnn(p, difference, multiplier);
    } else {
      p->vector.bytes[i] = convert_fixed(p, difference, up);
      p->rest.bytes[i] = convert_fixed(p, difference, away);
    }
  }
}

static edge_status compile_8bit(edge_compiler *c, edge_node *node, quantize_params *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  edge_quant quant;
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &quant));
  const float ratio = quant.scale / p->output.scale;
  const bool xnn = input->type == output->type && edge_xnn_activation(input) &&
                   edge_xnn_activation(output) && ratio >= 0x1p-8f && ratio <= 0x1p7f;
  const int32_t apart = quant.zero_point - p->output.zero_point;
  const bool flip = input->type != output->type && quant.scale == p->output.scale &&
                    (apart == 128 || apart == -128);
  edge_fixed unused;
  EDGE_TRY(
      edge_expect_fixed(c, node, (double)quant.scale / (double)p->output.scale, false, &unused));
  p->rule = QUANTIZE_TABLE;
  build_tables(p, input->type, quant, xnn, flip);
  if (xnn) edge_fold_unary(c, node);
  node->kernel = "lut";
  return EDGE_OK;
}

static edge_status quantize_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  quantize_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (!is_8bit(output->type) || (input->type != EDGE_FLOAT32 && !is_8bit(input->type))) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected float32, int8 or uint8 to int8 or uint8, got %s to %s",
                          edge_type_name(input->type), edge_type_name(output->type));
  }
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &p->output));
  p->least = output->type == EDGE_INT8 ? INT8_MIN : 0;
  p->most = output->type == EDGE_INT8 ? INT8_MAX : UINT8_MAX;
  if (input->type != EDGE_FLOAT32) return compile_8bit(c, node, p);
  p->rule = edge_xnn_activation(output) ? QUANTIZE_FLOAT : QUANTIZE_FLOAT_FIXED;
  if (p->rule == QUANTIZE_FLOAT) edge_fold_unary(c, node);
  node->kernel = "f32 to 8 bits";
  return EDGE_OK;
}

static edge_status same_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  return edge_set_shape(planner, step, 0, input->rank, input->shape);
}

/* LiteRT runs with denormal numbers taken and given as zero. */
static float flush(float value) {
  return fabsf(value) < FLT_MIN ? 0.0f : value;
}

/* NaN counts as the largest number: that is what minps makes of it. */
static void quantize_floats(const quantize_params *p, const float *in, size_t count, uint8_t *out) {
  const float inverse = flush(1.0f / p->output.scale);
  for (size_t i = 0; i < count; i++) {
    float value = flush(flush(in[i]) * inverse);
    value = value < 32767.0f ? value : 32767.0f;
    value = value > -32768.0f ? value : -32768.0f;
    const int32_t whole = edge_round_even(value) + p->output.zero_point;
    out[i] = (uint8_t)edge_clamp(whole, p->least, p->most);
  }
}

/* What the processor's conversions make of a number that is whole already. */
static int32_t to_int32(double whole) {
  return whole >= -0x1p31 && whole < 0x1p31 ? (int32_t)whole : INT32_MIN;
}

/* LiteRT's own kernel: groups of 8 by the reciprocal and half even, the rest by a division and
 * half away from zero. */
static void quantize_floats_fixed(const quantize_params *p, const float *in, size_t count,
                                  uint8_t *out) {
  const float inverse = 1.0f / p->output.scale;
  for (size_t i = 0; i < count; i++) {
    const double whole = i < count / 8 * 8 ? (double)rintf(in[i] * inverse)
                                           : round((double)in[i] / (double)p->output.scale);
    const int32_t value = edge_wrap((int64_t)to_int32(whole) + p->output.zero_point);
    out[i] = (uint8_t)edge_clamp(value, p->least, p->most);
  }
}

static void quantize_run(const edge_frame *frame, const edge_step *step) {
  const quantize_params *p = step->node->params;
  const size_t count = (size_t)frame->views[step->node->outputs[0]].bytes;
  const void *in = edge_in(frame, step, 0);
  uint8_t *out = edge_out(frame, step, 0);
  if (p->rule == QUANTIZE_FLOAT) {
    quantize_floats(p, in, count, out);
    return;
  }
  if (p->rule == QUANTIZE_FLOAT_FIXED) {
    quantize_floats_fixed(p, in, count, out);
    return;
  }
  const edge_kernels *kernels = frame->model->kernels;
  const size_t vector = count / 16 * 16;
  kernels->x8_lut(out, in, vector, p->vector.bytes);
  kernels->x8_lut(out + vector, (const uint8_t *)in + vector, count - vector, p->rest.bytes);
}

/* ---- DEQUANTIZE -------------------------------------------------------------------------- */

static edge_status dequantize_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  dequantize_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (!is_8bit(input->type)) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected int8 or uint8 to float32, got %s", edge_type_name(input->type));
  }
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_FLOAT32));
  if (input->scale.count > 1) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected per-tensor quantization, got %lld scales",
                          (long long)input->scale.count);
  }
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &p->input));
  p->is_unsigned = input->type == EDGE_UINT8;
  /* The delegate unpacks int8 constants itself, by LiteRT's own kernel. */
  p->xnn = edge_xnn_activation(input) && (input->data == NULL || p->is_unsigned);
  if (p->xnn) edge_fold_unary(c, node);
  node->kernel = "8 bits to f32";
  return EDGE_OK;
}

static void dequantize_run(const edge_frame *frame, const edge_step *step) {
  const dequantize_params *p = step->node->params;
  const uint8_t *in = edge_in(frame, step, 0);
  float *out = edge_out(frame, step, 0);
  const size_t count = (size_t)frame->views[step->node->outputs[0]].bytes / sizeof *out;
  const size_t vector = p->xnn ? 0 : count / 8 * 8;
  const float offset = (float)((double)-p->input.zero_point * (double)p->input.scale);
  for (size_t i = 0; i < count; i++) {
    const int32_t value = p->is_unsigned ? in[i] : edge_byte_value(in[i]);
    const int32_t difference = value - p->input.zero_point;
    if (p->xnn) {
      out[i] = (float)difference * p->input.scale;
    } else if (i < vector) {
      const float scaled = (float)value * p->input.scale;
      out[i] = scaled + offset;
    } else {
      out[i] = (float)((double)p->input.scale * (double)difference);
    }
  }
}

const edge_operator edge_operator_quantize = {
    .code = 114,
    .name = "QUANTIZE",
    .version_max = 4,
    .options_type = 89,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = quantize_compile,
    .shape = same_shape,
    .run = quantize_run,
};

const edge_operator edge_operator_dequantize = {
    .code = 6,
    .name = "DEQUANTIZE",
    .version_max = 6,
    .options_type = 38,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = dequantize_compile,
    .shape = same_shape,
    .run = dequantize_run,
};
