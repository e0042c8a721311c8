/* ADD: int8 + int8, shapes broadcast.
 *
 * XNNPACK: both operands times integer multipliers of about 20 bits, one rounding shift; the fused
 * activation is a clamp behind it. LiteRT's optimised kernel: each operand shifted left by 20,
 * scaled, added, scaled again; its vector loops round the operands once where the scalar rest
 * rounds twice, so that a result depends on its place in the run. Both are followed here to the
 * bit.
 *
 * Source: XNNPACK src/qs8-vadd, src/microparams-init.c; tflite/kernels/add.cc,
 * internal/optimized/integer_ops/add.h; docs/numerics.md.
 */
#include <math.h>

#include "../broadcast.h"
#include "../fold.h"
#include "../operators.h"
#include "../rules.h"

typedef struct add_params {
  bool xnn;
  edge_qs8_vadd float_rule;
  edge_operands of;
  edge_fixed scale_a, scale_b, scale_out;
  edge_range range;
} add_params;

/* ---- compile ----------------------------------------------------------------------------- */

static bool ratio_ok(edge_quant operand, edge_quant output) {
  const float ratio = operand.scale / output.scale;
  return ratio >= 0x1p-10f && ratio < 0x1p8f;
}

static void prepare_float(add_params *p) {
  const float a = p->of.a.scale / p->of.output.scale;
  const float b = p->of.b.scale / p->of.output.scale;
  int exponent;
  (void)frexpf(fmaxf(a, b), &exponent); /* the larger is in [2^(exponent - 1), 2^exponent) */
  const int shift = 21 - exponent;
  const int32_t multiplier_a = edge_round_even(ldexpf(a, shift));
  const int32_t multiplier_b = edge_round_even(ldexpf(b, shift));
  p->float_rule = (edge_qs8_vadd){
      .bias = edge_wrap((INT64_C(1) << (shift - 1)) - (int64_t)p->of.a.zero_point * multiplier_a -
                        (int64_t)p->of.b.zero_point * multiplier_b),
      .multiplier_a = multiplier_a,
      .multiplier_b = multiplier_b,
      .shift = shift,
      .zero_point = p->of.output.zero_point,
      .min = p->range.min,
      .max = p->range.max,
  };
}

static edge_status prepare_fixed(edge_compiler *c, const edge_node *node, add_params *p) {
  const double twice = (double)(2.0f * fmaxf(p->of.a.scale, p->of.b.scale));
  const double out = twice / (double)(1048576.0f * p->of.output.scale);
  if (!(isfinite(twice) && out > 0.0 && out < 1.0)) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected scales within 2^19 of each other, got others");
  }
  p->scale_a = edge_fixed_of((double)p->of.a.scale / twice, true);
  p->scale_b = edge_fixed_of((double)p->of.b.scale / twice, true);
  p->scale_out = edge_fixed_of(out, true);
  return EDGE_OK;
}

static edge_status add_compile(edge_compiler *c, edge_node *node) {
  add_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_operands_read(c, node, &p->of));
  const int8_t activation = p->of.activation;
  p->xnn = p->of.xnn && ratio_ok(p->of.a, p->of.output) && ratio_ok(p->of.b, p->of.output);
  EDGE_TRY(edge_output_range(c, node, p->xnn, activation, p->of.output, &p->range));
  node->kernel = p->xnn ? "vadd" : "vadd, fixed-point rounding";
  if (!p->xnn) return prepare_fixed(c, node, p);
  (void)edge_fold_binary(c, node, activation != ACTIVATION_NONE);
  prepare_float(p);
  return EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct add_job {
  const add_params *p;
  const edge_kernels *kernels;
  const int8_t *a, *b;
  int8_t *out;
  bool by_runs; /* LiteRT's vector loops apply */
} add_job;

static void run_float(void *context, int64_t out, int64_t a, ptrdiff_t stride_a, int64_t b,
                      ptrdiff_t stride_b, int64_t count) {
  const add_job *job = context;
  job->kernels->qs8_vadd(job->out + out, job->a + a, stride_a, job->b + b, stride_b, (size_t)count,
                         &job->p->float_rule);
}

/* The first rounding of edge_multiply() alone. */
static int32_t multiply_high(int32_t value, int32_t multiplier) {
  return edge_wrap(((int64_t)value * multiplier + (INT64_C(1) << 30)) >> 31);
}

static int32_t shift_by(int32_t value, int32_t shift) {
  if (shift >= 0) return edge_wrap((int64_t)((uint64_t)(int64_t)value << shift));
  return value >> (shift < -31 ? 31 : -shift);
}

/* An operand as the loop over whole runs scales it: the shift and the scale's exponent are one. */
static int32_t scale_both(int32_t value, edge_fixed scale) {
  return multiply_high(shift_by(value, 20 + scale.exponent), scale.multiplier);
}

/* As the loop with one repeated operand does: the exponent afterwards, cut off. */
static int32_t scale_repeated(int32_t value, edge_fixed scale) {
  return shift_by(multiply_high(shift_by(value, 20), scale.multiplier), scale.exponent);
}

static int32_t scale_rest(int32_t value, edge_fixed scale) {
  return edge_multiply(shift_by(value, 20), scale);
}

/* Vector loops keep the low 16 bits of the sum, and of it with the zero point. */
static int8_t finish_vector(const add_params *p, int32_t sum) {
  const int16_t narrow = (int16_t)edge_multiply(sum, p->scale_out);
  const int16_t shifted = (int16_t)(narrow + p->of.output.zero_point);
  const int32_t value = edge_clamp(shifted, INT8_MIN, INT8_MAX);
  return (int8_t)edge_clamp(value, p->range.min, p->range.max);
}

static int8_t finish_rest(const add_params *p, int32_t sum) {
  const int64_t value = (int64_t)edge_multiply(sum, p->scale_out) + p->of.output.zero_point;
  return (int8_t)edge_clamp(value, p->range.min, p->range.max);
}

static void run_fixed(void *context, int64_t out, int64_t a, ptrdiff_t stride_a, int64_t b,
                      ptrdiff_t stride_b, int64_t count) {
  const add_job *job = context;
  const add_params *p = job->p;
  const bool both = stride_a == 1 && stride_b == 1;
  const int64_t group = both ? 16 : 8;
  const int64_t vector = job->by_runs ? count / group * group : 0;
  for (int64_t i = 0; i < count; i++) {
    const int32_t x = job->a[a + i * stride_a] - p->of.a.zero_point;
    const int32_t y = job->b[b + i * stride_b] - p->of.b.zero_point;
    if (i >= vector) {
      const int64_t sum = (int64_t)scale_rest(x, p->scale_a) + scale_rest(y, p->scale_b);
      job->out[out + i] = finish_rest(p, edge_wrap(sum));
    } else if (both) {
      const int64_t sum = (int64_t)scale_both(x, p->scale_a) + scale_both(y, p->scale_b);
      job->out[out + i] = finish_vector(p, edge_wrap(sum));
    } else {
      const int64_t sum = (int64_t)scale_repeated(x, p->scale_a) + scale_repeated(y, p->scale_b);
      job->out[out + i] = finish_vector(p, edge_wrap(sum));
    }
  }
}

static void add_run(const edge_frame *frame, const edge_step *step) {
  const edge_broadcast *broadcast = step->state;
  const add_params *p = step->node->params;
  add_job job = {.p = p,
                 .kernels = frame->model->kernels,
                 .a = edge_in(frame, step, 0),
                 .b = edge_in(frame, step, 1),
                 .out = edge_out(frame, step, 0),
                 .by_runs = edge_broadcast_five_fold(broadcast)};
  edge_broadcast_walk(broadcast, p->xnn ? run_float : run_fixed, &job);
}

const edge_operator edge_operator_add = {
    .code = 0,
    .name = "ADD",
    .version_max = 5,
    .options_type = 11,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = add_compile,
    .shape = edge_broadcast_shape,
    .run = add_run,
};
