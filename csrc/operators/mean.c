/* MEAN and SUM over some dimensions: int8, uint8, int16, int32, int64, float32.
 *
 * XNNPACK (8 bits): the sum as float32 times input / output / count, with the zero points folded
 * into a float32 term, rounded half to even. LiteRT's own kernels: MEAN in fixed point, with a path
 * of its own for the mean over height and width that keeps the dimensions; SUM in float32, halves
 * away from zero. Floats are summed in float64, so that no order of theirs matters.
 *
 * Source: XNNPACK src/reference and src/subgraph/static-reduce.c; tflite/kernels/reduce.cc,
 * internal/optimized/integer_ops/mean.h, internal/optimized/reduce.h, internal/reference/reduce.h;
 * docs/numerics.md.
 */
#include "../operators.h"
#include "../ranges.h"
#include "../reduce.h"

typedef enum mean_rule { MEAN_XNN, MEAN_FIXED, MEAN_SUM, MEAN_PLAIN } mean_rule;

typedef struct mean_params {
  edge_type type;
  edge_quant input, output;
  edge_range range;
  bool keep_dimensions;
  bool sum; /* not divided by the count */
  mean_rule rule;
} mean_params;

typedef struct mean_state {
  edge_reduce reduce;
  float scale, offset;
  bool fixed_image; /* the optimised kernel for images */
  edge_fixed fixed;
  int32_t bias;
  int32_t channels;
} mean_state;

/* ---- compile ----------------------------------------------------------------------------- */

/* What XNNPACK's reductions take: constant axes, at most 6 of them. */
static bool xnn_takes(edge_compiler *c, const edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *axes = edge_node_input(c, node, 1);
  const uint64_t named = edge_stored_count(axes);
  return edge_xnn_activation(input) && edge_xnn_activation(edge_node_output(c, node, 0)) &&
         axes->data != NULL && axes->rank <= 1 && named >= 1 && named <= 6 && input->rank >= 1 &&
         input->rank <= 6;
}

static edge_status read_quantization(edge_compiler *c, edge_node *node, mean_params *p) {
  const bool short_type = p->type == EDGE_INT16;
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, 0), "an input", &p->input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &p->output));
  p->range = edge_type_range(p->type);
  p->rule = !short_type && xnn_takes(c, node) ? MEAN_XNN : p->sum ? MEAN_SUM : MEAN_FIXED;
  node->kernel = p->rule == MEAN_FIXED ? "rsum, fixed-point rounding" : "rsum, float32 rounding";
  if (!short_type || (p->input.zero_point == 0 && p->output.zero_point == 0)) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected int16 tensors with zero points of 0, got %lld and %lld",
                        (long long)p->input.zero_point, (long long)p->output.zero_point);
}

static edge_status sums_compile(edge_compiler *c, edge_node *node, bool sum) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  mean_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  *p = (mean_params){.type = input->type, .sum = sum, .rule = MEAN_PLAIN};
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", input->type));
  EDGE_TRY(edge_expect_axes(c, node));
  EDGE_TRY(edge_read_keep(c, node, &p->keep_dimensions));
  switch (p->type) {
    case EDGE_INT8:
    case EDGE_UINT8:
    case EDGE_INT16:
      return read_quantization(c, node, p);
    case EDGE_INT32:
    case EDGE_INT64:
    case EDGE_FLOAT32:
      return EDGE_OK;
    default:
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected an input of whole numbers or float32, got %s (tensor %lld)",
                            edge_type_name(p->type), (long long)node->inputs[0]);
  }
}

static edge_status mean_compile(edge_compiler *c, edge_node *node) {
  return sums_compile(c, node, false);
}

static edge_status sum_compile(edge_compiler *c, edge_node *node) {
  return sums_compile(c, node, true);
}

/* ---- shape ------------------------------------------------------------------------------- */

/* XNNPACK's terms, and those of LiteRT's SUM. */
static void plan_float(const mean_params *p, mean_state *s) {
  const float count = (float)s->reduce.count;
  const float ratio = p->input.scale / p->output.scale;
  if (p->rule == MEAN_SUM) {
    const float bias = (float)-p->input.zero_point * ratio;
    s->scale = ratio;
    s->offset = bias * count;
    return;
  }
  const float inverse = 1.0f / count;
  const float zero = count * (float)p->input.zero_point;
  s->scale = p->sum ? ratio : ratio * inverse;
  s->offset = (float)p->output.zero_point - zero * s->scale;
}

static void plan_fixed(const mean_params *p, mean_state *s) {
  const int64_t count = s->reduce.count;
  if (s->fixed_image) {
    const float quotient = (float)p->input.zero_point * p->input.scale / p->output.scale;
    const float rounded = quotient > 0.0f ? quotient + 0.5f : quotient - 0.5f;
    const float whole = (float)count * p->output.scale;
    const float most = 1073741824.0f; /* far beyond what an output of 8 bits can show */
    s->bias = p->output.zero_point - (int32_t)fmaxf(-most, fminf(rounded, most));
    s->fixed = edge_fixed_of((double)(p->input.scale / whole), false);
    return;
  }
  /* The multiplier takes in 1 / count, with as many more bits as fit. */
  const edge_fixed scale = edge_fixed_of((double)p->input.scale / (double)p->output.scale, true);
  int32_t shift = 63 - __builtin_clzll((unsigned long long)count);
  if (shift > 32) shift = 32;
  if (shift > 31 + scale.exponent) shift = 31 + scale.exponent;
  const int64_t multiplier = (int64_t)((uint64_t)scale.multiplier << shift) / count;
  s->fixed = (edge_fixed){(int32_t)multiplier, (int16_t)(scale.exponent - shift), true};
}

static edge_status sums_shape(edge_planner *planner, edge_step *step) {
  enum { HEIGHT_AND_WIDTH = 1 << 1 | 1 << 2 };
  const mean_params *p = step->node->params;
  mean_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(edge_reduce_plan(planner, step, p->keep_dimensions, &s->reduce));
  const edge_view *input = edge_view_in(planner, step, 0);
  s->channels = input->rank == 4 ? input->shape[3] : 0;
  s->fixed_image = p->type != EDGE_INT16 && p->keep_dimensions && input->rank == 4 &&
                   s->reduce.axes == HEIGHT_AND_WIDTH;
  step->scratch_size =
      (uint64_t)s->reduce.results * (p->rule == MEAN_PLAIN ? sizeof(int64_t) : sizeof(int32_t));
  if (s->reduce.count == 0 || p->rule == MEAN_PLAIN) return EDGE_OK;
  if (p->rule == MEAN_FIXED) {
    plan_fixed(p, s);
  } else {
    plan_float(p, s);
  }
  return EDGE_OK;
}

/* ---- run: sums --------------------------------------------------------------------------- */

typedef struct mean_job {
  const edge_kernels *kernels;
  const void *in;
  void *sums;
} mean_job;

/* Modulo 2^32, as LiteRT's accumulators of these types are; a tensor has fewer than 2^31 elements,
 * so that a row's total fits int64. */
#define EDGE_SUM_SMALL(name, type)                                                          \
  static void name(void *context, const edge_reduce_run *run) {                             \
    const mean_job *job = context;                                                          \
    const type *in = (const type *)job->in + run->in;                                       \
    int32_t *sum = (int32_t *)job->sums + run->out;                                         \
    if (run->joined) {                                                                      \
      int64_t total = *sum;                                                                 \
      for (int64_t i = 0; i < run->count; i++) total += in[i];                              \
      *sum = edge_wrap(total);                                                              \
    } else {                                                                                \
      for (int64_t i = 0; i < run->count; i++) sum[i] = edge_wrap((int64_t)sum[i] + in[i]); \
    }                                                                                       \
  }

#define EDGE_SUM_LARGE(name, type)                                                      \
  static void name(void *context, const edge_reduce_run *run) {                         \
    const mean_job *job = context;                                                      \
    const type *in = (const type *)job->in + run->in;                                   \
    uint64_t *sum = (uint64_t *)job->sums + run->out;                                   \
    const int64_t step = run->joined ? 0 : 1;                                           \
    for (int64_t i = 0; i < run->count; i++) sum[i * step] += (uint64_t)(int64_t)in[i]; \
  }

EDGE_SUM_SMALL(sum_joined_int8, int8_t)
EDGE_SUM_SMALL(sum_uint8, uint8_t)
EDGE_SUM_SMALL(sum_int16, int16_t)
EDGE_SUM_LARGE(sum_int32, int32_t)
EDGE_SUM_LARGE(sum_int64, int64_t)

static void sum_int8(void *context, const edge_reduce_run *run) {
  const mean_job *job = context;
  if (run->joined) {
    sum_joined_int8(context, run);
    return;
  }
  job->kernels->s8_rowsum((int32_t *)job->sums + run->out, (const int8_t *)job->in + run->in,
                          (size_t)run->count);
}

/* Several sums at once: one chain of additions would wait for each other. */
static double total_of(const float *in, int64_t count) {
  enum { LANES = 8 };
  double lanes[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    for (int64_t l = 0; l < LANES; l++) lanes[l] += (double)in[i + l];
  }
  for (int64_t l = 0; i < count; i++, l++) lanes[l] += (double)in[i];
  double total = 0.0;
  for (int l = 0; l < LANES; l++) total += lanes[l];
  return total;
}

static void sum_float(void *context, const edge_reduce_run *run) {
  const mean_job *job = context;
  const float *in = (const float *)job->in + run->in;
  double *sum = (double *)job->sums + run->out;
  if (run->joined) {
    *sum += total_of(in, run->count);
  } else {
    for (int64_t i = 0; i < run->count; i++) sum[i] += (double)in[i];
  }
}

static edge_reduce_run_fn *sum_of(edge_type type) {
  switch (type) {
    case EDGE_INT8:
      return sum_int8;
    case EDGE_UINT8:
      return sum_uint8;
    case EDGE_INT16:
      return sum_int16;
    case EDGE_INT32:
      return sum_int32;
    case EDGE_INT64:
      return sum_int64;
    default:
      return sum_float;
  }
}

/* ---- run: results ------------------------------------------------------------------------ */

static int32_t finish_float(const mean_params *p, const mean_state *s, int32_t sum) {
  const float scaled = (float)sum * s->scale;
  float value = scaled + s->offset;
  if (p->rule == MEAN_SUM) value = roundf(value) + (float)p->output.zero_point;
  if (isnan(value)) value = 0.0f;
  if (value < (float)p->range.min) value = (float)p->range.min;
  if (value > (float)p->range.max) value = (float)p->range.max;
  return edge_round_even(value);
}

static int32_t finish_fixed(const mean_params *p, const mean_state *s, int32_t sum, int64_t i) {
  int64_t value;
  if (s->fixed_image) {
    edge_fixed fixed = s->fixed;
    const int64_t vector = (int64_t)s->channels / 16 * 16;
    fixed.away = i % s->channels >= vector ? 1 : 0; /* behind the vector loop */
    value = (int64_t)edge_multiply(sum, fixed) + s->bias;
  } else {
    const int32_t centred = edge_wrap((int64_t)sum - s->reduce.count * p->input.zero_point);
    value = (int64_t)edge_multiply(centred, s->fixed) + p->output.zero_point;
  }
  return edge_clamp(value, p->range.min, p->range.max);
}

static void finish_quantized(const mean_params *p, const mean_state *s, const int32_t *sum,
                             void *out) {
  for (int64_t i = 0; i < s->reduce.results; i++) {
    const int32_t value =
        p->rule == MEAN_FIXED ? finish_fixed(p, s, sum[i], i) : finish_float(p, s, sum[i]);
    if (p->type == EDGE_INT16) {
      ((int16_t *)out)[i] = (int16_t)value;
    } else {
      ((uint8_t *)out)[i] = (uint8_t)value;
    }
  }
}

/* A mean of whole numbers is cut off towards zero. */
static void finish_plain(const mean_params *p, const mean_state *s, const void *sums, void *out) {
  const int64_t count = p->sum ? 1 : s->reduce.count;
  for (int64_t i = 0; i < s->reduce.results; i++) {
    if (p->type == EDGE_FLOAT32) {
      ((float *)out)[i] = (float)(((const double *)sums)[i] / (double)count);
    } else if (p->type == EDGE_INT64) {
      ((int64_t *)out)[i] = ((const int64_t *)sums)[i] / count;
    } else {
      ((int32_t *)out)[i] = edge_wrap(((const int64_t *)sums)[i] / count);
    }
  }
}

/* Nothing to reduce: LiteRT gives sums of 0, means that are not a number, and 0 where the type has
 * no such thing. Of quantized sums it gives nothing; here they are the output's zero. */
static void finish_empty(const mean_params *p, const mean_state *s, void *out) {
  const bool quantized = p->rule != MEAN_PLAIN;
  const int32_t zero = quantized && p->sum ? p->output.zero_point : 0;
  for (int64_t i = 0; i < s->reduce.results; i++) {
    if (p->type == EDGE_FLOAT32) ((float *)out)[i] = p->sum ? 0.0f : NAN;
    if (p->type == EDGE_INT64) ((int64_t *)out)[i] = 0;
    if (p->type == EDGE_INT32) ((int32_t *)out)[i] = 0;
    if (p->type == EDGE_INT16) ((int16_t *)out)[i] = (int16_t)zero;
    if (p->type == EDGE_INT8 || p->type == EDGE_UINT8) ((uint8_t *)out)[i] = (uint8_t)zero;
  }
}

static void sums_run(const edge_frame *frame, const edge_step *step) {
  const mean_params *p = step->node->params;
  const mean_state *s = step->state;
  void *out = edge_out(frame, step, 0);
  mean_job job = {.kernels = frame->model->kernels,
                  .in = edge_in(frame, step, 0),
                  .sums = edge_scratch(frame, step, 0)};
  if (s->reduce.count == 0) {
    finish_empty(p, s, out);
    return;
  }
  memset(job.sums, 0, step->scratch_size);
  edge_reduce_walk(&s->reduce, sum_of(p->type), &job);
  if (p->rule == MEAN_PLAIN) {
    finish_plain(p, s, job.sums, out);
  } else {
    finish_quantized(p, s, job.sums, out);
  }
}

const edge_operator edge_operator_mean = {
    .code = 40,
    .name = "MEAN",
    .version_max = 3,
    .options_type = 27,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = mean_compile,
    .shape = sums_shape,
    .run = sums_run,
};

const edge_operator edge_operator_sum = {
    .code = 74,
    .name = "SUM",
    .version_max = 2,
    .options_type = 27,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = sum_compile,
    .shape = sums_shape,
    .run = sums_run,
};
