/* Fixed-point functions of 16-bit numbers, as the integer LSTM of LiteRT evaluates them.
 *
 * A number of `k` integer bits is its integer times 2^(k - 15). Results have no integer bits. Every
 * step rounds in a way that the bits of the result depend on, so this is not tanh() rounded.
 * Source: gemmlowp fixedpoint/fixedpoint.h; tflite/kernels/internal/common.h in LiteRT.
 */
#ifndef EDGE_FIXEDPOINT_H
#define EDGE_FIXEDPOINT_H

#include <stdint.h>

#include "kernels.h"

enum { EDGE_TANH_BITS_MAX = 6 };

/* tanh of a number of 0 ... EDGE_TANH_BITS_MAX integer bits. */
int16_t edge_fixed_tanh(int16_t value, int integer_bits);
/* 1 / (1 + e^-x) of a number of 3 integer bits. */
int16_t edge_fixed_logistic(int16_t value);
/* 1 / sqrt(value) as a multiplier that rounds away from zero; 1 for values below 2. */
edge_fixed edge_fixed_inverse_sqrt(int32_t value);
/* value / 2^shift, halves away from zero; shift in 0 ... 31. */
int32_t edge_round_shift(int32_t value, int shift);

#endif
