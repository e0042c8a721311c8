/* ADD and SUB: int8, uint8 and int16, quantized; float32, int32 and int64; ADD also int16 that is
 * not quantized. Shapes broadcast.
 *
 * XNNPACK, 8 bits: both operands times integer multipliers of about 20 bits, one rounding shift;
 * the fused activation is a clamp behind it. LiteRT's optimised kernels: each operand shifted left
 * by 20 (16 bits: 15), scaled, added, scaled again; the vector loops of ADD round the operands once
 * where the scalar rest rounds twice, so that a result depends on its place in the run. SUB has no
 * such loops. Both rules are followed here to the bit. int16 whose scales are powers of two is
 * shifted and added, saturating.
 *
 * Source: XNNPACK src/qs8-vadd, src/microparams-init.c; tflite/kernels/add.cc, sub.cc,
 * internal/optimized/integer_ops/add.h, internal/optimized/optimized_ops.h,
 * internal/reference/sub.h; docs/numerics.md.
 */
#include <math.h>

#include "../binary.h"
#include "../fold.h"
#include "../operators.h"

typedef struct add_params {
  edge_binary binary;
  int32_t sign; /* of the second operand */
  edge_operands of;
  edge_range range;
  edge_qs8_vadd float_rule;
  int32_t left; /* bits that operands are shifted by */
  edge_fixed scale_a, scale_b, scale_out;
  int32_t shift_a, shift_b; /* to the right, where scales are powers of two */
  edge_bounds bounds;       /* of types that are not quantized */
} add_params;

/* ---- types that are not quantized -------------------------------------------------------- */

#define ADD_BOUNDS(T)                \
  const add_params *p = job->params; \
  const T low = (T)p->bounds.low;    \
  const T high = (T)p->bounds.high
#define ADD_WRAPPED(name, T, U, op)                         \
  static T name##_bounded(U sum, T low, T high) {           \
    const T value = (T)sum;                                 \
    return value < low ? low : value > high ? high : value; \
  }                                                         \
  EDGE_BINARY_LOOP(name, T, T, ADD_BOUNDS(T), name##_bounded((U)((U)x op(U) y), low, high))
#define ADD_FLOAT(name, op)                                                              \
  EDGE_BINARY_LOOP(name, float, float,                                                   \
                   const edge_bounds bounds = ((const add_params *)job->params)->bounds, \
                   edge_clamp_float(x op y, bounds.real))

ADD_FLOAT(add_f32, +)
ADD_FLOAT(sub_f32, -)
ADD_WRAPPED(add_s16, int16_t, uint16_t, +)
ADD_WRAPPED(add_s32, int32_t, uint32_t, +)
ADD_WRAPPED(sub_s32, int32_t, uint32_t, -)
ADD_WRAPPED(add_s64, int64_t, uint64_t, +)
ADD_WRAPPED(sub_s64, int64_t, uint64_t, -)

/* ---- XNNPACK's rule ---------------------------------------------------------------------- */

static void float_s8(void *context, const edge_run *run) {
  const edge_binary_job *job = context;
  const add_params *p = job->params;
  job->kernels->qs8_vadd((int8_t *)job->out + run->out, (const int8_t *)job->a + run->at[0],
                         run->stride[0], (const int8_t *)job->b + run->at[1], run->stride[1],
                         (size_t)run->count, &p->float_rule);
}

static inline int32_t float_sum(const edge_qs8_vadd *rule, int32_t x, int32_t y) {
  const int64_t sum =
      rule->bias + (int64_t)x * rule->multiplier_a + (int64_t)y * rule->multiplier_b;
  return edge_clamp((edge_wrap(sum) >> rule->shift) + rule->zero_point, rule->min, rule->max);
}

EDGE_BINARY_LOOP(float_u8, uint8_t, uint8_t,
                 const edge_qs8_vadd rule = ((const add_params *)job->params)->float_rule,
                 float_sum(&rule, x, y))

/* ---- the optimised rule ------------------------------------------------------------------ */

/* The first rounding of edge_multiply() alone. */
static inline int32_t multiply_high(int32_t value, int32_t multiplier) {
  return edge_wrap(((int64_t)value * multiplier + (INT64_C(1) << 30)) >> 31);
}

static inline int32_t shift_by(int32_t value, int32_t shift) {
  if (shift >= 0) return edge_wrap((int64_t)((uint64_t)(int64_t)value << shift));
  return value >> (shift < -31 ? 31 : -shift);
}

/* An operand as the loop over whole runs scales it: the shift and the scale's exponent are one. */
static inline int32_t scale_both(int32_t value, int32_t left, edge_fixed scale) {
  return multiply_high(shift_by(value, left + scale.exponent), scale.multiplier);
}

/* As the loop with one repeated operand does, and both of uint8: the exponent afterwards, cut
 * off. */
static inline int32_t scale_cut(int32_t value, int32_t left, edge_fixed scale) {
  return shift_by(multiply_high(shift_by(value, left), scale.multiplier), scale.exponent);
}

static inline int32_t scale_rest(int32_t value, int32_t left, edge_fixed scale) {
  return edge_multiply(shift_by(value, left), scale);
}

static inline int32_t finish(const add_params *p, int64_t sum) {
  const int64_t value =
      (int64_t)edge_multiply(edge_wrap(sum), p->scale_out) + p->of.output.zero_point;
  return edge_clamp(value, p->range.min, p->range.max);
}

/* Vector loops of 8 bits keep the low 16 bits of the sum, and of it with the zero point. */
static inline int32_t finish_narrow(const add_params *p, int64_t sum) {
  const int16_t narrow = (int16_t)edge_multiply(edge_wrap(sum), p->scale_out);
  const int16_t shifted = (int16_t)(narrow + p->of.output.zero_point);
  return edge_clamp(shifted, p->range.min, p->range.max);
}

static inline int32_t fixed_rest(const add_params *p, int32_t x, int32_t y) {
  const int64_t scaled_x = scale_rest(x - p->of.a.zero_point, p->left, p->scale_a);
  const int64_t scaled_y = scale_rest(y - p->of.b.zero_point, p->left, p->scale_b);
  return finish(p, scaled_x + p->sign * scaled_y);
}

static inline int32_t fixed_both(const add_params *p, int32_t x, int32_t y) {
  const int64_t scaled_x = scale_both(x - p->of.a.zero_point, p->left, p->scale_a);
  const int64_t scaled_y = scale_both(y - p->of.b.zero_point, p->left, p->scale_b);
  return p->left == 15 ? finish(p, scaled_x + scaled_y) : finish_narrow(p, scaled_x + scaled_y);
}

static inline int32_t fixed_cut(const add_params *p, int32_t x, int32_t y) {
  const int64_t scaled_x = scale_cut(x - p->of.a.zero_point, p->left, p->scale_a);
  const int64_t scaled_y = scale_cut(y - p->of.b.zero_point, p->left, p->scale_b);
  return finish_narrow(p, scaled_x + scaled_y);
}

/* How many elements of a run LiteRT's vector loops take. */
static int64_t in_groups(const edge_binary_job *job, const edge_run *run, int64_t group) {
  return job->by_runs ? run->count / group * group : 0;
}

static bool moves_both(const edge_run *run) {
  return run->stride[0] != 0 && run->stride[1] != 0;
}

EDGE_BINARY_LOOP(add_fixed_s8, int8_t, int8_t, const add_params *p = job->params;
                 const bool both = moves_both(run);
                 const int64_t vector = in_groups(job, run, both ? 16 : 8),
                 i >= vector ? fixed_rest(p, x, y)
                 : both      ? fixed_both(p, x, y)
                             : fixed_cut(p, x, y))
EDGE_BINARY_LOOP(add_fixed_u8, uint8_t, uint8_t, const add_params *p = job->params;
                 const int64_t vector = in_groups(job, run, 8),
                 i >= vector ? fixed_rest(p, x, y) : fixed_cut(p, x, y))
/* The vector loop of 16 bits is for operands of one shape only. */
EDGE_BINARY_LOOP(add_fixed_s16, int16_t, int16_t, const add_params *p = job->params;
                 const int64_t vector = edge_broadcast_whole(job->broadcast)
                                            ? in_groups(job, run, 16)
                                            : 0,
                 i >= vector ? fixed_rest(p, x, y) : fixed_both(p, x, y))
EDGE_BINARY_LOOP(sub_fixed_s8, int8_t, int8_t, const add_params *p = job->params,
                 fixed_rest(p, x, y))
EDGE_BINARY_LOOP(sub_fixed_u8, uint8_t, uint8_t, const add_params *p = job->params,
                 fixed_rest(p, x, y))
EDGE_BINARY_LOOP(sub_fixed_s16, int16_t, int16_t, const add_params *p = job->params,
                 fixed_rest(p, x, y))

/* ---- int16 whose scales are powers of two ------------------------------------------------ */

/* Halves away from zero. */
static inline int32_t divide_by_power(int32_t value, int32_t shift) {
  const int64_t mask = (INT64_C(1) << shift) - 1;
  const int64_t threshold = (mask >> 1) + (value < 0);
  return (value >> shift) + ((value & mask) > threshold);
}

static inline int32_t power_sum(const add_params *p, int32_t x, int32_t y) {
  const int32_t sum = divide_by_power(x, p->shift_a) + p->sign * divide_by_power(y, p->shift_b);
  return edge_clamp(sum, p->range.min, p->range.max);
}

EDGE_BINARY_LOOP(power_s16, int16_t, int16_t, const add_params *p = job->params, power_sum(p, x, y))

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
  const int32_t multiplier_b = p->sign * edge_round_even(ldexpf(b, shift));
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
  p->left = p->binary.type == EDGE_INT16 ? 15 : 20;
  const double out = twice / (double)((float)(1 << p->left) * p->of.output.scale);
  if (!(isfinite(twice) && out > 0.0 && out < 1.0)) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected scales within 2^%lld of each other, got %g and %g for %g",
                          (long long)p->left - 1, (double)p->of.a.scale, (double)p->of.b.scale,
                          (double)p->of.output.scale);
  }
  p->scale_a = edge_fixed_of((double)p->of.a.scale / twice, true);
  p->scale_b = edge_fixed_of((double)p->of.b.scale / twice, true);
  p->scale_out = edge_fixed_of(out, true);
  return EDGE_OK;
}

/* Whether a scale is within 2^0.001 of a power of two, as LiteRT asks it. */
static bool is_power(float scale, int32_t *exponent) {
  int e;
  const float fraction = frexpf(scale, &e); /* in [1/2, 1) */
  *exponent = fraction < 0.70710678f ? e - 1 : e;
  return fraction < 0.50034669f || fraction > 0.99930709f;
}

/* Sets `powers` where int16 is shifted only. */
static edge_status prepare_powers(edge_compiler *c, const edge_node *node, add_params *p,
                                  bool *powers) {
  int32_t a, b, out;
  if (!edge_table_bool(&node->options, SUB_POT_SCALE_INT16, true, powers)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  *powers = *powers && is_power(p->of.a.scale, &a) && is_power(p->of.b.scale, &b) &&
            is_power(p->of.output.scale, &out);
  if (!*powers) return EDGE_OK;
  p->shift_a = out - a;
  p->shift_b = out - b;
  const bool one = p->shift_a == 0 || p->shift_b == 0;
  if (one && p->shift_a >= 0 && p->shift_b >= 0 && p->shift_a <= 31 && p->shift_b <= 31) {
    return EDGE_OK;
  }
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected one operand with the output's scale and no coarser one, got "
                        "others");
}

static edge_status prepare_quantized(edge_compiler *c, edge_node *node, add_params *p) {
  const bool wide = p->binary.type == EDGE_INT16;
  bool powers = false;
  int8_t activation;
  EDGE_TRY(edge_read_activation(c, node, BINARY_ACTIVATION, &activation));
  EDGE_TRY(edge_operands_read(c, node, &p->of));
  const bool xnn = p->of.xnn && ratio_ok(p->of.a, p->of.output) && ratio_ok(p->of.b, p->of.output);
  EDGE_TRY(edge_read_range(c, node, BINARY_ACTIVATION, xnn, p->of.output, &p->range));
  node->kernel = xnn ? "vadd" : "vadd, fixed-point rounding";
  if (wide) EDGE_TRY(prepare_powers(c, node, p, &powers));
  if (powers) p->binary.run = power_s16;
  if (powers) return EDGE_OK;
  if (!xnn) return prepare_fixed(c, node, p);
  p->binary.run = p->binary.type == EDGE_INT8 ? float_s8 : float_u8;
  (void)edge_fold_binary(c, node, activation != ACTIVATION_NONE);
  prepare_float(p);
  return EDGE_OK;
}

static edge_status compile(edge_compiler *c, edge_node *node, const edge_binary_type *types,
                           int32_t sign) {
  add_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->sign = sign;
  EDGE_TRY(
      edge_binary_types(c, node, types, "float32, int8, uint8, int16, int32 or int64", &p->binary));
  switch (p->binary.type) {
    case EDGE_INT16:
      if (sign < 0 || edge_node_input(c, node, 0)->scale.count > 0) break;
      p->binary.run = add_s16;
      return edge_bounds_read(c, node, EDGE_INT16, &p->bounds);
    case EDGE_INT8:
    case EDGE_UINT8:
      break;
    default:
      EDGE_TRY(edge_bounds_read(c, node, p->binary.type, &p->bounds));
      edge_binary_chain(c, node, &p->bounds);
      return EDGE_OK;
  }
  return prepare_quantized(c, node, p);
}

static edge_status add_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {
      {EDGE_FLOAT32, add_f32},   {EDGE_INT32, add_s32},      {EDGE_INT64, add_s64},
      {EDGE_INT8, add_fixed_s8}, {EDGE_UINT8, add_fixed_u8}, {EDGE_INT16, add_fixed_s16},
      {EDGE_FLOAT32, NULL},
  };
  return compile(c, node, types, 1);
}

static edge_status sub_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {
      {EDGE_FLOAT32, sub_f32},   {EDGE_INT32, sub_s32},      {EDGE_INT64, sub_s64},
      {EDGE_INT8, sub_fixed_s8}, {EDGE_UINT8, sub_fixed_u8}, {EDGE_INT16, sub_fixed_s16},
      {EDGE_FLOAT32, NULL},
  };
  return compile(c, node, types, -1);
}

const edge_operator edge_operator_add = EDGE_BINARY_OPERATOR(0, "ADD", 6, 11, add_compile);
const edge_operator edge_operator_sub = EDGE_BINARY_OPERATOR(41, "SUB", 5, 28, sub_compile);
