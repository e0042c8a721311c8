/* Functions of fixed-point numbers as gemmlowp computes them, for the operators whose arithmetic in
 * LiteRT is integer throughout. Source: google/gemmlowp, fixedpoint/fixedpoint.h;
 * tflite/kernels/internal/common.h. */
#ifndef EDGE_FIXED_POINT_H
#define EDGE_FIXED_POINT_H

#include <stdbool.h>

#include "requantize.h"

/* tanh and logistic of an int16 with `integer_bits` bits before the point (0 ... 6), as an int16
 * with none. */
int16_t edge_tanh16(int16_t value, int32_t integer_bits);
int16_t edge_logistic16(int16_t value, int32_t integer_bits);

/* 1 / sqrt(value) as a multiplier for edge_multiply(), halves away from zero; of 1 where the value
 * is below 2. */
edge_fixed edge_inverse_sqrt(int32_t value);

/* 256 entries of logistic(i / 24) with 16 bits behind the point, which LiteRT's int16 LOGISTIC and
 * TANH interpolate. */
void edge_logistic_table16(uint16_t table[256]);

#endif
