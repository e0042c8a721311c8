/* Operators of one quantized input by table: 256 entries for 8-bit types, 513 for int16. */
#ifndef EDGE_LOOKUP_H
#define EDGE_LOOKUP_H

#include "unary.h"

/* What an operator of one 8-bit input gives, indexed by the input's unsigned byte. */
typedef struct edge_table8 {
  uint8_t bytes[256];
} edge_table8;

/* The int8 value whose byte is `index`. */
static inline int32_t edge_byte_value(int32_t index) {
  return index < 128 ? index : index - 256;
}

/* The quantized output of a quantized input; it is clamped to the output's type. */
typedef int64_t edge_lookup_fn(int32_t value, const void *context);

/* Makes the node a table of what `f` gives for each value of its 8-bit input. */
edge_status edge_lookup_values(edge_compiler *compiler, edge_node *node, edge_lookup_fn *f,
                               const void *context);

/* A function of real values, and how one of XNNPACK's nodes computes it, if any does. */
typedef struct edge_function {
  float (*own)(float x, const void *context);
  float (*xnn)(float x, const void *context);
  const void *context;
} edge_function;

/* Makes the node, whose input and output have one quantized type, a table of the function.
 *
 * 8 bits, XNNPACK: times 1 / scale, plus the zero point, halves to even. 8 bits, LiteRT: times
 * 1 / scale, halves away from zero, plus the zero point. int16: 513 entries, between which the
 * seven low bits interpolate. Source: tflite/kernels/internal/common.h, LUTPopulate and LUTLookup;
 * XNNPACK src/reference/unary-elementwise.cc. */
edge_status edge_lookup_function(edge_compiler *compiler, edge_node *node,
                                 const edge_function *function);

enum { EDGE_TABLE16 = 513 };

/* The table for int16, by float64 as SOFTMAX wants it. */
void edge_table16_double(int16_t table[EDGE_TABLE16], double (*f)(double), double input_scale,
                         int32_t input_zero, double output_scale);
int16_t edge_table16_at(const int16_t table[EDGE_TABLE16], int16_t value);

#endif
