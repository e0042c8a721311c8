/* LOG_SOFTMAX and L2_NORMALIZATION over the last dimension: int8, uint8, float32. Never XNNPACK's.
 *
 * LOG_SOFTMAX of 8 bits: float32, by SOFTMAX's table of exponentials, halves to even.
 * L2_NORMALIZATION of 8 bits: integers, by gemmlowp's inverse square root.
 *
 * Source: tflite/kernels/activations.cc, l2norm.cc, internal/optimized/optimized_ops.h,
 * internal/reference/integer_ops/l2normalization.h; docs/numerics.md.
 */
#include <math.h>

#include "../fixed_point.h"
#include "../float_functions.h"
#include "../functions.h"
#include "../operators.h"
#include "../rows.h"
#include "../unary.h"

static uint32_t types(void) {
  return EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT8) | EDGE_TYPE_BIT(EDGE_UINT8);
}

typedef struct row_params {
  edge_rows rows;
  bool is_signed;
  edge_quant input, output;
  float table[256];
} row_params;

static int32_t value_at(const row_params *p, const void *in, int32_t i) {
  return p->is_signed ? ((const int8_t *)in)[i] : ((const uint8_t *)in)[i];
}

static void store(const row_params *p, void *out, int32_t i, int64_t value) {
  const int32_t least = p->is_signed ? INT8_MIN : 0;
  const int32_t most = p->is_signed ? INT8_MAX : UINT8_MAX;
  ((uint8_t *)out)[i] = (uint8_t)edge_clamp(value, least, most);
}

/* Output scale and zero point are given by the operator. */
static edge_status compile8(edge_compiler *c, edge_node *node, edge_rows_fn *row, float scale,
                            int32_t zero_signed, int32_t zero_unsigned) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  row_params *p = edge_rows_params(c, node, sizeof *p, row);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &p->input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &p->output));
  p->is_signed = input->type == EDGE_INT8;
  const int32_t zero = p->is_signed ? zero_signed : zero_unsigned;
  if (p->output.scale == scale && p->output.zero_point == zero) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected an output of scale 1/%lld and zero point %lld, got %g and %lld",
                        (long long)(1.0f / scale), (long long)zero, (double)p->output.scale,
                        (long long)p->output.zero_point);
}

static edge_status compile_floats(edge_compiler *c, edge_node *node, edge_rows_fn *row) {
  node->kernel = "f32";
  return edge_rows_params(c, node, sizeof(edge_rows), row) ? EDGE_OK : edge_no_memory(c->error);
}

/* ---- LOG_SOFTMAX ------------------------------------------------------------------------- */

static void log_softmax8(const edge_rows *rows, const void *in, void *out, int32_t depth) {
  const row_params *p = (const row_params *)(const void *)rows;
  int32_t most = p->is_signed ? INT8_MIN : 0;
  float sum = 0.0f;
  for (int32_t i = 0; i < depth; i++) {
    const int32_t value = value_at(p, in, i);
    most = value > most ? value : most;
  }
  for (int32_t i = 0; i < depth; i++) sum += p->table[most - value_at(p, in, i)];
  const float scale = p->input.scale / p->output.scale;
  const float top = p->input.scale * (float)most;
  const float shift = (top + edge_logf(sum)) / p->output.scale;
  for (int32_t i = 0; i < depth; i++) {
    const float scaled = scale * (float)value_at(p, in, i);
    const float value = rintf(scaled - shift);
    store(p, out, i, (int64_t)fmaxf(-65536.0f, fminf(value, 65536.0f)) + p->output.zero_point);
  }
}

static void log_softmax_floats(const edge_rows *rows, const void *in, void *out, int32_t depth) {
  const float *from = in;
  float *to = out;
  float most = from[0];
  float sums[8] = {0};
  (void)rows;
  for (int32_t i = 1; i < depth; i++) most = from[i] > most ? from[i] : most;
  for (int32_t i = 0; i < depth; i++) to[i] = edge_fast_exp(from[i] - most);
  for (int32_t i = 0; i < depth; i++) sums[i % 8] += to[i];
  const float sum =
      ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  const float log_sum = edge_logf(sum);
  for (int32_t i = 0; i < depth; i++) to[i] = (from[i] - most) - log_sum;
}

static edge_status log_softmax_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_unary_types(c, node, types()));
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) {
    return compile_floats(c, node, log_softmax_floats);
  }
  EDGE_TRY(compile8(c, node, log_softmax8, 16.0f / 256.0f, 127, 255));
  row_params *p = node->params;
  for (int32_t i = 0; i < 256; i++) p->table[i] = edge_expf(-p->input.scale * (float)i);
  node->kernel = "softmax by table";
  return EDGE_OK;
}

/* ---- L2_NORMALIZATION -------------------------------------------------------------------- */

static void l2_norm8(const edge_rows *rows, const void *in, void *out, int32_t depth) {
  const row_params *p = (const row_params *)(const void *)rows;
  uint32_t sum = 0;
  for (int32_t i = 0; i < depth; i++) {
    const int32_t x = value_at(p, in, i) - p->input.zero_point;
    sum += (uint32_t)(x * x);
  }
  edge_fixed inverse = edge_inverse_sqrt(edge_wrap(sum));
  /* 1/128 is the output's scale. LiteRT multiplies int8 after its shift, uint8 before. */
  if (p->is_signed) inverse.exponent = (int16_t)(inverse.exponent + 7);
  for (int32_t i = 0; i < depth; i++) {
    const int32_t x = value_at(p, in, i) - p->input.zero_point;
    const int32_t scaled = edge_multiply(p->is_signed ? x : x * 128, inverse);
    store(p, out, i, (int64_t)scaled + p->output.zero_point);
  }
}

static void l2_norm_floats(const edge_rows *rows, const void *in, void *out, int32_t depth) {
  const float *from = in;
  float *to = out;
  float sum = 0.0f;
  (void)rows;
  for (int32_t i = 0; i < depth; i++) sum += from[i] * from[i];
  const float root = sqrtf(sum);
  const float norm = root < 1e-6f ? 1e-6f : root;
  for (int32_t i = 0; i < depth; i++) to[i] = from[i] / norm;
}

static edge_status l2_norm_compile(edge_compiler *c, edge_node *node) {
  int8_t activation;
  EDGE_TRY(edge_unary_types(c, node, types()));
  EDGE_TRY(edge_read_activation(c, node, L2_NORM_FUSED_ACTIVATION_FUNCTION, &activation));
  if (activation != ACTIVATION_NONE) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected no fused activation, got %lld", (long long)activation);
  }
  if (edge_node_input(c, node, 0)->type == EDGE_FLOAT32) {
    return compile_floats(c, node, l2_norm_floats);
  }
  node->kernel = "fixed point";
  return compile8(c, node, l2_norm8, 1.0f / 128.0f, 0, 128);
}

#define EDGE_ROWS(symbol, code_, name_, options_, compile_)                 \
  const edge_operator edge_operator_##symbol = {.code = (code_),            \
                                                .name = (name_),            \
                                                .version_max = 2,           \
                                                .options_type = (options_), \
                                                .inputs_min = 1,            \
                                                .inputs_max = 1,            \
                                                .compile = (compile_),      \
                                                .shape = edge_rows_shape,   \
                                                .run = edge_rows_run}

EDGE_ROWS(log_softmax, 50, "LOG_SOFTMAX", 36, log_softmax_compile);
EDGE_ROWS(l2_normalization, 11, "L2_NORMALIZATION", 12, l2_norm_compile);
