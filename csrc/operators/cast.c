/* CAST: between whole numbers, bool, float16, float32, float64 and complex64.
 *
 * Whole numbers wrap; floating-point ones are cut off and saturate, NaN becoming the largest whole
 * number; of a complex number the real part counts. A row goes through int64 or float64, which hold
 * all of them.
 *
 * Source: tflite/kernels/cast.cc; docs/numerics.md.
 */
#include <math.h>
#include <string.h>

#include "../half.h"
#include "../operators.h"
#include "../requantize.h"
#include "../unary.h"

enum { PIECE = 256 };

typedef struct cast {
  edge_unary unary;
  edge_type from, to;
} cast;

static bool is_whole(edge_type type) {
  return type != EDGE_FLOAT16 && type != EDGE_FLOAT32 && type != EDGE_FLOAT64 &&
         type != EDGE_COMPLEX64;
}

/* ---- reading ----------------------------------------------------------------------------- */

#define READ(type, from, values, count) \
  for (size_t i = 0; i < (count); i++) (values)[i] = ((const type *)(from))[i]

static void read_whole(edge_type type, const void *from, int64_t *values, size_t count) {
  switch (type) {
    case EDGE_INT64:
      READ(int64_t, from, values, count);
      break;
    case EDGE_INT32:
      READ(int32_t, from, values, count);
      break;
    case EDGE_UINT32:
      READ(uint32_t, from, values, count);
      break;
    case EDGE_INT16:
      READ(int16_t, from, values, count);
      break;
    case EDGE_UINT16:
      READ(uint16_t, from, values, count);
      break;
    case EDGE_INT8:
      READ(int8_t, from, values, count);
      break;
    case EDGE_BOOL:
      for (size_t i = 0; i < count; i++) values[i] = ((const uint8_t *)from)[i] != 0;
      break;
    default:
      READ(uint8_t, from, values, count);
  }
}

static void read_real(edge_type type, const void *from, double *values, size_t count) {
  switch (type) {
    case EDGE_FLOAT64:
      READ(double, from, values, count);
      break;
    case EDGE_FLOAT32:
      READ(float, from, values, count);
      break;
    case EDGE_FLOAT16:
      for (size_t i = 0; i < count; i++) {
        values[i] = (double)edge_half_to_float(((const uint16_t *)from)[i]);
      }
      break;
    default: /* complex64: the real parts */
      for (size_t i = 0; i < count; i++) values[i] = (double)((const float *)from)[2 * i];
  }
}

/* ---- writing ----------------------------------------------------------------------------- */

#define WRITE(type, to, expression, count) \
  for (size_t i = 0; i < (count); i++) ((type *)(to))[i] = (type)(expression)

static void write_whole(edge_type type, void *to, const int64_t *values, size_t count) {
  switch (type) {
    case EDGE_INT64:
      WRITE(int64_t, to, values[i], count);
      break;
    case EDGE_INT32:
      WRITE(int32_t, to, (uint64_t)values[i], count);
      break;
    case EDGE_UINT32:
      WRITE(uint32_t, to, (uint64_t)values[i], count);
      break;
    case EDGE_INT16:
    case EDGE_UINT16:
      WRITE(uint16_t, to, (uint64_t)values[i], count);
      break;
    case EDGE_BOOL:
      WRITE(uint8_t, to, values[i] != 0, count);
      break;
    default:
      WRITE(uint8_t, to, (uint64_t)values[i], count);
  }
}

/* Of a number that has been cut off. 2^63 is the first that int64 does not hold. */
static int64_t saturated(double value, double least, double most) {
  const double whole = trunc(value);
  if (isnan(whole) || whole >= most) return most >= 0x1p63 ? INT64_MAX : (int64_t)most;
  return whole <= least ? (least <= -0x1p63 ? INT64_MIN : (int64_t)least) : (int64_t)whole;
}

static void saturate(edge_type type, const double *values, int64_t *whole, size_t count) {
  static const struct {
    edge_type type;
    double least, most;
  } bounds[] = {
      {EDGE_INT64, -0x1p63, 0x1p63},    {EDGE_INT32, -2147483648.0, 2147483647.0},
      {EDGE_UINT32, 0.0, 4294967295.0}, {EDGE_INT16, INT16_MIN, INT16_MAX},
      {EDGE_UINT16, 0.0, UINT16_MAX},   {EDGE_INT8, INT8_MIN, INT8_MAX},
      {EDGE_UINT8, 0.0, UINT8_MAX},
  };
  size_t k = 0;
  while (bounds[k].type != type) k++;
  for (size_t i = 0; i < count; i++) {
    whole[i] = saturated(values[i], bounds[k].least, bounds[k].most);
  }
}

static void write_real(edge_type type, void *to, const double *values, size_t count) {
  switch (type) {
    case EDGE_FLOAT64:
      WRITE(double, to, values[i], count);
      break;
    case EDGE_FLOAT32:
      WRITE(float, to, values[i], count);
      break;
    case EDGE_FLOAT16:
      WRITE(uint16_t, to, edge_float_to_half((float)values[i]), count);
      break;
    default: /* complex64 */
      for (size_t i = 0; i < count; i++) {
        ((float *)to)[2 * i] = (float)values[i];
        ((float *)to)[2 * i + 1] = 0.0f;
      }
  }
}

/* float32 and float16 of an int64 that is above 2^53: rounded once, not by way of float64. */
static void write_rounded(edge_type type, void *to, const int64_t *values, size_t count) {
  double reals[PIECE];
  for (size_t i = 0; i < count; i++) {
    reals[i] = type == EDGE_FLOAT64 ? (double)values[i] : (double)(float)values[i];
  }
  write_real(type, to, reals, count);
}

static void cast_piece(const cast *p, const void *from, void *to, size_t count) {
  int64_t whole[PIECE];
  double real[PIECE];
  if (is_whole(p->from)) {
    read_whole(p->from, from, whole, count);
    if (is_whole(p->to)) {
      write_whole(p->to, to, whole, count);
    } else {
      write_rounded(p->to, to, whole, count);
    }
    return;
  }
  read_real(p->from, from, real, count);
  if (!is_whole(p->to)) {
    write_real(p->to, to, real, count);
  } else if (p->to == EDGE_BOOL) {
    WRITE(uint8_t, to, real[i] != 0.0, count);
  } else {
    saturate(p->to, real, whole, count);
    write_whole(p->to, to, whole, count);
  }
}

static void cast_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const cast *p = (const cast *)(const void *)unary;
  const uint8_t *from = in;
  uint8_t *to = out;
  if (p->from == p->to) {
    memcpy(out, in, count * unary->size_in);
    return;
  }
  for (size_t i = 0; i < count; i += PIECE) {
    const size_t piece = count - i < PIECE ? count - i : PIECE;
    cast_piece(p, from + i * unary->size_in, to + i * unary->size_out, piece);
  }
}

static edge_status cast_compile(edge_compiler *c, edge_node *node) {
  const uint32_t types =
      EDGE_TYPE_BIT(EDGE_FLOAT32) | EDGE_TYPE_BIT(EDGE_FLOAT16) | EDGE_TYPE_BIT(EDGE_FLOAT64) |
      EDGE_TYPE_BIT(EDGE_INT64) | EDGE_TYPE_BIT(EDGE_INT32) | EDGE_TYPE_BIT(EDGE_UINT32) |
      EDGE_TYPE_BIT(EDGE_INT16) | EDGE_TYPE_BIT(EDGE_UINT16) | EDGE_TYPE_BIT(EDGE_INT8) |
      EDGE_TYPE_BIT(EDGE_UINT8) | EDGE_TYPE_BIT(EDGE_BOOL) | EDGE_TYPE_BIT(EDGE_COMPLEX64);
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_one_of(c, node, input, "an input", types));
  EDGE_TRY(edge_expect_one_of(c, node, output, "an output", types));
  cast *p = edge_unary_params(c, node, sizeof *p, cast_span);
  if (p == NULL) return edge_no_memory(c->error);
  p->from = input->type;
  p->to = output->type;
  return EDGE_OK;
}

EDGE_UNARY(cast, 53, "CAST", 9, 37, cast_compile);
