#include "scatter.h"

#include "requantize.h"

/* ---- sums -------------------------------------------------------------------------------- */

/* Integers modulo the size of the sums. */
#define EDGE_SCATTER_ADD(name, operand, sum_type, product)                                   \
  static void name(const edge_scatter *p, const void *in, const void *weights, void *sums) { \
    const operand *x = in;                                                                   \
    const operand *w = weights;                                                              \
    sum_type *sum = sums;                                                                    \
    for (int32_t i = 0; i < p->channels; i++, w += p->outputs) {                             \
      for (int32_t o = 0; o < p->outputs; o++)                                               \
        sum[o] += (sum_type)((product)x[i] * (product)w[o]);                                 \
    }                                                                                        \
  }

EDGE_SCATTER_ADD(add_narrow, int16_t, uint32_t, int32_t)
EDGE_SCATTER_ADD(add_wide, int16_t, uint64_t, int64_t)
EDGE_SCATTER_ADD(add_float, float, float, float)

/* ---- results ----------------------------------------------------------------------------- */

/* `away` matters to uint8, whose elements LiteRT rounds away from zero behind a vector loop. */
static int32_t rescale(const edge_scatter *p, int32_t sum, int32_t o, bool away) {
  if (p->xnn) return edge_rescale_float(sum, p->output.scale[o], &p->output);
  edge_fixed fixed = p->output.fixed[o];
  if (p->type == EDGE_UINT8) fixed.away = away;
  return edge_rescale_fixed(sum, fixed, &p->output);
}

#define EDGE_SCATTER_FINISH(name, out_type)                                           \
  static void name(const edge_scatter *p, const edge_scatter_sums *sums, void *out) { \
    const uint32_t *sum = sums->sums;                                                 \
    const int32_t *bias = p->bias;                                                    \
    const int64_t vector = sums->total / 16 * 16 - sums->first;                       \
    out_type *to = out;                                                               \
    int32_t o = 0;                                                                    \
    for (int64_t i = 0; i < sums->count; i++) {                                       \
      const int32_t biased = edge_wrap((int64_t)sum[i] + bias[o]);                    \
      to[i] = (out_type)rescale(p, biased, o, i >= vector);                           \
      if (++o == p->outputs) o = 0;                                                   \
    }                                                                                 \
  }

EDGE_SCATTER_FINISH(finish_int8, int8_t)
EDGE_SCATTER_FINISH(finish_uint8, uint8_t)
EDGE_SCATTER_FINISH(finish_int16, int16_t)

static void finish_wide(const edge_scatter *p, const edge_scatter_sums *sums, void *out) {
  const uint64_t *sum = sums->sums;
  const int64_t *bias = p->bias;
  int16_t *to = out;
  for (int64_t i = 0; i < sums->count; i++) {
    const int64_t o = i % p->outputs;
    const int64_t biased = (int64_t)(sum[i] + (uint64_t)bias[o]);
    to[i] = (int16_t)edge_clamp(edge_multiply_wide(biased, p->output.fixed[o]), p->output.min,
                                p->output.max);
  }
}

static void finish_float(const edge_scatter *p, const edge_scatter_sums *sums, void *out) {
  const float *sum = sums->sums;
  const float *bias = p->bias;
  float *to = out;
  for (int64_t i = 0; i < sums->count; i += p->outputs) {
    for (int32_t o = 0; o < p->outputs; o++) {
      to[i + o] = edge_clamp_float(sum[i + o] + bias[o], p->range);
    }
  }
}

static void finish_dynamic(const edge_scatter *p, const edge_scatter_sums *sums, void *out) {
  const int32_t *sum = sums->sums;
  const float *bias = p->bias;
  float *to = out;
  for (int64_t i = 0; i < sums->count; i += p->outputs) {
    for (int32_t o = 0; o < p->outputs; o++) {
      const float product = (float)sum[i + o] * sums->scale * p->scales[o];
      to[i + o] = edge_clamp_float(product + bias[o], p->range);
    }
  }
}

bool edge_scatter_choose(edge_scatter *scatter, bool wide, bool dynamic) {
  scatter->add = add_narrow;
  scatter->sum_size = sizeof(int32_t);
  switch (scatter->type) {
    case EDGE_INT8:
      scatter->finish = finish_int8;
      return true;
    case EDGE_UINT8:
      scatter->finish = finish_uint8;
      return true;
    case EDGE_INT16:
      scatter->finish = wide ? finish_wide : finish_int16;
      if (!wide) return true;
      scatter->add = add_wide;
      scatter->sum_size = sizeof(int64_t);
      return true;
    case EDGE_FLOAT32:
      scatter->finish = dynamic ? finish_dynamic : finish_float;
      if (dynamic) return true;
      scatter->add = add_float;
      scatter->sum_size = sizeof(float);
      scatter->lhs = edge_lhs_f32();
      return true;
    default:
      return false;
  }
}
