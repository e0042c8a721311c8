/* REAL, IMAG and COMPLEX_ABS of complex64 and complex128, and BITCAST.
 *
 * Source: tflite/kernels/complex_support.cc, bitcast.cc.
 */
#include <math.h>
#include <string.h>

#include "../operators.h"
#include "../unary.h"

#define PART_SPAN(name, type, expression)                                              \
  static void name(const edge_unary *unary, const void *in, void *out, size_t count) { \
    const type *from = in;                                                             \
    type *to = out;                                                                    \
    (void)unary;                                                                       \
    for (size_t i = 0; i < count; i++) {                                               \
      const type real = from[2 * i];                                                   \
      const type imag = from[2 * i + 1];                                               \
      (void)real;                                                                      \
      (void)imag;                                                                      \
      to[i] = (expression);                                                            \
    }                                                                                  \
  }

static float magnitude(float real, float imag) {
  const double a = (double)real;
  const double b = (double)imag;
  return (float)sqrt(a * a + b * b);
}

/* Scaled by a power of two, so that no square leaves the range. */
static double magnitude_wide(double real, double imag) {
  const double a = fabs(real);
  const double b = fabs(imag);
  const double most = a > b ? a : b;
  int exponent;
  if (isinf(a) || isinf(b)) return INFINITY;
  if (!(most > 0.0)) return a + b;
  (void)frexp(most, &exponent);
  const double x = ldexp(a, -exponent);
  const double y = ldexp(b, -exponent);
  return ldexp(sqrt(x * x + y * y), exponent);
}

PART_SPAN(real_64, float, real)
PART_SPAN(real_128, double, real)
PART_SPAN(imag_64, float, imag)
PART_SPAN(imag_128, double, imag)
PART_SPAN(abs_64, float, magnitude(real, imag))
PART_SPAN(abs_128, double, magnitude_wide(real, imag))

static edge_status part_compile(edge_compiler *c, edge_node *node, edge_unary_span *narrow,
                                edge_unary_span *wide) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_one_of(c, node, input, "an input",
                              EDGE_TYPE_BIT(EDGE_COMPLEX64) | EDGE_TYPE_BIT(EDGE_COMPLEX128)));
  const bool is_narrow = input->type == EDGE_COMPLEX64;
  EDGE_TRY(edge_expect_type(c, node, output, "an output", is_narrow ? EDGE_FLOAT32 : EDGE_FLOAT64));
  return edge_unary_plain(c, node, is_narrow ? narrow : wide, is_narrow ? "c64" : "c128");
}

static edge_status real_compile(edge_compiler *c, edge_node *node) {
  return part_compile(c, node, real_64, real_128);
}
static edge_status imag_compile(edge_compiler *c, edge_node *node) {
  return part_compile(c, node, imag_64, imag_128);
}
static edge_status abs_compile(edge_compiler *c, edge_node *node) {
  return part_compile(c, node, abs_64, abs_128);
}

EDGE_UNARY(real, 134, "REAL", 1, 0, real_compile);
EDGE_UNARY(imag, 133, "IMAG", 1, 0, imag_compile);
EDGE_UNARY(complex_abs, 135, "COMPLEX_ABS", 1, 0, abs_compile);

/* ---- BITCAST ----------------------------------------------------------------------------- */

static edge_status bitcast_compile(edge_compiler *c, edge_node *node) {
  const uint32_t types =
      EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_FLOAT16) | EDGE_TYPE_BIT(EDGE_FLOAT64) |
      EDGE_TYPE_BIT(EDGE_INT8) | EDGE_TYPE_BIT(EDGE_UINT8) | EDGE_TYPE_BIT(EDGE_INT16) |
      EDGE_TYPE_BIT(EDGE_UINT16) | EDGE_TYPE_BIT(EDGE_INT32) | EDGE_TYPE_BIT(EDGE_UINT32) |
      EDGE_TYPE_BIT(EDGE_INT64) | EDGE_TYPE_BIT(EDGE_UINT64) | EDGE_TYPE_BIT(EDGE_COMPLEX64) |
      EDGE_TYPE_BIT(EDGE_COMPLEX128);
  EDGE_TRY(edge_expect_one_of(c, node, edge_node_input(c, node, 0), "an input", types));
  EDGE_TRY(edge_expect_one_of(c, node, edge_node_output(c, node, 0), "an output", types));
  return edge_unary_plain(c, node, NULL, "copy");
}

/* Elements become smaller: a last dimension counts their pieces. Larger: the last one goes. */
static edge_status bitcast_shape(edge_planner *planner, edge_step *step) {
  const edge_unary *sizes = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank = input->rank;
  memcpy(shape, input->shape, sizeof shape);
  if (sizes->size_in > sizes->size_out) {
    if (rank == EDGE_MAX_RANK) {
      return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                            "expected an input of fewer than %lld dimensions, got as many",
                            (long long)EDGE_MAX_RANK);
    }
    shape[rank++] = (int32_t)(sizes->size_in / sizes->size_out);
  } else if (sizes->size_in < sizes->size_out) {
    const int32_t pieces = (int32_t)(sizes->size_out / sizes->size_in);
    if (rank < 1 || shape[rank - 1] != pieces) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected a last dimension of %lld, got %lld", (long long)pieces,
                            (long long)(rank < 1 ? 0 : shape[rank - 1]));
    }
    rank--;
  }
  EDGE_TRY(edge_set_shape(planner, step, 0, rank, shape));
  edge_share(planner, step);
  return EDGE_OK;
}

static void bitcast_run(const edge_frame *frame, const edge_step *step) {
  const void *in = edge_in(frame, step, 0);
  void *out = edge_out(frame, step, 0);
  if (in != out) memcpy(out, in, (size_t)frame->views[step->node->outputs[0]].bytes);
}

const edge_operator edge_operator_bitcast = {
    .code = 159,
    .name = "BITCAST",
    .version_max = 1,
    .options_type = 124,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = bitcast_compile,
    .shape = bitcast_shape,
    .run = bitcast_run,
};
