/* LOGICAL_AND and LOGICAL_OR of bool; BITWISE_XOR and RIGHT_SHIFT of whole numbers of 8, 16 and 32
 * bits. Shapes broadcast.
 *
 * A shift is held between 0 and the type's bits less 1; that of a signed type keeps the sign.
 *
 * Source: tflite/kernels/logical.cc, bitwise_xor.cc, right_shift.cc.
 */
#include "../binary.h"
#include "../operators.h"

EDGE_BINARY_LOOP(and_bool, uint8_t, uint8_t, , (x != 0) & (y != 0))
EDGE_BINARY_LOOP(or_bool, uint8_t, uint8_t, , (x != 0) | (y != 0))
EDGE_BINARY_LOOP(xor_8, uint8_t, uint8_t, , x ^ y)
EDGE_BINARY_LOOP(xor_16, uint16_t, uint16_t, , x ^ y)
EDGE_BINARY_LOOP(xor_32, uint32_t, uint32_t, , x ^ y)

static inline int32_t held(int64_t shift, int32_t most) {
  return shift < 0 ? 0 : shift > most ? most : (int32_t)shift;
}

#define SHIFT(name, T, bits) EDGE_BINARY_LOOP(name, T, T, , x >> held(y, (bits) - 1))
SHIFT(shift_s8, int8_t, 8)
SHIFT(shift_u8, uint8_t, 8)
SHIFT(shift_s16, int16_t, 16)
SHIFT(shift_u16, uint16_t, 16)
SHIFT(shift_s32, int32_t, 32)
SHIFT(shift_u32, uint32_t, 32)

static const char whole_numbers[] = "int8, uint8, int16, uint16, int32 or uint32";

static edge_status and_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_BOOL, and_bool}, {EDGE_BOOL, NULL}};
  return edge_binary_plain(c, node, types, "bool");
}

static edge_status or_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_BOOL, or_bool}, {EDGE_BOOL, NULL}};
  return edge_binary_plain(c, node, types, "bool");
}

static edge_status xor_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {
      {EDGE_INT8, xor_8},   {EDGE_UINT8, xor_8},   {EDGE_INT16, xor_16}, {EDGE_UINT16, xor_16},
      {EDGE_INT32, xor_32}, {EDGE_UINT32, xor_32}, {EDGE_INT32, NULL}};
  return edge_binary_plain(c, node, types, whole_numbers);
}

static edge_status shift_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_INT8, shift_s8},   {EDGE_UINT8, shift_u8},
                                           {EDGE_INT16, shift_s16}, {EDGE_UINT16, shift_u16},
                                           {EDGE_INT32, shift_s32}, {EDGE_UINT32, shift_u32},
                                           {EDGE_INT32, NULL}};
  return edge_binary_plain(c, node, types, whole_numbers);
}

const edge_operator edge_operator_logical_and =
    EDGE_BINARY_OPERATOR(86, "LOGICAL_AND", 1, 62, and_compile);
const edge_operator edge_operator_logical_or =
    EDGE_BINARY_OPERATOR(84, "LOGICAL_OR", 1, 60, or_compile);
const edge_operator edge_operator_bitwise_xor =
    EDGE_BINARY_OPERATOR(160, "BITWISE_XOR", 1, 125, xor_compile);
const edge_operator edge_operator_right_shift =
    EDGE_BINARY_OPERATOR(161, "RIGHT_SHIFT", 1, 126, shift_compile);
