/* DIV: float32, int32, and int8, uint8 and int16, quantized. FLOOR_DIV: float32, int8, int16 and
 * int32. FLOOR_MOD: these and int64. Shapes broadcast.
 *
 * Whole numbers are not divided by 0: that is an error, also for float32 of FLOOR_DIV. The lowest
 * number by -1 is the highest one of DIV, as in LiteRT, and wraps otherwise. Quantized DIV
 * multiplies by a reciprocal from three steps of Newton's method in fixed point; quotients that it
 * would have to shift by more than 31 bits are 0, where LiteRT shifts by more bits than there are.
 *
 * Source: tflite/kernels/div.cc, floor_div.cc, floor_mod.cc, internal/reference/div.h;
 * gemmlowp fixedpoint/fixedpoint.h.
 */
#include <math.h>

#include "../binary.h"
#include "../operators.h"

typedef struct divide_params {
  edge_binary binary;
  bool float_zero; /* floats may be divided by 0 */
  edge_operands of;
  edge_range range;
  edge_fixed fixed;
  edge_bounds bounds;
} divide_params;

/* ---- whole numbers ----------------------------------------------------------------------- */

/* Towards zero. The divisor is not 0; an overflow wraps. */
static inline int64_t quotient(int64_t x, int64_t y) {
  return y == -1 ? (int64_t)(0 - (uint64_t)x) : x / y;
}

static inline int64_t floor_quotient(int64_t x, int64_t y) {
  const int64_t whole = quotient(x, y);
  const bool inexact = y != -1 && x % y != 0;
  return whole - (inexact && (x < 0) != (y < 0));
}

static inline int64_t floor_rest(int64_t x, int64_t y) {
  const int64_t rest = y == -1 ? 0 : x % y;
  return rest != 0 && (y < 0) != (rest < 0) ? rest + y : rest;
}

static inline float floor_rest_float(float x, float y) {
  const float rest = fmodf(x, y);
  return rest != 0.0f && (y < 0.0f) != (rest < 0.0f) ? rest + y : rest;
}

static inline int32_t bounded_quotient(int32_t x, int32_t y, const edge_bounds *bounds) {
  const int64_t value = quotient(x, y); /* held to int32 at least, by both bounds */
  return (int32_t)edge_max(bounds->low, edge_min(bounds->high, value));
}

EDGE_BINARY_LOOP(div_f32, float, float,
                 const edge_bounds bounds = ((const divide_params *)job->params)->bounds,
                 edge_clamp_float(x / y, bounds.real))
EDGE_BINARY_LOOP(div_s32, int32_t, int32_t,
                 const edge_bounds bounds = ((const divide_params *)job->params)->bounds,
                 bounded_quotient(x, y, &bounds))
EDGE_BINARY_LOOP(floor_div_f32, float, float, , floor((double)x / (double)y))
EDGE_BINARY_LOOP(floor_div_s8, int8_t, int8_t, , floor_quotient(x, y))
EDGE_BINARY_LOOP(floor_div_s16, int16_t, int16_t, , floor_quotient(x, y))
EDGE_BINARY_LOOP(floor_div_s32, int32_t, int32_t, , edge_wrap(floor_quotient(x, y)))
EDGE_BINARY_LOOP(floor_mod_f32, float, float, , floor_rest_float(x, y))
EDGE_BINARY_LOOP(floor_mod_s8, int8_t, int8_t, , floor_rest(x, y))
EDGE_BINARY_LOOP(floor_mod_s16, int16_t, int16_t, , floor_rest(x, y))
EDGE_BINARY_LOOP(floor_mod_s32, int32_t, int32_t, , floor_rest(x, y))
EDGE_BINARY_LOOP(floor_mod_s64, int64_t, int64_t, , floor_rest(x, y))

/* ---- quantized --------------------------------------------------------------------------- */

/* The product of two fractions of 31 bits. */
static inline int32_t multiply_fractions(int32_t x, int32_t y) {
  if (x == INT32_MIN && y == INT32_MIN) return INT32_MAX;
  return edge_wrap(((int64_t)x * y + (INT64_C(1) << 30)) >> 31);
}

static inline int32_t shift_saturated(int32_t value, int32_t left) {
  const int64_t shifted = (int64_t)value * (INT64_C(1) << left);
  return edge_clamp(shifted, INT32_MIN, INT32_MAX);
}

/* 1 / (1 + x), x in [0, 1) and the result fractions of 31 bits: three steps of Newton's method,
 * whose values have two bits before the point. */
static int32_t reciprocal_of_one_plus(int32_t x) {
  const int32_t one = 1 << 29;
  const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
  int32_t estimate = edge_wrap((int64_t)multiply_fractions(half, -1010580540) + 1515870810);
  for (int step = 0; step < 3; step++) {
    const int32_t error = one - multiply_fractions(half, estimate);
    estimate =
        edge_wrap((int64_t)estimate + shift_saturated(multiply_fractions(estimate, error), 2));
  }
  return shift_saturated(estimate, 1);
}

/* value * 2^shift, halves away from zero. */
static inline int64_t shift_rounded(int32_t value, int32_t shift) {
  if (shift >= 0) return (int64_t)value * (INT64_C(1) << (shift > 31 ? 31 : shift));
  if (shift < -31) return 0;
  const int64_t mask = (INT64_C(1) << -shift) - 1;
  return (value >> -shift) + ((value & mask) > (mask >> 1) + (value < 0));
}

static int32_t fixed_quotient(const divide_params *p, int32_t x, int32_t y) {
  int32_t dividend = x - p->of.a.zero_point;
  int32_t divisor = y - p->of.b.zero_point; /* not 0 */
  if (divisor < 0) {
    dividend = -dividend;
    divisor = -divisor;
  }
  const int32_t leading = __builtin_clz((uint32_t)divisor);
  const uint32_t fraction = ((uint32_t)divisor << leading) - (UINT32_C(1) << 31);
  const int32_t inverse = reciprocal_of_one_plus((int32_t)fraction);
  const int32_t headroom = dividend == 0 ? 0 : __builtin_clrsb(dividend);
  const int32_t shifted = edge_wrap((int64_t)dividend * (INT64_C(1) << headroom));
  const int32_t scaled =
      multiply_fractions(multiply_fractions(shifted, inverse), p->fixed.multiplier);
  const int64_t value = shift_rounded(scaled, p->fixed.exponent - (31 - leading) - headroom);
  return edge_clamp(value + p->of.output.zero_point, p->range.min, p->range.max);
}

#define PARAMS const divide_params *p = job->params
EDGE_BINARY_LOOP(div_s8, int8_t, int8_t, PARAMS, fixed_quotient(p, x, y))
EDGE_BINARY_LOOP(div_u8, uint8_t, uint8_t, PARAMS, fixed_quotient(p, x, y))
EDGE_BINARY_LOOP(div_s16, int16_t, int16_t, PARAMS, fixed_quotient(p, x, y))

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status div_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_FLOAT32, div_f32}, {EDGE_INT32, div_s32},
                                           {EDGE_INT8, div_s8},     {EDGE_UINT8, div_u8},
                                           {EDGE_INT16, div_s16},   {EDGE_FLOAT32, NULL}};
  divide_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->float_zero = true;
  EDGE_TRY(edge_binary_types(c, node, types, "float32, int8, uint8, int16 or int32", &p->binary));
  if (p->binary.type == EDGE_FLOAT32 || p->binary.type == EDGE_INT32) {
    EDGE_TRY(edge_bounds_read(c, node, p->binary.type, &p->bounds));
    edge_binary_chain(c, node, &p->bounds);
    return EDGE_OK;
  }
  EDGE_TRY(edge_operands_read(c, node, &p->of));
  EDGE_TRY(edge_read_range(c, node, BINARY_ACTIVATION, false, p->of.output, &p->range));
  const float product = p->of.b.scale * p->of.output.scale;
  return edge_expect_fixed(c, node, (double)(p->of.a.scale / product), true, &p->fixed);
}

static edge_status floor_compile(edge_compiler *c, edge_node *node, const edge_binary_type *types,
                                 const char *known, bool float_zero) {
  divide_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->float_zero = float_zero;
  return edge_binary_types(c, node, types, known, &p->binary);
}

static edge_status floor_div_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_FLOAT32, floor_div_f32},
                                           {EDGE_INT8, floor_div_s8},
                                           {EDGE_INT16, floor_div_s16},
                                           {EDGE_INT32, floor_div_s32},
                                           {EDGE_FLOAT32, NULL}};
  return floor_compile(c, node, types, "float32, int8, int16 or int32", false);
}

static edge_status floor_mod_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {
      {EDGE_FLOAT32, floor_mod_f32}, {EDGE_INT8, floor_mod_s8},   {EDGE_INT16, floor_mod_s16},
      {EDGE_INT32, floor_mod_s32},   {EDGE_INT64, floor_mod_s64}, {EDGE_FLOAT32, NULL}};
  return floor_compile(c, node, types, "float32, int8, int16, int32 or int64", true);
}

/* ---- run --------------------------------------------------------------------------------- */

#define HOLDS_ZERO(name, T)                                           \
  static bool name(const void *values, int64_t count, int32_t zero) { \
    const T *at = values;                                             \
    for (int64_t i = 0; i < count; i++) {                             \
      if (at[i] == (T)zero) return true;                              \
    }                                                                 \
    return false;                                                     \
  }
HOLDS_ZERO(holds_zero_f32, float)
HOLDS_ZERO(holds_zero_s8, int8_t)
HOLDS_ZERO(holds_zero_u8, uint8_t)
HOLDS_ZERO(holds_zero_s16, int16_t)
HOLDS_ZERO(holds_zero_s32, int32_t)
HOLDS_ZERO(holds_zero_s64, int64_t)

/* Zero points of types that are not quantized are 0. */
static bool divides_by_zero(const divide_params *p, const edge_view *divisor) {
  const int64_t count = edge_count(divisor->shape, 0, divisor->rank);
  switch (p->binary.type) {
    case EDGE_FLOAT32:
      return !p->float_zero && holds_zero_f32(divisor->data, count, 0);
    case EDGE_INT8:
      return holds_zero_s8(divisor->data, count, p->of.b.zero_point);
    case EDGE_UINT8:
      return holds_zero_u8(divisor->data, count, p->of.b.zero_point);
    case EDGE_INT16:
      return holds_zero_s16(divisor->data, count, p->of.b.zero_point);
    case EDGE_INT32:
      return holds_zero_s32(divisor->data, count, 0);
    default:
      return holds_zero_s64(divisor->data, count, 0);
  }
}

static edge_status divide_perform(edge_planner *planner, edge_step *step) {
  if (divides_by_zero(step->node->params, edge_view_in(planner, step, 1))) {
    return edge_step_fail(planner, step, EDGE_INVALID_ARGUMENT,
                          "expected divisors other than 0, got 0");
  }
  edge_binary_run(planner->frame, step);
  return EDGE_OK;
}

#define DIVIDE_OPERATOR(code_, name_, version_, options_, compile_) \
  {.code = (code_),                                                 \
   .name = (name_),                                                 \
   .version_max = (version_),                                       \
   .options_type = (options_),                                      \
   .inputs_min = 2,                                                 \
   .inputs_max = 2,                                                 \
   .compile = (compile_),                                           \
   .shape = edge_broadcast_shape,                                   \
   .perform = divide_perform}

const edge_operator edge_operator_div = DIVIDE_OPERATOR(42, "DIV", 2, 29, div_compile);
const edge_operator edge_operator_floor_div =
    DIVIDE_OPERATOR(90, "FLOOR_DIV", 3, 65, floor_div_compile);
const edge_operator edge_operator_floor_mod =
    DIVIDE_OPERATOR(95, "FLOOR_MOD", 2, 72, floor_mod_compile);
