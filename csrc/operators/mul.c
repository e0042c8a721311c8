/* MUL: int8 * int8, shapes broadcast.
 *
 * XNNPACK: the product times a float32 scale, rounded half to even; the fused activation is a
 * clamp behind it. A tensor times itself is a square there, taken from a table, unless the node is
 * part of a chain that becomes a table itself (fold.h). LiteRT's optimised kernel: a fixed-point
 * multiplier; its vector loop adds the zero point in 16 bits.
 *
 * Source: XNNPACK src/qs8-vmul, src/subgraph/multiply2.c; tflite/kernels/mul.cc,
 * internal/optimized/integer_ops/mul.h; docs/numerics.md.
 */
#include "../broadcast.h"
#include "../fold.h"
#include "../operators.h"
#include "../rules.h"
#include "../table.h"

typedef enum mul_rule { MUL_FLOAT, MUL_SQUARE, MUL_FIXED } mul_rule;

typedef struct mul_params {
  mul_rule rule;
  edge_qs8_vmul float_rule;
  edge_operands of;
  edge_fixed fixed;
  edge_range range;
  edge_table8 square;
} mul_params;

static float square(float x) {
  return x * x;
}

static edge_status choose_rule(edge_compiler *c, edge_node *node, mul_params *p, bool xnn,
                               float scale) {
  if (!xnn) {
    p->rule = MUL_FIXED;
    node->kernel = "vmul, fixed-point rounding";
    return edge_expect_fixed(c, node, (double)scale, true, &p->fixed);
  }
  const bool folded = edge_fold_binary(c, node, p->of.activation != ACTIVATION_NONE);
  p->rule = node->inputs[0] == node->inputs[1] && !folded ? MUL_SQUARE : MUL_FLOAT;
  node->kernel = p->rule == MUL_SQUARE ? "lut" : "vmul";
  if (p->rule == MUL_SQUARE) {
    edge_table8_float(&p->square, square, p->of.a, p->of.output, p->range);
    return EDGE_OK;
  }
  p->float_rule = (edge_qs8_vmul){.zero_a = p->of.a.zero_point,
                                  .zero_b = p->of.b.zero_point,
                                  .zero_point = p->of.output.zero_point,
                                  .scale = scale,
                                  .min = p->range.min,
                                  .max = p->range.max};
  return EDGE_OK;
}

static edge_status mul_compile(edge_compiler *c, edge_node *node) {
  mul_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_operands_read(c, node, &p->of));
  const float product = p->of.a.scale * p->of.b.scale;
  const float scale = product / p->of.output.scale;
  /* NaN and infinity fail both comparisons. */
  const bool xnn = p->of.xnn && scale >= 0x1p-16f && scale < 0x1p8f;
  EDGE_TRY(edge_output_range(c, node, xnn, p->of.activation, p->of.output, &p->range));
  return choose_rule(c, node, p, xnn, scale);
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct mul_job {
  const mul_params *p;
  const edge_kernels *kernels;
  const int8_t *a, *b;
  int8_t *out;
  bool by_runs;
} mul_job;

static void run_float(void *context, int64_t out, int64_t a, ptrdiff_t stride_a, int64_t b,
                      ptrdiff_t stride_b, int64_t count) {
  const mul_job *job = context;
  job->kernels->qs8_vmul(job->out + out, job->a + a, stride_a, job->b + b, stride_b, (size_t)count,
                         &job->p->float_rule);
}

static void run_square(void *context, int64_t out, int64_t a, ptrdiff_t stride_a, int64_t b,
                       ptrdiff_t stride_b, int64_t count) {
  const mul_job *job = context;
  (void)stride_a;
  (void)b;
  (void)stride_b;
  job->kernels->x8_lut((uint8_t *)job->out + out, (const uint8_t *)job->a + a, (size_t)count,
                       job->p->square.bytes);
}

static void run_fixed(void *context, int64_t out, int64_t a, ptrdiff_t stride_a, int64_t b,
                      ptrdiff_t stride_b, int64_t count) {
  const mul_job *job = context;
  const mul_params *p = job->p;
  const int64_t vector = job->by_runs ? count / 16 * 16 : 0;
  for (int64_t i = 0; i < count; i++) {
    const int32_t x = job->a[a + i * stride_a] - p->of.a.zero_point;
    const int32_t y = job->b[b + i * stride_b] - p->of.b.zero_point;
    int64_t value = edge_multiply(x * y, p->fixed);
    if (i < vector) {
      const int16_t narrow = (int16_t)edge_clamp(value, INT16_MIN, INT16_MAX);
      value = edge_clamp((int16_t)(narrow + p->of.output.zero_point), INT8_MIN, INT8_MAX);
    } else {
      value = edge_wrap(value + p->of.output.zero_point);
    }
    job->out[out + i] = (int8_t)edge_clamp(value, p->range.min, p->range.max);
  }
}

static void mul_run(const edge_frame *frame, const edge_step *step) {
  static edge_broadcast_run_fn *const runs[] = {run_float, run_square, run_fixed};
  const edge_broadcast *broadcast = step->state;
  const mul_params *p = step->node->params;
  mul_job job = {.p = p,
                 .kernels = frame->model->kernels,
                 .a = edge_in(frame, step, 0),
                 .b = edge_in(frame, step, 1),
                 .out = edge_out(frame, step, 0),
                 .by_runs = edge_broadcast_five_fold(broadcast)};
  edge_broadcast_walk(broadcast, runs[p->rule], &job);
}

const edge_operator edge_operator_mul = {
    .code = 18,
    .name = "MUL",
    .version_max = 7,
    .options_type = 21,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = mul_compile,
    .shape = edge_broadcast_shape,
    .run = mul_run,
};
