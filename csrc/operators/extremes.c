/* MAXIMUM and MINIMUM: float32, int8, uint8, int16, int32, int64; shapes broadcast.
 *
 * Of quantized tensors the stored numbers are compared, whatever their quantizations. Where one
 * float is NaN, the second operand is taken, as XNNPACK's vector instructions do it.
 *
 * Source: tflite/kernels/maximum_minimum.cc; XNNPACK src/f32-vbinary.
 */
#include "../binary.h"
#include "../operators.h"

#define EXTREMES(name, op)                                         \
  EDGE_BINARY_LOOP(name##_f32, float, float, , x op y ? x : y)     \
  EDGE_BINARY_LOOP(name##_s8, int8_t, int8_t, , x op y ? x : y)    \
  EDGE_BINARY_LOOP(name##_u8, uint8_t, uint8_t, , x op y ? x : y)  \
  EDGE_BINARY_LOOP(name##_s16, int16_t, int16_t, , x op y ? x : y) \
  EDGE_BINARY_LOOP(name##_s32, int32_t, int32_t, , x op y ? x : y) \
  EDGE_BINARY_LOOP(name##_s64, int64_t, int64_t, , x op y ? x : y)

#define TYPES(name)                                                                   \
  {                                                                                   \
      {EDGE_FLOAT32, name##_f32}, {EDGE_INT8, name##_s8},   {EDGE_UINT8, name##_u8},  \
      {EDGE_INT16, name##_s16},   {EDGE_INT32, name##_s32}, {EDGE_INT64, name##_s64}, \
      {EDGE_FLOAT32, NULL},                                                           \
  }

static const char known[] = "float32, int8, uint8, int16, int32 or int64";

EXTREMES(max, >)
EXTREMES(min, <)

static edge_status maximum_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = TYPES(max);
  edge_binary_chain(c, node, NULL);
  return edge_binary_plain(c, node, types, known);
}

static edge_status minimum_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = TYPES(min);
  edge_binary_chain(c, node, NULL);
  return edge_binary_plain(c, node, types, known);
}

const edge_operator edge_operator_maximum =
    EDGE_BINARY_OPERATOR(55, "MAXIMUM", 4, 39, maximum_compile);
const edge_operator edge_operator_minimum =
    EDGE_BINARY_OPERATOR(57, "MINIMUM", 4, 39, minimum_compile);
