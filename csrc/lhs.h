/* From an operator's input to what a kernel multiplies: the left-hand side of a product. */
#ifndef EDGE_LHS_H
#define EDGE_LHS_H

#include "internal.h"

/* How float32 becomes int8 while the model runs. docs/numerics.md has the arithmetic. */
typedef enum edge_dynamic_rule {
  EDGE_DYNAMIC_XNN,        /* XNNPACK: asymmetric, float32 */
  EDGE_DYNAMIC_ASYMMETRIC, /* LiteRT's AsymmetricQuantizeFloats */
  EDGE_DYNAMIC_SYMMETRIC   /* LiteRT's SymmetricQuantizeFloats */
} edge_dynamic_rule;

/* The quantization of some floats. */
typedef struct edge_dynamic {
  float scale;   /* of one step */
  float inverse; /* what a value is multiplied by */
  int32_t zero_point;
} edge_dynamic;

typedef struct edge_lhs {
  uint32_t in_size; /* bytes of an input element */
  uint32_t size;    /* bytes of what becomes of it */
  void (*put)(const struct edge_lhs *, void *out, const void *in, size_t count);
  edge_qs8_lhs_fn *qs8;
  int32_t zero_point; /* of the input: what padding stands for */
  edge_dynamic_rule rule;
  edge_dynamic dynamic; /* set by the run */
} edge_lhs;

/* The bytes as they are: int8 for depthwise kernels. */
edge_lhs edge_lhs_bytes(int32_t zero_point);
/* int8 for the table's matrix product. */
edge_lhs edge_lhs_qs8(const edge_kernels *kernels, int32_t zero_point);
/* int16: int8, uint8 or int16 without their zero point. */
edge_lhs edge_lhs_s16(edge_type type, int32_t zero_point);
/* int16: float32, quantized by the member `dynamic`, without its zero point. */
edge_lhs edge_lhs_quantized(edge_dynamic_rule rule);
edge_lhs edge_lhs_f32(void);

/* Rows of `depth` elements that lie together, each with its own quantization where that is made
 * here: then scales[r] is the scale of row r. */
void edge_lhs_put_rows(const edge_lhs *lhs, uint8_t *out, const uint8_t *in, int64_t rows,
                       int64_t depth, float *scales);

/* `count` elements of padding. */
void edge_lhs_pad(const edge_lhs *lhs, void *out, size_t count);

/* The quantization of `count` values, at least one. */
edge_dynamic edge_dynamic_of(edge_dynamic_rule rule, const float *values, size_t count);

#endif
