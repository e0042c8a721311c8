/* SOFTMAX over the last dimension: int8 and uint8, to the same type or int16; int16; float32.
 *
 * XNNPACK takes float32 alone. LiteRT's optimised kernel for 8 bits: a table of e^(-scale * beta *
 * i) for i = 0 ... 255 in float32, summed from left to right, each entry times 1 / (sum * output
 * scale), rounded half away from zero. For int16: fixed point, by tables of e^x in [-10, 0] and of
 * 1 / (1 + x) in [0, 1].
 *
 * Source: tflite/kernels/activations.cc, internal/optimized/optimized_ops.h,
 * internal/reference/softmax.h; docs/numerics.md.
 */
#include <math.h>

#include "../float_functions.h"
#include "../functions.h"
#include "../lookup.h"
#include "../operators.h"
#include "../rows.h"

typedef struct softmax8 {
  edge_rows rows;
  edge_quant output;
  float table[256]; /* by distance from the row's maximum */
} softmax8;

typedef struct softmax16 {
  edge_rows rows;
  edge_fixed scale; /* of distances, so that 65,535 is 10 */
  int16_t exp[EDGE_TABLE16];
  int16_t reciprocal[EDGE_TABLE16];
} softmax16;

typedef struct softmax_floats {
  edge_rows rows;
  float beta;
} softmax_floats;

/* ---- 8 bits ------------------------------------------------------------------------------ */

/* Values are at least 0, so that half away from zero is half up. What LiteRT cannot convert
 * saturates. */
static int32_t round_up(float value) {
  if (!(value < 65536.0f)) return 65536;
  const float floor = (float)(int32_t)value;
  return (int32_t)floor + (value - floor >= 0.5f);
}

/* One row; the types differ, the arithmetic does not. */
#define SOFTMAX_ROW(name, from_type, to_type, least_in, store)                        \
  static void name(const edge_rows *rows, const void *in, void *out, int32_t depth) { \
    const softmax8 *p = (const softmax8 *)(const void *)rows;                         \
    const from_type *from = in;                                                       \
    to_type *to = out;                                                                \
    int32_t most = least_in;                                                          \
    float sum = 0.0f;                                                                 \
    for (int32_t i = 0; i < depth; i++) most = from[i] > most ? from[i] : most;       \
    for (int32_t i = 0; i < depth; i++) sum += p->table[most - from[i]];              \
    const float whole = sum * p->output.scale;                                        \
    const float inverse = 1.0f / whole;                                               \
    for (int32_t i = 0; i < depth; i++) {                                             \
      const float value = p->table[most - from[i]] * inverse;                         \
      to[i] = (to_type)(store);                                                       \
    }                                                                                 \
  }

static int32_t with_zero(const softmax8 *p, float value, int32_t least, int32_t most) {
  return edge_clamp((int64_t)round_up(value) + p->output.zero_point, least, most);
}

/* LiteRT's own rounding of uint8, which leaves the zero point out. */
static int32_t without_zero(float value) {
  const float shifted = value + 0.5f;
  return shifted < 256.0f ? (int32_t)shifted : UINT8_MAX;
}

SOFTMAX_ROW(i8_to_i8, int8_t, int8_t, INT8_MIN, with_zero(p, value, INT8_MIN, INT8_MAX))
SOFTMAX_ROW(i8_to_i16, int8_t, int16_t, INT8_MIN, with_zero(p, value, INT16_MIN, INT16_MAX))
SOFTMAX_ROW(u8_to_i16, uint8_t, int16_t, 0, with_zero(p, value, INT16_MIN, INT16_MAX))
SOFTMAX_ROW(u8_to_u8, uint8_t, uint8_t, 0, without_zero(value))

static edge_rows_fn *row_of(edge_type from, edge_type to) {
  if (to == EDGE_INT16) return from == EDGE_INT8 ? i8_to_i16 : u8_to_i16;
  return from == EDGE_INT8 ? i8_to_i8 : u8_to_u8;
}

static bool scale_is_near(float scale, float wanted) {
  return fabsf(scale - wanted) <= 0.001f * wanted;
}

static edge_status compile8(edge_compiler *c, edge_node *node, float beta) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  edge_quant quant;
  const uint32_t outputs = EDGE_TYPE_BIT(input->type) | EDGE_TYPE_BIT(EDGE_INT16);
  EDGE_TRY(edge_expect_one_of(c, node, output, "an output", outputs));
  softmax8 *p = edge_rows_params(c, node, sizeof *p, row_of(input->type, output->type));
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &quant));
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &p->output));
  if (output->type == EDGE_INT8 &&
      (p->output.zero_point != -128 || !scale_is_near(p->output.scale, 0x1p-8f))) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an output of scale 1/256 and zero point -128, got %g and %lld",
                          (double)p->output.scale, (long long)p->output.zero_point);
  }
  const float step = -quant.scale * beta;
  for (int32_t i = 0; i < 256; i++) p->table[i] = edge_expf(step * (float)i);
  node->kernel = "softmax by table";
  return EDGE_OK;
}

/* ---- int16 ------------------------------------------------------------------------------- */

static int32_t leading_zeros(uint32_t value) {
  int32_t count = 0;
  while (count < 32 && (value >> (31 - count) & 1) == 0) count++;
  return count;
}

static int16_t exp16(const softmax16 *p, int32_t difference) {
  const int64_t scaled = edge_multiply(difference, p->scale);
  return edge_table16_at(p->exp, (int16_t)edge_clamp(scaled + INT16_MAX, INT16_MIN, INT16_MAX));
}

/* exp16() of the row's maximum is 2^15 - 1 or next to it, so that sums have 1 ... 17 leading zeros.
 * LiteRT's sum wraps at 2^31, where this one stops. */
static void row16(const edge_rows *rows, const void *in, void *out, int32_t depth) {
  const softmax16 *p = (const softmax16 *)(const void *)rows;
  const int16_t *from = in;
  int16_t *to = out;
  int32_t most = INT16_MIN;
  int64_t sum = 0;
  for (int32_t i = 0; i < depth; i++) most = from[i] > most ? from[i] : most;
  for (int32_t i = 0; i < depth; i++) sum += to[i] = exp16(p, from[i] - most);
  const uint32_t total = (uint32_t)edge_clamp(sum, 1 << 14, INT32_MAX);
  /* The sum has 14 bits at least and 31 at most. */
  const int32_t headroom = edge_clamp(leading_zeros(total), 1, 17);
  const int64_t shifted = (((int64_t)total << (headroom - 1)) + (1 << 13)) >> 14;
  const int32_t centred = edge_clamp(shifted - (1 << 15) - (1 << 16), INT16_MIN, INT16_MAX);
  const int64_t reciprocal = edge_table16_at(p->reciprocal, (int16_t)centred);
  const int32_t right = 31 - headroom;
  for (int32_t i = 0; i < depth; i++) {
    const int64_t value = (to[i] * reciprocal + (INT64_C(1) << (right - 1))) >> right;
    to[i] = (int16_t)edge_clamp(value, 0, INT16_MAX);
  }
}

static double reciprocal_of(double x) {
  return 1.0 / (1.0 + x);
}

static edge_status compile16(edge_compiler *c, edge_node *node, float beta) {
  edge_quant input;
  edge_quant output;
  EDGE_TRY(edge_unary_types(c, node, EDGE_TYPE_BIT(EDGE_INT16)));
  softmax16 *p = edge_rows_params(c, node, sizeof *p, row16);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_unary_quants(c, node, &input, &output));
  if (!scale_is_near(output.scale, 0x1p-15f)) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an int16 output of scale 1/32768, got %g",
                          (double)output.scale);
  }
  const double scale = (double)(input.scale * beta) / (10.0 / 65535.0);
  EDGE_TRY(edge_expect_fixed(c, node, scale, true, &p->scale));
  edge_table16_double(p->exp, edge_exp, 10.0 / 65535.0, INT16_MAX, 2.0 / 65535.0);
  edge_table16_double(p->reciprocal, reciprocal_of, 1.0 / 65535.0, INT16_MIN, 2.0 / 65535.0);
  node->kernel = "i16 fixed point";
  return EDGE_OK;
}

/* ---- float32 ----------------------------------------------------------------------------- */

/* Eight sums side by side, so that compilers need not reorder to make vectors of them. */
static void row_floats(const edge_rows *rows, const void *in, void *out, int32_t depth) {
  const float beta = ((const softmax_floats *)(const void *)rows)->beta;
  const float *from = in;
  float *to = out;
  float most = from[0];
  float sums[8] = {0};
  for (int32_t i = 1; i < depth; i++) most = from[i] > most ? from[i] : most;
  for (int32_t i = 0; i < depth; i++) to[i] = edge_fast_exp((from[i] - most) * beta);
  for (int32_t i = 0; i < depth; i++) sums[i % 8] += to[i];
  const float sum =
      ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  const float inverse = 1.0f / sum;
  for (int32_t i = 0; i < depth; i++) to[i] *= inverse;
}

static edge_status compile_floats(edge_compiler *c, edge_node *node, float beta) {
  EDGE_TRY(edge_unary_types(c, node, EDGE_TYPE_BIT(EDGE_FLOAT32)));
  softmax_floats *p = edge_rows_params(c, node, sizeof *p, row_floats);
  if (p == NULL) return edge_no_memory(c->error);
  p->beta = beta;
  node->kernel = "f32";
  return EDGE_OK;
}

static edge_status softmax_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  float beta = 0.0f;
  if (!edge_table_f32(&node->options, SOFTMAX_BETA, 0.0f, &beta) || !isfinite(beta) ||
      beta <= 0.0f) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a beta that is finite and above 0, got %g", (double)beta);
  }
  EDGE_TRY(edge_expect_one_of(c, node, input, "an input",
                              EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT8) |
                                  EDGE_TYPE_BIT(EDGE_UINT8) | EDGE_TYPE_BIT(EDGE_INT16)));
  if (input->type == EDGE_FLOAT32) return compile_floats(c, node, beta);
  if (input->type == EDGE_INT16) return compile16(c, node, beta);
  return compile8(c, node, beta);
}

const edge_operator edge_operator_softmax = {
    .code = 25,
    .name = "SOFTMAX",
    .version_max = 4,
    .options_type = 9,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = softmax_compile,
    .shape = edge_rows_shape,
    .run = edge_rows_run,
};
