/* QUANTIZE: float32 -> int8, uint8 and int16, per tensor or per channel, and between quantized
 * types: int8, uint8, int16 and int32.
 *
 * XNNPACK takes float32 -> 8 bits (half even), and 8 bits -> the same 8 bits with a ratio of scales
 * in 1/256 ... 128 (8 fraction bits). The rest follows LiteRT's optimised kernels, whose vector
 * loops round otherwise than what is left behind the last whole vector.
 *
 * Source: XNNPACK src/qs8-vcvt, src/f32-qs8-vcvt; tflite/kernels/quantize.cc,
 * internal/optimized/optimized_ops.h, internal/reference/requantize.h and quantize.h;
 * docs/numerics.md.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "../channels.h"
#include "../fold.h"
#include "../lookup.h"
#include "../operators.h"
#include "../unary.h"

typedef struct quantize {
  edge_unary unary;
  edge_type type; /* of the output */
  edge_quant input, output;
  int32_t least, most;
  edge_fixed fixed;
  edge_channels channels; /* of the output */
} quantize;

/* Between 8-bit types. */
typedef struct convert8 {
  edge_unary unary;
  edge_table8 vector; /* whole groups of 16 elements */
  edge_table8 rest;
} convert8;

static bool is_8bit(edge_type type) {
  return type == EDGE_INT8 || type == EDGE_UINT8;
}

/* ---- float32 ----------------------------------------------------------------------------- */

static void store(const quantize *p, void *out, size_t i, int64_t value) {
  const int32_t clamped = edge_clamp(value, p->least, p->most);
  if (p->type == EDGE_INT16) {
    ((int16_t *)out)[i] = (int16_t)clamped;
  } else {
    ((uint8_t *)out)[i] = (uint8_t)clamped;
  }
}

/* LiteRT runs with denormal numbers taken and given as zero. */
static float flush(float value) {
  return fabsf(value) < FLT_MIN ? 0.0f : value;
}

/* Nearest, halves to even, of a number below 2^22: adding 1.5 * 2^23 leaves it in the low bits. In
 * this form compilers make vectors of it. */
static int32_t round_small(float value) {
  const float shifted = value + 12582912.0f;
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  return bits - 0x4b400000;
}

/* NaN counts as the largest number: that is what minps makes of it. */
static void floats_xnn(const edge_unary *unary, const void *in, void *out, size_t count) {
  const quantize *p = (const quantize *)(const void *)unary;
  const float inverse = flush(1.0f / p->output.scale);
  const int32_t zero_point = p->output.zero_point;
  const int32_t least = p->least;
  const int32_t most = p->most;
  const float *from = in;
  uint8_t *to = out;
  for (size_t i = 0; i < count; i++) {
    float value = flush(flush(from[i]) * inverse);
    value = value < 32767.0f ? value : 32767.0f;
    value = value > -32768.0f ? value : -32768.0f;
    const int32_t whole = round_small(value) + zero_point;
    to[i] = (uint8_t)(whole < least ? least : whole > most ? most : whole);
  }
}

/* What the processor's conversions make of a number that is whole already. */
static int32_t to_int32(double whole) {
  return whole >= -0x1p31 && whole < 0x1p31 ? (int32_t)whole : INT32_MIN;
}

/* LiteRT's own kernel: groups of 8 by the reciprocal and half even, the rest by a division and
 * half away from zero. */
static void floats_own(const edge_unary *unary, const void *in, void *out, size_t count) {
  const quantize *p = (const quantize *)(const void *)unary;
  const float inverse = 1.0f / p->output.scale;
  const float *from = in;
  for (size_t i = 0; i < count; i++) {
    const double whole = i < count / 8 * 8 ? (double)rintf(from[i] * inverse)
                                           : round((double)from[i] / (double)p->output.scale);
    store(p, out, i, edge_wrap((int64_t)to_int32(whole) + p->output.zero_point));
  }
}

typedef struct channels_job {
  const quantize *params;
  const float *in;
  void *out;
} channels_job;

static void channel_run(void *context, edge_quant quant, int64_t at, int64_t count) {
  const channels_job *job = context;
  for (int64_t i = at; i < at + count; i++) {
    const int32_t whole = to_int32((double)roundf(job->in[i] / quant.scale));
    store(job->params, job->out, (size_t)i, edge_wrap((int64_t)whole + quant.zero_point));
  }
}

/* ---- 8 bits to 8 bits -------------------------------------------------------------------- */

static void convert8_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const convert8 *p = (const convert8 *)(const void *)unary;
  const size_t vector = count / 16 * 16;
  unary->kernels->x8_lut(out, in, vector, p->vector.bytes);
  unary->kernels->x8_lut((uint8_t *)out + vector, (const uint8_t *)in + vector, count - vector,
                         p->rest.bytes);
}

static int32_t value_of(edge_type type, int32_t byte) {
  return type == EDGE_INT8 ? edge_byte_value(byte) : byte;
}

/* One byte by LiteRT's own kernels. */
static uint8_t convert_fixed(const quantize *p, int32_t difference, edge_fixed fixed) {
  const int64_t value = (int64_t)edge_multiply(difference, fixed) + p->output.zero_point;
  return (uint8_t)edge_clamp(value, p->least, p->most);
}

/* One byte by XNNPACK: a multiplier with 8 fraction bits, half up. */
static uint8_t convert_xnn(const quantize *p, int32_t difference, int32_t multiplier) {
  const int32_t value = (difference * multiplier + 128) >> 8;
  return (uint8_t)edge_clamp((int64_t)value + p->output.zero_point, p->least, p->most);
}

static void build_tables(convert8 *tables, const quantize *p, edge_type from, bool xnn, bool flip) {
  const float ratio = p->input.scale / p->output.scale;
  const int32_t multiplier = xnn ? edge_round_even(256.0f * ratio) : 0;
  const edge_fixed up = {p->fixed.multiplier, p->fixed.exponent, false};
  for (int32_t i = 0; i < 256; i++) {
    const int32_t difference = value_of(from, i) - p->input.zero_point;
    uint8_t *vector = &tables->vector.bytes[i];
    uint8_t *rest = &tables->rest.bytes[i];
    if (flip) {
      *vector = *rest = (uint8_t)(i ^ 0x80);
    } else if (xnn) {
      *vector = *rest = convert_xnn(p, difference, multiplier);
    } else {
      *vector = convert_fixed(p, difference, up);
      *rest = convert_fixed(p, difference, p->fixed);
    }
  }
}

static edge_status compile_8bit(edge_compiler *c, edge_node *node, const quantize *p) {
  const edge_type from = edge_node_input(c, node, 0)->type;
  const float ratio = p->input.scale / p->output.scale;
  const bool xnn = from == p->type && edge_xnn_both(c, node) && ratio >= 0x1p-8f && ratio <= 0x1p7f;
  const int32_t apart = p->input.zero_point - p->output.zero_point;
  const bool flip =
      from != p->type && p->input.scale == p->output.scale && (apart == 128 || apart == -128);
  convert8 *tables = edge_unary_params(c, node, sizeof *tables, convert8_span);
  if (tables == NULL) return edge_no_memory(c->error);
  build_tables(tables, p, from, xnn, flip);
  if (xnn) edge_fold_unary(c, node);
  node->kernel = "lut";
  return EDGE_OK;
}

/* ---- to and from wider types ------------------------------------------------------------- */

/* (q - input zero) * ratio + output zero, halves away from zero. */
#define CONVERT_SPAN(name, from_type, to_type)                                                   \
  static void name(const edge_unary *unary, const void *in, void *out, size_t count) {           \
    const quantize *p = (const quantize *)(const void *)unary;                                   \
    const from_type *from = in;                                                                  \
    to_type *to = out;                                                                           \
    for (size_t i = 0; i < count; i++) {                                                         \
      const int32_t difference = edge_wrap((int64_t)from[i] - p->input.zero_point);              \
      const int64_t value = (int64_t)edge_multiply(difference, p->fixed) + p->output.zero_point; \
      to[i] = (to_type)edge_clamp(value, p->least, p->most);                                     \
    }                                                                                            \
  }

CONVERT_SPAN(i8_to_i16, int8_t, int16_t)
CONVERT_SPAN(u8_to_i16, uint8_t, int16_t)
CONVERT_SPAN(i16_to_i8, int16_t, int8_t)
CONVERT_SPAN(i16_to_i16, int16_t, int16_t)
CONVERT_SPAN(i16_to_i32, int16_t, int32_t)
CONVERT_SPAN(i32_to_i8, int32_t, int8_t)
CONVERT_SPAN(i32_to_i16, int32_t, int16_t)

static const struct {
  edge_type from, to;
  edge_unary_span *span;
} CONVERSIONS[] = {
    {EDGE_INT8, EDGE_INT16, i8_to_i16},   {EDGE_UINT8, EDGE_INT16, u8_to_i16},
    {EDGE_INT16, EDGE_INT8, i16_to_i8},   {EDGE_INT16, EDGE_INT16, i16_to_i16},
    {EDGE_INT16, EDGE_INT32, i16_to_i32}, {EDGE_INT32, EDGE_INT8, i32_to_i8},
    {EDGE_INT32, EDGE_INT16, i32_to_i16},
};

static edge_unary_span *conversion(edge_type from, edge_type to) {
  for (size_t i = 0; i < sizeof CONVERSIONS / sizeof CONVERSIONS[0]; i++) {
    if (CONVERSIONS[i].from == from && CONVERSIONS[i].to == to) return CONVERSIONS[i].span;
  }
  return NULL;
}

/* ---- compile ----------------------------------------------------------------------------- */

static void set_bounds(quantize *p) {
  p->least = p->type == EDGE_INT8    ? INT8_MIN
             : p->type == EDGE_UINT8 ? 0
             : p->type == EDGE_INT16 ? INT16_MIN
                                     : INT32_MIN;
  p->most = p->type == EDGE_INT8    ? INT8_MAX
            : p->type == EDGE_UINT8 ? UINT8_MAX
            : p->type == EDGE_INT16 ? INT16_MAX
                                    : INT32_MAX;
}

static edge_status take(edge_compiler *c, edge_node *node, const quantize *made,
                        edge_unary_span *span) {
  quantize *p = edge_unary_params(c, node, sizeof *p, span);
  if (p == NULL) return edge_no_memory(c->error);
  const edge_unary unary = p->unary;
  *p = *made;
  p->unary = unary;
  return EDGE_OK;
}

static edge_status compile_float(edge_compiler *c, edge_node *node, quantize *made) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  node->kernel = "from f32";
  if (output->scale.count > 1) {
    EDGE_TRY(edge_channels_read(c, node, output, "an output", &made->channels));
    return take(c, node, made, NULL);
  }
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &made->output));
  const bool xnn = is_8bit(made->type) && edge_xnn_activation(output);
  if (xnn) edge_fold_unary(c, node);
  return take(c, node, made, xnn ? floats_xnn : floats_own);
}

static edge_status quantize_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  quantize made = {.type = output->type};
  edge_unary_span *span = conversion(input->type, output->type);
  const bool narrow = is_8bit(input->type) && is_8bit(output->type);
  const bool is_float =
      input->type == EDGE_FLOAT32 && (is_8bit(output->type) || output->type == EDGE_INT16);
  if (!is_float && !narrow && span == NULL) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected float32 or a quantized type to int8, uint8 or int16, got %s "
                          "to %s",
                          edge_type_name(input->type), edge_type_name(output->type));
  }
  set_bounds(&made);
  if (is_float) return compile_float(c, node, &made);
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &made.input));
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &made.output));
  const double ratio = (double)made.input.scale / (double)made.output.scale;
  EDGE_TRY(edge_expect_fixed(c, node, ratio, true, &made.fixed));
  if (narrow) return compile_8bit(c, node, &made);
  node->kernel = "between types";
  return take(c, node, &made, span);
}

static const quantize *per_channel(const edge_step *step, edge_type input) {
  const quantize *p = step->node->params;
  return input == EDGE_FLOAT32 && p->channels.count > 0 ? p : NULL;
}

static edge_status quantize_shape(edge_planner *planner, edge_step *step) {
  const quantize *p = per_channel(step, edge_tensor_in(planner, step, 0)->type);
  if (p != NULL) EDGE_TRY(edge_channels_shape(planner, step, &p->channels));
  return edge_unary_shape(planner, step);
}

static void quantize_run(const edge_frame *frame, const edge_step *step) {
  const edge_node *node = step->node;
  const quantize *p = per_channel(step, frame->graph->tensors[node->inputs[0]].type);
  if (p == NULL) {
    edge_unary_run(frame, step);
    return;
  }
  channels_job job = {p, edge_in(frame, step, 0), edge_out(frame, step, 0)};
  edge_channels_walk(&p->channels, &frame->views[node->inputs[0]], channel_run, &job);
}

const edge_operator edge_operator_quantize = {
    .code = 114,
    .name = "QUANTIZE",
    .version_max = 6,
    .options_type = 89,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = quantize_compile,
    .shape = quantize_shape,
    .run = quantize_run,
};
