/* ABS, NEG, SIGN, SQUARE and LOGICAL_NOT.
 *
 * ABS of quantized types is LiteRT's: rescaled by fixed point where the scales differ. NEG negates
 * the stored values, whatever their zero point.
 *
 * Source: tflite/kernels/elementwise.cc, neg.cc, sign.cc; docs/numerics.md.
 */
#include <math.h>

#include "../lookup.h"
#include "../operators.h"

/* The span of a whole-number type: `expression` of `x`, which is unsigned so that it wraps. */
#define WHOLE_SPAN(name, type, unsigned_type, expression)                              \
  static void name(const edge_unary *unary, const void *in, void *out, size_t count) { \
    const type *from = in;                                                             \
    type *to = out;                                                                    \
    (void)unary;                                                                       \
    for (size_t i = 0; i < count; i++) {                                               \
      const unsigned_type x = (unsigned_type)from[i];                                  \
      to[i] = (type)(expression);                                                      \
    }                                                                                  \
  }

/* ---- ABS --------------------------------------------------------------------------------- */

typedef struct absolute {
  edge_unary unary;
  edge_quant input, output;
  edge_fixed scale;
  bool rescale;
} absolute;

EDGE_FLOAT_SPAN(abs_floats, fabsf(x))
WHOLE_SPAN(abs_i32, int32_t, uint32_t, x >> 31 ? 0u - x : x)
WHOLE_SPAN(abs_i16_plain, int16_t, uint16_t, x >> 15 ? 0 - x : x)

static int64_t abs_value(int32_t value, const void *context) {
  const absolute *p = context;
  const int32_t x = value - p->input.zero_point;
  const int32_t magnitude = x < 0 ? -x : x;
  const int32_t scaled = p->rescale ? edge_multiply(magnitude, p->scale) : magnitude;
  return (int64_t)scaled + p->output.zero_point;
}

static void abs_i16(const edge_unary *unary, const void *in, void *out, size_t count) {
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) {
    to[i] = (int16_t)edge_clamp(abs_value(from[i], unary), INT16_MIN, INT16_MAX);
  }
}

static edge_status abs_quantized(edge_compiler *c, edge_node *node) {
  absolute made = {0};
  EDGE_TRY(edge_unary_quants(c, node, &made.input, &made.output));
  const float ratio = made.input.scale / made.output.scale;
  EDGE_TRY(edge_expect_fixed(c, node, (double)ratio, true, &made.scale));
  made.rescale = made.input.scale != made.output.scale;
  if (edge_node_input(c, node, 0)->type == EDGE_INT8) {
    return edge_lookup_values(c, node, abs_value, &made);
  }
  absolute *p = edge_unary_params(c, node, sizeof *p, abs_i16);
  if (p == NULL) return edge_no_memory(c->error);
  made.unary = p->unary;
  *p = made;
  return EDGE_OK;
}

static edge_status abs_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  EDGE_TRY(edge_unary_types(c, node,
                            EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT32) |
                                EDGE_TYPE_BIT(EDGE_INT8) | EDGE_TYPE_BIT(EDGE_INT16)));
  if (input->type == EDGE_FLOAT32) return edge_unary_float(c, node, abs_floats);
  if (input->type == EDGE_INT32) return edge_unary_plain(c, node, abs_i32, "i32");
  if (input->type == EDGE_INT16 && input->scale.count == 0) {
    return edge_unary_plain(c, node, abs_i16_plain, "i16");
  }
  return abs_quantized(c, node);
}

/* ---- NEG --------------------------------------------------------------------------------- */

EDGE_FLOAT_SPAN(neg_floats, -x)
WHOLE_SPAN(neg_i8, int8_t, uint8_t, 0 - x)
WHOLE_SPAN(neg_i16, int16_t, uint16_t, 0 - x)
WHOLE_SPAN(neg_i32, int32_t, uint32_t, 0u - x)
WHOLE_SPAN(neg_i64, int64_t, uint64_t, UINT64_C(0) - x)

static edge_status neg_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_unary_types(c, node,
                            EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT8) |
                                EDGE_TYPE_BIT(EDGE_INT16) | EDGE_TYPE_BIT(EDGE_INT32) |
                                EDGE_TYPE_BIT(EDGE_INT64)));
  switch (edge_node_input(c, node, 0)->type) {
    case EDGE_FLOAT32:
      return edge_unary_float(c, node, neg_floats);
    case EDGE_INT8:
      return edge_unary_plain(c, node, neg_i8, "i8");
    case EDGE_INT16:
      return edge_unary_plain(c, node, neg_i16, "i16");
    case EDGE_INT32:
      return edge_unary_plain(c, node, neg_i32, "i32");
    default:
      return edge_unary_plain(c, node, neg_i64, "i64");
  }
}

/* ---- SIGN, SQUARE, LOGICAL_NOT ----------------------------------------------------------- */

EDGE_FLOAT_SPAN(sign_floats, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? 0.0f : x)
EDGE_FLOAT_SPAN(square_floats, x *x)
WHOLE_SPAN(sign_i32, int32_t, uint32_t, x >> 31 ? -1 : x != 0)
WHOLE_SPAN(not_bool, uint8_t, uint8_t, x == 0)

static void sign_doubles(const edge_unary *unary, const void *in, void *out, size_t count) {
  const double *from = in;
  double *to = out;
  (void)unary;
  for (size_t i = 0; i < count; i++) {
    to[i] = from[i] > 0.0 ? 1.0 : from[i] < 0.0 ? -1.0 : from[i] == 0.0 ? 0.0 : from[i];
  }
}

static edge_status sign_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_unary_types(
      c, node,
      EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_FLOAT64) | EDGE_TYPE_BIT(EDGE_INT32)));
  switch (edge_node_input(c, node, 0)->type) {
    case EDGE_FLOAT32:
      return edge_unary_plain(c, node, sign_floats, "f32");
    case EDGE_FLOAT64:
      return edge_unary_plain(c, node, sign_doubles, "f64");
    default:
      return edge_unary_plain(c, node, sign_i32, "i32");
  }
}

static edge_status square_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_unary_types(c, node, EDGE_TYPE_BIT(EDGE_FLOAT32)));
  return edge_unary_float(c, node, square_floats);
}

static edge_status not_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_unary_types(c, node, EDGE_TYPE_BIT(EDGE_BOOL)));
  return edge_unary_plain(c, node, not_bool, "bool");
}

EDGE_UNARY(abs, 101, "ABS", 5, 78, abs_compile);
EDGE_UNARY(neg, 59, "NEG", 1, 42, neg_compile);
EDGE_UNARY(sign, 158, "SIGN", 2, 123, sign_compile);
EDGE_UNARY(square, 92, "SQUARE", 1, 66, square_compile);
EDGE_UNARY(logical_not, 87, "LOGICAL_NOT", 1, 63, not_compile);
