/* SQUARED_DIFFERENCE: float32, int32, and int8, quantized; shapes broadcast.
 *
 * int8: both operands are shifted left by 7 and brought to twice the coarser scale; the square of
 * their difference is scaled by that scale's square. XNNPACK does not take it.
 *
 * Source: tflite/kernels/squared_difference.cc.
 */
#include <math.h>

#include "../binary.h"
#include "../operators.h"

typedef struct difference_params {
  edge_binary binary;
  edge_operands of;
  edge_fixed scale_a, scale_b, scale_out;
} difference_params;

static inline int32_t square_of(int32_t x, int32_t y) {
  const uint32_t difference = (uint32_t)x - (uint32_t)y;
  return (int32_t)(difference * difference);
}

static inline int32_t fixed_square(const difference_params *p, int32_t x, int32_t y) {
  const int32_t scaled_x = edge_multiply((x - p->of.a.zero_point) * 128, p->scale_a);
  const int32_t scaled_y = edge_multiply((y - p->of.b.zero_point) * 128, p->scale_b);
  const int64_t value =
      (int64_t)edge_multiply(square_of(scaled_x, scaled_y), p->scale_out) + p->of.output.zero_point;
  return edge_clamp(value, INT8_MIN, INT8_MAX);
}

EDGE_BINARY_LOOP(square_f32, float, float, , (x - y) * (x - y))
EDGE_BINARY_LOOP(square_s32, int32_t, int32_t, , square_of(x, y))
EDGE_BINARY_LOOP(square_s8, int8_t, int8_t, const difference_params *p = job->params,
                 fixed_square(p, x, y))

static edge_status prepare(edge_compiler *c, const edge_node *node, difference_params *p) {
  EDGE_TRY(edge_operands_read(c, node, &p->of));
  const double twice = (double)(2.0f * fmaxf(p->of.a.scale, p->of.b.scale));
  const double out = twice * twice / (double)(16384.0f * p->of.output.scale);
  if (!(isfinite(twice) && out > 0.0 && out < 1.0)) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an output scale above (2 * the coarser input scale)^2 / 2^14, "
                          "got a finer one");
  }
  p->scale_a = edge_fixed_of((double)p->of.a.scale / twice, true);
  p->scale_b = edge_fixed_of((double)p->of.b.scale / twice, true);
  p->scale_out = edge_fixed_of(out, true);
  return EDGE_OK;
}

static edge_status difference_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_FLOAT32, square_f32},
                                           {EDGE_INT32, square_s32},
                                           {EDGE_INT8, square_s8},
                                           {EDGE_FLOAT32, NULL}};
  difference_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_binary_types(c, node, types, "float32, int8 or int32", &p->binary));
  edge_binary_chain(c, node, NULL);
  return p->binary.type == EDGE_INT8 ? prepare(c, node, p) : EDGE_OK;
}

const edge_operator edge_operator_squared_difference =
    EDGE_BINARY_OPERATOR(99, "SQUARED_DIFFERENCE", 2, 76, difference_compile);
