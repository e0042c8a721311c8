/* Which arithmetic LiteRT's default path uses, and its numbers. docs/numerics.md has the table.
 *
 * On x86-64 LiteRT gives a node to XNNPACK where XNNPACK can take it, and runs its own optimised
 * kernels otherwise. Where XNNPACK takes a node and then cannot build it, LiteRT refuses the model;
 * the core runs it by the optimised rule. So each operator asks one question here: does XNNPACK
 * take and build this node? Sources: tflite/delegates/xnnpack/xnnpack_delegate.cc in LiteRT,
 * src/subgraph and src/operators in XNNPACK.
 */
#ifndef EDGE_RULES_H
#define EDGE_RULES_H

#include "internal.h"
#include "requantize.h"

typedef struct edge_range {
  int32_t min, max;
} edge_range;

/* The delegate takes tensors of at most 6 dimensions, none of them empty. */
bool edge_xnn_shape(const edge_tensor *tensor);
/* A scale that XNNPACK works with: finite, above 0, not denormal. */
bool edge_scale_normal(float scale);
/* An activation that the delegate takes: per-tensor, quantized dimension 0, a normal scale. */
bool edge_xnn_activation(const edge_tensor *tensor);
/* Static int8 weights with zero points 0 that the delegate takes, and an int32 bias, or NULL. */
bool edge_xnn_weights(const edge_tensor *weights, const edge_tensor *bias);
/* The same for dense layers, whose bias may be per-tensor beside per-channel weights. */
bool edge_xnn_dense_weights(const edge_tensor *weights, const edge_tensor *bias);
/* Every input * weight / output is below 2^8, XNNPACK's bound. */
bool edge_xnn_scales(const edge_tensor *weights, float input, float output);

/* input * weight / output, in float32 step by step. */
float edge_scale_float(float input, float weight, float output);
/* QuantizeMultiplier of LiteRT. Below 2^30, beyond which LiteRT's shifts leave 32 bits. */
edge_fixed edge_fixed_of(double real, bool away);
edge_status edge_expect_fixed(edge_compiler *compiler, const edge_node *node, double real,
                              bool away, edge_fixed *fixed);

/* From sums of a layer with weights to its outputs. */
typedef struct edge_multipliers {
  const edge_tensor *weights; /* their scales, one or one for each output */
  uint32_t outputs;
  float input, output;
  bool xnn;           /* float32, else fixed point */
  bool float_product; /* the latter: input * weight is rounded to float32 */
  uint32_t away_from; /* likewise: the first output whose halves are rounded away from zero */
} edge_multipliers;

/* Makes one of the two arrays of `output`, [outputs] and some more, in memory of the model. */
edge_status edge_multipliers_pack(edge_compiler *compiler, const edge_node *node,
                                  const edge_multipliers *multipliers, edge_qs8_output *output);

bool edge_activation_known(int8_t activation);
/* The fused activation as bounds of a float, infinite where there are none. */
void edge_activation_bounds(int8_t activation, float *min, float *max);
/* The fused activation as a range of the output's int8 values, by XNNPACK's rounding. */
edge_range edge_range_float(int8_t activation, edge_quant output);
/* The same by LiteRT's rounding. False: a bound does not fit int32. */
bool edge_range_fixed(int8_t activation, edge_quant output, edge_range *range);

/* Reads and checks a fused activation. */
edge_status edge_read_activation(edge_compiler *compiler, const edge_node *node, uint32_t field,
                                 int8_t *activation);
/* The range of the rule `xnn`, or an error. */
edge_status edge_output_range(edge_compiler *compiler, const edge_node *node, bool xnn,
                              int8_t activation, edge_quant output, edge_range *range);
/* The same for an output of another type of 8 or 16 bits. */
edge_status edge_output_range_of(edge_compiler *compiler, const edge_node *node, bool xnn,
                                 int8_t activation, edge_quant output, edge_type type,
                                 edge_range *range);

#endif
