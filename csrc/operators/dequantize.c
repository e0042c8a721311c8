/* DEQUANTIZE: int8, uint8, int16 and float16 -> float32, per tensor or per channel.
 *
 * XNNPACK takes 8 bits per tensor. The rest follows LiteRT's optimised kernels, whose vector loops
 * round otherwise than what is left behind the last whole vector; float16 is exact. Constants, but
 * for those of uint8 which XNNPACK takes, are computed once: they are weights.
 *
 * Source: XNNPACK src/reference/unary-elementwise.cc; tflite/kernels/dequantize.h,
 * internal/optimized/optimized_ops.h, internal/reference/dequantize.h; docs/numerics.md.
 */
#include <string.h>

#include "../channels.h"
#include "../fold.h"
#include "../half.h"
#include "../lookup.h"
#include "../operators.h"
#include "../unary.h"

typedef struct dequantize {
  edge_unary unary;
  edge_type type;
  edge_quant input;
  edge_channels channels;
} dequantize;

static uint32_t types(void) {
  return EDGE_TYPE_BIT(EDGE_INT8) | EDGE_TYPE_BIT(EDGE_UINT8) | EDGE_TYPE_BIT(EDGE_INT16) |
         EDGE_TYPE_BIT(EDGE_FLOAT16);
}

static int32_t value_at(edge_type type, const uint8_t *in, size_t i) {
  int16_t wide;
  if (type == EDGE_UINT8) return in[i];
  if (type == EDGE_INT8) return edge_byte_value(in[i]);
  memcpy(&wide, in + 2 * i, sizeof wide); /* a constant may lie anywhere */
  return wide;
}

/* ---- per tensor -------------------------------------------------------------------------- */

static void xnn_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const dequantize *p = (const dequantize *)(const void *)unary;
  float *to = out;
  for (size_t i = 0; i < count; i++) {
    to[i] = (float)(value_at(p->type, in, i) - p->input.zero_point) * p->input.scale;
  }
}

static void own_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const dequantize *p = (const dequantize *)(const void *)unary;
  const float offset = (float)((double)-p->input.zero_point * (double)p->input.scale);
  float *to = out;
  for (size_t i = 0; i < count; i++) {
    const int32_t value = value_at(p->type, in, i);
    const float scaled = (float)value * p->input.scale;
    const double exact = (double)p->input.scale * (double)(value - p->input.zero_point);
    to[i] = i < count / 8 * 8 ? scaled + offset : (float)exact;
  }
}

static void half_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const uint8_t *from = in;
  float *to = out;
  (void)unary;
  for (size_t i = 0; i < count; i++) {
    uint16_t bits;
    memcpy(&bits, from + 2 * i, sizeof bits);
    to[i] = edge_half_to_float(bits);
  }
}

/* ---- per channel ------------------------------------------------------------------------- */

typedef struct channels_job {
  edge_type type;
  const uint8_t *in;
  float *out;
} channels_job;

static void channel_run(void *context, edge_quant quant, int64_t at, int64_t count) {
  const channels_job *job = context;
  for (int64_t i = at; i < at + count; i++) {
    const int32_t value = value_at(job->type, job->in, (size_t)i) - quant.zero_point;
    job->out[i] = quant.scale * (float)value;
  }
}

/* ---- compile ----------------------------------------------------------------------------- */

static bool same_stored_shape(const edge_tensor *a, const edge_tensor *b) {
  return a->rank == b->rank && memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
}

static edge_status fold(edge_compiler *c, edge_node *node, const dequantize *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  float *out = edge_fold_constant(c, node);
  if (out == NULL) return edge_no_memory(c->error);
  channels_job job = {.type = p->type, .in = input->data, .out = out};
  edge_view view = {.rank = input->rank};
  memcpy(view.shape, input->shape, sizeof view.shape);
  if (p->channels.count > 0) {
    edge_channels_walk(&p->channels, &view, channel_run, &job);
  } else {
    p->unary.span(&p->unary, input->data, out, (size_t)edge_stored_count(input));
  }
  return EDGE_OK;
}

static edge_status read_quantization(edge_compiler *c, edge_node *node, dequantize *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  if (p->type == EDGE_FLOAT16) return EDGE_OK;
  if (input->scale.count > 1 && p->type != EDGE_INT16) {
    EDGE_TRY(edge_channels_read(c, node, input, "an input", &p->channels));
    if (input->shape[input->axis] == p->channels.count) return EDGE_OK;
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected as many scales as dimension %lld is long, %lld, got %lld",
                          (long long)input->axis, (long long)input->shape[input->axis],
                          (long long)p->channels.count);
  }
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &p->input));
  if (p->type != EDGE_INT16 || p->input.zero_point == 0) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected a zero point of 0 for int16, got %lld",
                        (long long)p->input.zero_point);
}

static edge_status dequantize_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_one_of(c, node, input, "an input", types()));
  EDGE_TRY(edge_expect_type(c, node, output, "an output", EDGE_FLOAT32));
  dequantize *p = edge_unary_params(c, node, sizeof *p, own_span);
  if (p == NULL) return edge_no_memory(c->error);
  p->type = input->type;
  EDGE_TRY(read_quantization(c, node, p));
  node->kernel = p->type == EDGE_FLOAT16 ? "f16 to f32" : "to f32";
  if (p->type == EDGE_FLOAT16) p->unary.span = half_span;
  /* The delegate unpacks int8 constants itself, by LiteRT's own kernel. */
  const bool xnn = (p->type == EDGE_UINT8 || (p->type == EDGE_INT8 && input->data == NULL)) &&
                   edge_xnn_activation(input);
  if (xnn) {
    p->unary.span = xnn_span;
    edge_fold_unary(c, node);
  }
  const bool constant = !xnn && input->data != NULL && same_stored_shape(input, output);
  return constant ? fold(c, node, p) : EDGE_OK;
}

static edge_status dequantize_shape(edge_planner *planner, edge_step *step) {
  const dequantize *p = step->node->params;
  if (p->channels.count > 0) EDGE_TRY(edge_channels_shape(planner, step, &p->channels));
  return edge_unary_shape(planner, step);
}

static void dequantize_run(const edge_frame *frame, const edge_step *step) {
  const dequantize *p = step->node->params;
  channels_job job = {p->type, edge_in(frame, step, 0), edge_out(frame, step, 0)};
  if (p->channels.count == 0) {
    edge_unary_run(frame, step);
    return;
  }
  edge_channels_walk(&p->channels, &frame->views[step->node->inputs[0]], channel_run, &job);
}

const edge_operator edge_operator_dequantize = {
    .code = 6,
    .name = "DEQUANTIZE",
    .version_max = 9,
    .options_type = 38,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = dequantize_compile,
    .shape = dequantize_shape,
    .run = dequantize_run,
};
