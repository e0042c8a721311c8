/* MUL: int8, uint8 and int16, quantized; int16 to int8 or uint8; float32, int32, uint32, int64, and
 * int16 that is not quantized. Shapes broadcast.
 *
 * XNNPACK, 8 bits: the product times a float32 scale, rounded half to even; the fused activation is
 * a clamp behind it. A tensor times itself is a square there, taken from a table, unless the node
 * is part of a chain that becomes a table itself (fold.h). LiteRT's optimised kernels: a
 * fixed-point multiplier; the vector loops of 8 bits add the zero point in 16 bits.
 *
 * Source: XNNPACK src/qs8-vmul, src/subgraph.c, src/reference; tflite/kernels/mul.cc,
 * internal/optimized/integer_ops/mul.h, internal/optimized/optimized_ops.h,
 * internal/reference/integer_ops/mul.h; docs/numerics.md.
 */
#include "../binary.h"
#include "../fold.h"
#include "../operators.h"

typedef struct mul_params {
  edge_binary binary;
  edge_operands of;
  edge_range range;
  edge_qs8_vmul float_rule;
  edge_fixed fixed;
  uint8_t square[256];
  edge_bounds bounds; /* of types that are not quantized */
} mul_params;

/* ---- types that are not quantized -------------------------------------------------------- */

#define MUL_WRAPPED(name, T, U)                                                                   \
  static T name##_bounded(U product, T low, T high) {                                             \
    const T value = (T)product;                                                                   \
    return value < low ? low : value > high ? high : value;                                       \
  }                                                                                               \
  EDGE_BINARY_LOOP(name, T, T, const mul_params *p = job->params; const T low = (T)p->bounds.low; \
                   const T high = (T)p->bounds.high, name##_bounded((U)((U)x * (U)y), low, high))

EDGE_BINARY_LOOP(mul_f32, float, float,
                 const edge_bounds bounds = ((const mul_params *)job->params)->bounds,
                 edge_clamp_float(x *y, bounds.real))
/* In 32 bits, as a product of two uint16 may leave the int that they are promoted to. */
MUL_WRAPPED(mul_s16, int16_t, uint32_t)
MUL_WRAPPED(mul_s32, int32_t, uint32_t)
MUL_WRAPPED(mul_u32, uint32_t, uint32_t)
MUL_WRAPPED(mul_s64, int64_t, uint64_t)

/* ---- XNNPACK's rule ---------------------------------------------------------------------- */

static void float_s8(void *context, const edge_run *run) {
  const edge_binary_job *job = context;
  const mul_params *p = job->params;
  job->kernels->qs8_vmul((int8_t *)job->out + run->out, (const int8_t *)job->a + run->at[0],
                         run->stride[0], (const int8_t *)job->b + run->at[1], run->stride[1],
                         (size_t)run->count, &p->float_rule);
}

static inline int32_t float_product(const edge_qs8_vmul *rule, int32_t x, int32_t y) {
  const float value = (float)((x - rule->zero_a) * (y - rule->zero_b)) * rule->scale;
  return edge_clamp((int64_t)edge_round_even(value) + rule->zero_point, rule->min, rule->max);
}

EDGE_BINARY_LOOP(float_u8, uint8_t, uint8_t,
                 const edge_qs8_vmul rule = ((const mul_params *)job->params)->float_rule,
                 float_product(&rule, x, y))

static void square(void *context, const edge_run *run) {
  const edge_binary_job *job = context;
  const mul_params *p = job->params;
  job->kernels->x8_lut((uint8_t *)job->out + run->out, (const uint8_t *)job->a + run->at[0],
                       (size_t)run->count, p->square);
}

/* ---- the optimised rule ------------------------------------------------------------------ */

static inline int32_t fixed_rest(const mul_params *p, int32_t x, int32_t y) {
  const int32_t product = (x - p->of.a.zero_point) * (y - p->of.b.zero_point);
  const int32_t value =
      edge_wrap((int64_t)edge_multiply(product, p->fixed) + p->of.output.zero_point);
  return edge_clamp(value, p->range.min, p->range.max);
}

/* The vector loops: 16 bits, saturated first or, as uint8 does it where one operand is repeated,
 * cut off. */
static inline int32_t fixed_vector(const mul_params *p, int32_t x, int32_t y, bool cut) {
  const int32_t product = (x - p->of.a.zero_point) * (y - p->of.b.zero_point);
  const int32_t value = edge_multiply(product, p->fixed);
  const int16_t narrow = cut ? (int16_t)value : (int16_t)edge_clamp(value, INT16_MIN, INT16_MAX);
  const int16_t shifted = (int16_t)(narrow + p->of.output.zero_point);
  return edge_clamp(shifted, p->range.min, p->range.max);
}

static int64_t in_groups(const edge_binary_job *job, const edge_run *run, int64_t group) {
  return job->by_runs ? run->count / group * group : 0;
}

static bool repeats_one(const edge_run *run) {
  return run->stride[0] == 0 || run->stride[1] == 0;
}

EDGE_BINARY_LOOP(fixed_s8, int8_t, int8_t, const mul_params *p = job->params;
                 const int64_t vector = in_groups(job, run, 16),
                 i < vector ? fixed_vector(p, x, y, false) : fixed_rest(p, x, y))
EDGE_BINARY_LOOP(fixed_u8, uint8_t, uint8_t, const mul_params *p = job->params;
                 const int64_t vector = in_groups(job, run, 8);
                 const bool cut = repeats_one(run),
                 i < vector ? fixed_vector(p, x, y, cut) : fixed_rest(p, x, y))
EDGE_BINARY_LOOP(fixed_s16, int16_t, int16_t, const mul_params *p = job->params,
                 fixed_rest(p, x, y))

/* int16 to 8 bits: a product of fractions, whatever the scales. */
static inline int32_t fraction(const mul_params *p, int32_t x, int32_t y) {
  const int32_t product = x * y;
  const int32_t nudged = (product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15);
  const int32_t high = nudged > INT16_MAX ? INT16_MAX : nudged;
  const int32_t rounded = (high >> 8) + ((high & 255) > 127 + (high < 0));
  return edge_clamp((int64_t)rounded + p->of.output.zero_point, p->range.min, p->range.max);
}

EDGE_BINARY_LOOP(fraction_s8, int16_t, int8_t, const mul_params *p = job->params, fraction(p, x, y))
EDGE_BINARY_LOOP(fraction_u8, int16_t, uint8_t, const mul_params *p = job->params,
                 fraction(p, x, y))

/* ---- compile ----------------------------------------------------------------------------- */

/* As XNNPACK's reference kernels do it. */
static void fill_square(mul_params *p) {
  const edge_range whole = edge_type_range(p->binary.type);
  const float inverse = 1.0f / p->of.output.scale;
  for (int32_t q = whole.min; q <= whole.max; q++) {
    const float shifted = (float)q - (float)p->of.a.zero_point;
    const float x = shifted * p->of.a.scale;
    const float scaled = x * x * inverse;
    float value = scaled + (float)p->of.output.zero_point;
    if (!(value > (float)whole.min)) value = (float)whole.min;
    if (value > (float)whole.max) value = (float)whole.max;
    p->square[(uint8_t)q] = (uint8_t)edge_clamp(edge_round_even(value), p->range.min, p->range.max);
  }
}

static void prepare_xnn(edge_compiler *c, edge_node *node, mul_params *p, bool activation,
                        float scale) {
  const bool folded = edge_fold_binary(c, node, activation);
  if (node->inputs[0] == node->inputs[1] && !folded) {
    node->kernel = "lut";
    p->binary.run = square;
    fill_square(p);
    return;
  }
  node->kernel = "vmul";
  p->binary.run = p->binary.type == EDGE_INT8 ? float_s8 : float_u8;
  p->float_rule = (edge_qs8_vmul){.zero_a = p->of.a.zero_point,
                                  .zero_b = p->of.b.zero_point,
                                  .zero_point = p->of.output.zero_point,
                                  .scale = scale,
                                  .min = p->range.min,
                                  .max = p->range.max};
}

static edge_status prepare_quantized(edge_compiler *c, edge_node *node, mul_params *p) {
  int8_t activation;
  EDGE_TRY(edge_read_activation(c, node, BINARY_ACTIVATION, &activation));
  EDGE_TRY(edge_operands_read(c, node, &p->of));
  const float product = p->of.a.scale * p->of.b.scale;
  const float scale = product / p->of.output.scale;
  /* NaN and infinity fail both comparisons. */
  const bool xnn = p->of.xnn && scale >= 0x1p-16f && scale < 0x1p8f;
  EDGE_TRY(edge_read_range(c, node, BINARY_ACTIVATION, xnn, p->of.output, &p->range));
  if (xnn) {
    prepare_xnn(c, node, p, activation != ACTIVATION_NONE, scale);
    return EDGE_OK;
  }
  node->kernel = "vmul, fixed-point rounding";
  return edge_expect_fixed(c, node, (double)scale, true, &p->fixed);
}

static edge_status prepare_fraction(edge_compiler *c, edge_node *node, mul_params *p) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &p->of.output));
  EDGE_TRY(edge_read_range(c, node, BINARY_ACTIVATION, false, p->of.output, &p->range));
  p->binary.run = output->type == EDGE_INT8 ? fraction_s8 : fraction_u8;
  return EDGE_OK;
}

static edge_status mul_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {
      {EDGE_FLOAT32, mul_f32}, {EDGE_INT32, mul_s32}, {EDGE_UINT32, mul_u32},
      {EDGE_INT64, mul_s64},   {EDGE_INT8, fixed_s8}, {EDGE_UINT8, fixed_u8},
      {EDGE_INT16, fixed_s16}, {EDGE_FLOAT32, NULL},
  };
  static const char known[] = "float32, int8, uint8, int16, int32, uint32 or int64";
  mul_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  const edge_type to = edge_node_output(c, node, 0)->type;
  EDGE_TRY(edge_binary_find(c, node, types, &p->binary));
  if (p->binary.type == EDGE_INT16 && (to == EDGE_INT8 || to == EDGE_UINT8)) {
    return prepare_fraction(c, node, p);
  }
  EDGE_TRY(edge_binary_types(c, node, types, known, &p->binary));
  switch (p->binary.type) {
    case EDGE_INT16:
      if (edge_node_output(c, node, 0)->scale.count > 0) break;
      p->binary.run = mul_s16;
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

const edge_operator edge_operator_mul = EDGE_BINARY_OPERATOR(18, "MUL", 8, 21, mul_compile);
