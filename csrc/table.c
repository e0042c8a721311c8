#include "table.h"

#include <math.h>

int8_t edge_quantize_reference(float value, edge_quant output) {
  const float inverse = 1.0f / output.scale;
  const float scaled = value * inverse;
  float shifted = scaled + (float)output.zero_point;
  if (isnan(shifted)) shifted = 0.0f;
  if (shifted < (float)INT8_MIN) shifted = (float)INT8_MIN;
  if (shifted > (float)INT8_MAX) shifted = (float)INT8_MAX;
  return (int8_t)edge_round_even(shifted);
}

void edge_table8_float(edge_table8 *table, float (*f)(float), edge_quant input, edge_quant output,
                       edge_range range) {
  for (int32_t i = 0; i < 256; i++) {
    const float shifted = (float)edge_byte_value(i) - (float)input.zero_point;
    const int8_t q = edge_quantize_reference(f(shifted * input.scale), output);
    table->bytes[i] = (uint8_t)edge_clamp(q, range.min, range.max);
  }
}

void edge_table8_fixed(edge_table8 *table, edge_fixed fixed, edge_quant input, edge_quant output,
                       edge_range range) {
  for (int32_t i = 0; i < 256; i++) {
    const int64_t value =
        (int64_t)edge_multiply(edge_byte_value(i) - input.zero_point, fixed) + output.zero_point;
    table->bytes[i] = (uint8_t)edge_clamp(value, range.min, range.max);
  }
}
