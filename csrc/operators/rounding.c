/* FLOOR, CEIL, ROUND, SIN, COS and FAKE_QUANT of float32, and ZEROS_LIKE.
 *
 * Source: tflite/kernels/floor.cc, ceil.cc, round.cc, elementwise.cc, fake_quant.cc, zeros_like.cc,
 * internal/quantization_util.cc; docs/numerics.md.
 */
#include <math.h>
#include <string.h>

#include "../float_functions.h"
#include "../operators.h"
#include "../unary.h"

EDGE_FLOAT_SPAN(floor_floats, floorf(x))
EDGE_FLOAT_SPAN(ceil_floats, ceilf(x))
EDGE_FLOAT_SPAN(round_floats, rintf(x)) /* halves to even */
EDGE_FLOAT_SPAN(sin_floats, edge_fast_sin(x, 0))
EDGE_FLOAT_SPAN(cos_floats, edge_fast_sin(x, 1))

static edge_status float_compile(edge_compiler *c, edge_node *node, edge_unary_span *span) {
  EDGE_TRY(edge_unary_types(c, node, EDGE_TYPE_BIT(EDGE_FLOAT32)));
  return edge_unary_float(c, node, span);
}

static edge_status floor_compile(edge_compiler *c, edge_node *node) {
  return float_compile(c, node, floor_floats);
}
static edge_status ceil_compile(edge_compiler *c, edge_node *node) {
  return float_compile(c, node, ceil_floats);
}
static edge_status round_compile(edge_compiler *c, edge_node *node) {
  return float_compile(c, node, round_floats);
}
static edge_status sin_compile(edge_compiler *c, edge_node *node) {
  return float_compile(c, node, sin_floats);
}
static edge_status cos_compile(edge_compiler *c, edge_node *node) {
  return float_compile(c, node, cos_floats);
}

/* ---- ZEROS_LIKE -------------------------------------------------------------------------- */

static void zeros(const edge_unary *unary, const void *in, void *out, size_t count) {
  (void)in;
  memset(out, 0, count * unary->size_out);
}

static edge_status zeros_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(edge_unary_types(
      c, node,
      EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_INT32) | EDGE_TYPE_BIT(EDGE_INT64)));
  return edge_unary_plain(c, node, zeros, "zeros");
}

/* ---- FAKE_QUANT -------------------------------------------------------------------------- */

typedef struct fake_quant {
  edge_unary unary;
  float min, max, scale, inverse; /* nudged, so that 0 is one of the steps */
} fake_quant;

static void fake_quant_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const fake_quant *p = (const fake_quant *)(const void *)unary;
  const float *from = in;
  float *to = out;
  for (size_t i = 0; i < count; i++) {
    const float above = from[i] < p->min ? p->min : from[i];
    const float clamped = above > p->max ? p->max : above;
    to[i] = roundf((clamped - p->min) * p->inverse) * p->scale + p->min;
  }
}

static void nudge(fake_quant *p, float min, float max, int32_t bits) {
  const float steps = (float)((INT32_C(1) << bits) - 1);
  p->scale = (max - min) / steps;
  const float from_min = 0.0f - min / p->scale;
  const float zero = from_min < 0.0f ? 0.0f : from_min > steps ? steps : roundf(from_min);
  p->min = (0.0f - zero) * p->scale;
  p->max = (steps - zero) * p->scale;
  p->inverse = 1.0f / p->scale;
}

static edge_status fake_quant_compile(edge_compiler *c, edge_node *node) {
  float min = 0.0f;
  float max = 0.0f;
  int32_t bits = 0;
  bool narrow;
  EDGE_TRY(edge_unary_types(c, node, EDGE_TYPE_BIT(EDGE_FLOAT32)));
  if (!edge_table_f32(&node->options, FAKE_QUANT_MIN, 0.0f, &min) ||
      !edge_table_f32(&node->options, FAKE_QUANT_MAX, 0.0f, &max) ||
      !edge_table_i32(&node->options, FAKE_QUANT_NUM_BITS, 0, &bits) ||
      !edge_table_bool(&node->options, FAKE_QUANT_NARROW_RANGE, false, &narrow) || bits < 2 ||
      bits > 16 || !(min <= 0.0f) || !(max >= 0.0f) || !(min < max) || !isfinite(max - min)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected 2 ... 16 bits and a range around 0, got %lld and %g ... %g",
                          (long long)bits, (double)min, (double)max);
  }
  if (narrow) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected the whole range, got a narrow one");
  }
  fake_quant *p = edge_unary_params(c, node, sizeof *p, fake_quant_span);
  if (p == NULL) return edge_no_memory(c->error);
  nudge(p, min, max, bits);
  node->kernel = "f32";
  return EDGE_OK;
}

EDGE_UNARY(floor, 8, "FLOOR", 1, 0, floor_compile);
EDGE_UNARY(ceil, 104, "CEIL", 1, 0, ceil_compile);
EDGE_UNARY(round, 116, "ROUND", 1, 0, round_compile);
EDGE_UNARY(sin, 66, "SIN", 2, 0, sin_compile);
EDGE_UNARY(cos, 108, "COS", 2, 84, cos_compile);
EDGE_UNARY(zeros_like, 93, "ZEROS_LIKE", 1, 67, zeros_compile);
EDGE_UNARY(fake_quant, 80, "FAKE_QUANT", 2, 58, fake_quant_compile);
