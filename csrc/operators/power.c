/* POW: float32 and int32; ATAN2: float32. Shapes broadcast.
 *
 * Floats are computed in float64 and rounded once, so that the result does not depend on how a C
 * library computes float32. int32 refuses negative exponents. What leaves int32 wraps where the
 * exponent is one number for all, which LiteRT takes for squarings, and is the lowest number
 * elsewhere, where LiteRT converts a float64.
 *
 * Source: tflite/kernels/pow.cc, atan2.cc, internal/optimized/optimized_ops.h (BroadcastPow4D).
 */
#include <math.h>

#include "../binary.h"
#include "../operators.h"

/* Modulo 2^32. */
static inline int32_t power_wrapped(int32_t base, int32_t exponent) {
  uint32_t square = (uint32_t)base;
  uint32_t power = 1;
  for (int32_t rest = exponent; rest > 0; rest >>= 1) {
    if (rest & 1) power *= square;
    square *= square;
  }
  return (int32_t)power;
}

/* The lowest number where it leaves int32. */
static inline int32_t power_lowest(int32_t base, int32_t exponent) {
  int64_t power = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent & 1 ? -1 : 1;
  for (int32_t i = 0; i < exponent; i++) { /* at most 32 times */
    power *= base;
    if (power < INT32_MIN || power > INT32_MAX) return INT32_MIN;
  }
  return (int32_t)power;
}

EDGE_BINARY_LOOP(pow_f32, float, float, , pow((double)x, (double)y))
EDGE_BINARY_LOOP(atan2_f32, float, float, , atan2((double)x, (double)y))
EDGE_BINARY_LOOP(pow_s32, int32_t, int32_t, const edge_broadcast *shape = job->broadcast;
                 const bool wraps = shape->rank == 1 && shape->moves[0] == EDGE_ONLY_A,
                 wraps &&y > 0 ? power_wrapped(x, y) : power_lowest(x, y))

static edge_status pow_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {
      {EDGE_FLOAT32, pow_f32}, {EDGE_INT32, pow_s32}, {EDGE_FLOAT32, NULL}};
  return edge_binary_plain(c, node, types, "float32 or int32");
}

static edge_status atan2_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_FLOAT32, atan2_f32}, {EDGE_FLOAT32, NULL}};
  return edge_binary_plain(c, node, types, "float32");
}

static edge_status pow_perform(edge_planner *planner, edge_step *step) {
  const edge_binary *binary = step->node->params;
  const edge_view *exponents = edge_view_in(planner, step, 1);
  const int64_t count =
      binary->type == EDGE_INT32 ? edge_count(exponents->shape, 0, exponents->rank) : 0;
  const int32_t *exponent = exponents->data;
  for (int64_t i = 0; i < count; i++) {
    if (exponent[i] >= 0) continue;
    return edge_step_fail(planner, step, EDGE_INVALID_ARGUMENT,
                          "expected exponents of at least 0, got %lld", (long long)exponent[i]);
  }
  edge_binary_run(planner->frame, step);
  return EDGE_OK;
}

const edge_operator edge_operator_pow = {.code = 78,
                                         .name = "POW",
                                         .version_max = 1,
                                         .options_type = 56,
                                         .inputs_min = 2,
                                         .inputs_max = 2,
                                         .compile = pow_compile,
                                         .shape = edge_broadcast_shape,
                                         .perform = pow_perform};
const edge_operator edge_operator_atan2 = EDGE_BINARY_OPERATOR(156, "ATAN2", 1, 122, atan2_compile);
