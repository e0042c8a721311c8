/* Tables of 256 entries: what an int8 or uint8 operator of one input gives for each byte. */
#ifndef EDGE_TABLE_H
#define EDGE_TABLE_H

#include "internal.h"
#include "rules.h"

/* Indexed by the input's unsigned byte. */
typedef struct edge_table8 {
  uint8_t bytes[256];
} edge_table8;

/* The int8 value whose byte is `index`. */
static inline int32_t edge_byte_value(int32_t index) {
  return index < 128 ? index : index - 256;
}

/* float32 -> int8 as XNNPACK's reference kernels do it: times 1 / scale, plus the zero point,
 * rounded half to even, NaN as 0. Source: XNNPACK src/reference. */
int8_t edge_quantize_reference(float value, edge_quant output);

/* f of every int8 value, dequantized, quantized by edge_quantize_reference() and clamped. */
void edge_table8_float(edge_table8 *table, float (*f)(float), edge_quant input, edge_quant output,
                       edge_range range);

/* (q - input zero) * fixed + output zero, clamped. */
void edge_table8_fixed(edge_table8 *table, edge_fixed fixed, edge_quant input, edge_quant output,
                       edge_range range);

#endif
