/* EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER and GREATER_EQUAL: float32, int8, uint8, int16,
 * int32, int64, the first two also bool; shapes broadcast, the output is bool.
 *
 * Quantized operands are shifted left by 8 and rounded to whole real values before they are
 * compared, so that neighbours of a fine scale are equal: int8 and uint8 always, int16 for EQUAL
 * and NOT_EQUAL only. Where a scale is 1 or more LiteRT shifts by negative numbers; here both
 * scales are made smaller by the same power of two.
 *
 * Source: tflite/kernels/comparisons.cc, internal/reference/comparisons.h.
 */
#include <math.h>

#include "../binary.h"
#include "../operators.h"

typedef struct compare_params {
  edge_binary binary;
  int32_t zero_a, zero_b;
  edge_fixed scale_a, scale_b;
} compare_params;

/* Not inline: ten loops of it would be a tenth of the core. */
__attribute__((noinline)) static int32_t real_value(int32_t value, int32_t zero, edge_fixed scale) {
  return edge_multiply((value - zero) * 256, scale);
}

#define SCALED(op) real_value(x, p.zero_a, p.scale_a) op real_value(y, p.zero_b, p.scale_b)
#define PARAMS const compare_params p = *(const compare_params *)job->params
#define COMPARE(name, op)                                           \
  EDGE_BINARY_LOOP(name##_f32, float, uint8_t, , x op y)            \
  EDGE_BINARY_LOOP(name##_s8, int8_t, uint8_t, , x op y)            \
  EDGE_BINARY_LOOP(name##_u8, uint8_t, uint8_t, , x op y)           \
  EDGE_BINARY_LOOP(name##_s16, int16_t, uint8_t, , x op y)          \
  EDGE_BINARY_LOOP(name##_s32, int32_t, uint8_t, , x op y)          \
  EDGE_BINARY_LOOP(name##_s64, int64_t, uint8_t, , x op y)          \
  EDGE_BINARY_LOOP(name##_qs8, int8_t, uint8_t, PARAMS, SCALED(op)) \
  EDGE_BINARY_LOOP(name##_qu8, uint8_t, uint8_t, PARAMS, SCALED(op))

/* a > b is b < a. */
static void run_swapped(void *context, const edge_run *run, edge_broadcast_run_fn *less) {
  const edge_binary_job *job = context;
  edge_binary_job swapped = *job;
  edge_run at = *run;
  swapped.a = job->b;
  swapped.b = job->a;
  at.at[0] = run->at[1];
  at.at[1] = run->at[0];
  at.stride[0] = run->stride[1];
  at.stride[1] = run->stride[0];
  less(&swapped, &at);
}

#define SWAP(name, from)                                 \
  static void name(void *context, const edge_run *run) { \
    run_swapped(context, run, from);                     \
  }
#define SWAPPED(name, from)    \
  SWAP(name##_f32, from##_f32) \
  SWAP(name##_s8, from##_s8)   \
  SWAP(name##_u8, from##_u8)   \
  SWAP(name##_s16, from##_s16) \
  SWAP(name##_s32, from##_s32) \
  SWAP(name##_s64, from##_s64) \
  SWAP(name##_qs8, from##_qs8) \
  SWAP(name##_qu8, from##_qu8)

COMPARE(equal, ==)
COMPARE(not_equal, !=)
COMPARE(less, <)
COMPARE(less_equal, <=)
SWAPPED(greater, less)
SWAPPED(greater_equal, less_equal)
EDGE_BINARY_LOOP(equal_qs16, int16_t, uint8_t, PARAMS, SCALED(==))
EDGE_BINARY_LOOP(not_equal_qs16, int16_t, uint8_t, PARAMS, SCALED(!=))

#define PLAIN(name)                                                            \
  {EDGE_FLOAT32, name##_f32}, {EDGE_INT8, name##_s8}, {EDGE_UINT8, name##_u8}, \
      {EDGE_INT16, name##_s16}, {EDGE_INT32, name##_s32}, {                    \
    EDGE_INT64, name##_s64                                                     \
  }

/* Sets what scaled comparisons need. */
static edge_status read_scales(edge_compiler *c, const edge_node *node, bool swapped,
                               compare_params *p) {
  edge_quant a, b;
  EDGE_TRY(
      edge_expect_quant(c, node, edge_node_input(c, node, swapped ? 1 : 0), "a first operand", &a));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, swapped ? 0 : 1), "a second operand",
                             &b));
  int exponent;
  (void)frexpf(fmaxf(a.scale, b.scale), &exponent);
  const int down = exponent > 0 ? -exponent : 0;
  p->zero_a = a.zero_point;
  p->zero_b = b.zero_point;
  p->scale_a = edge_fixed_of(ldexp((double)a.scale, down), true);
  p->scale_b = edge_fixed_of(ldexp((double)b.scale, down), true);
  return EDGE_OK;
}

static edge_status compile(edge_compiler *c, edge_node *node, const edge_binary_type *plain,
                           const edge_binary_type *scaled, bool swapped) {
  compare_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  const edge_tensor *output = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_type(c, node, output, "an output", EDGE_BOOL));
  if (edge_node_input(c, node, 0)->scale.count > 0) {
    EDGE_TRY(edge_binary_find(c, node, scaled, &p->binary));
    if (p->binary.run != NULL) return read_scales(c, node, swapped, p);
  }
  EDGE_TRY(edge_binary_find(c, node, plain, &p->binary));
  if (p->binary.run != NULL) return EDGE_OK;
  return edge_binary_refuse(c, node,
                            "float32, int8, uint8, int16, int32, int64 or, to be equal, "
                            "bool");
}

static edge_status equal_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type plain[] = {
      PLAIN(equal), {EDGE_BOOL, equal_u8}, {EDGE_FLOAT32, NULL}};
  static const edge_binary_type scaled[] = {{EDGE_INT8, equal_qs8},
                                            {EDGE_UINT8, equal_qu8},
                                            {EDGE_INT16, equal_qs16},
                                            {EDGE_FLOAT32, NULL}};
  return compile(c, node, plain, scaled, false);
}

static edge_status not_equal_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type plain[] = {
      PLAIN(not_equal), {EDGE_BOOL, not_equal_u8}, {EDGE_FLOAT32, NULL}};
  static const edge_binary_type scaled[] = {{EDGE_INT8, not_equal_qs8},
                                            {EDGE_UINT8, not_equal_qu8},
                                            {EDGE_INT16, not_equal_qs16},
                                            {EDGE_FLOAT32, NULL}};
  return compile(c, node, plain, scaled, false);
}

#define ORDER(name, swapped)                                                      \
  static edge_status name##_compile(edge_compiler *c, edge_node *node) {          \
    static const edge_binary_type plain[] = {PLAIN(name), {EDGE_FLOAT32, NULL}};  \
    static const edge_binary_type scaled[] = {                                    \
        {EDGE_INT8, name##_qs8}, {EDGE_UINT8, name##_qu8}, {EDGE_FLOAT32, NULL}}; \
    return compile(c, node, plain, scaled, swapped);                              \
  }

ORDER(less, false)
ORDER(less_equal, false)
ORDER(greater, true)
ORDER(greater_equal, true)

const edge_operator edge_operator_equal = EDGE_BINARY_OPERATOR(71, "EQUAL", 5, 53, equal_compile);
const edge_operator edge_operator_not_equal =
    EDGE_BINARY_OPERATOR(72, "NOT_EQUAL", 4, 54, not_equal_compile);
const edge_operator edge_operator_less = EDGE_BINARY_OPERATOR(58, "LESS", 3, 41, less_compile);
const edge_operator edge_operator_less_equal =
    EDGE_BINARY_OPERATOR(63, "LESS_EQUAL", 2, 46, less_equal_compile);
const edge_operator edge_operator_greater =
    EDGE_BINARY_OPERATOR(61, "GREATER", 2, 44, greater_compile);
const edge_operator edge_operator_greater_equal =
    EDGE_BINARY_OPERATOR(62, "GREATER_EQUAL", 3, 45, greater_equal_compile);
