/* MEAN: int8 over constant axes.
 *
 * XNNPACK: the sum as float32 times input / output / count, with the zero points folded into a
 * float32 term, rounded half to even. LiteRT's own kernels: fixed point, with a path of their own
 * for the mean over height and width that keeps the dimensions.
 *
 * Source: XNNPACK src/reference and src/subgraph/static-reduce.c; tflite/kernels/reduce.cc,
 * internal/optimized/integer_ops/mean.h, internal/reference/reduce.h; docs/numerics.md.
 */
#include "../operators.h"
#include "../reduce.h"
#include "../rules.h"

typedef struct mean_params {
  edge_quant input, output;
  bool keep_dimensions;
  bool xnn;
  bool in_order; /* axes are height and width of an image: [1, 2] in any order, each once */
  uint32_t axes; /* bit d: dimension d of an input of this rank is reduced */
  int32_t rank;
} mean_params;

typedef struct mean_state {
  edge_reduce reduce;
  int64_t count; /* elements of one sum */
  float scale, offset;
  bool fixed_image; /* the optimised kernel for images */
  edge_fixed fixed;
  int32_t bias;
  int32_t channels;
} mean_state;

static edge_status mean_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *axes = edge_node_input(c, node, 1);
  const edge_tensor *output = edge_node_output(c, node, 0);
  mean_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_type(c, node, input, "an input", EDGE_INT8));
  EDGE_TRY(edge_expect_type(c, node, output, "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &p->input));
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &p->output));
  EDGE_TRY(edge_read_axes(c, node, axes, input->rank, &p->axes));
  if (!edge_table_bool(&node->options, REDUCER_KEEP_DIMS, false, &p->keep_dimensions)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  const int64_t named = edge_count(axes->shape, 0, axes->rank);
  p->rank = input->rank;
  p->in_order = input->rank == 4 && named == 2 && p->axes == 6;
  p->xnn = edge_xnn_activation(input) && edge_xnn_activation(output) && axes->rank <= 1 &&
           named >= 1 && named <= 6 && input->rank >= 1 && input->rank <= 6;
  node->kernel = p->xnn ? "rsum, float32 rounding" : "rsum, fixed-point rounding";
  return EDGE_OK;
}

static void plan_float(const mean_params *p, mean_state *s) {
  const float inverse = 1.0f / (float)s->count;
  const float ratio = p->input.scale / p->output.scale;
  const float zero = (float)s->count * (float)p->input.zero_point;
  s->scale = ratio * inverse;
  s->offset = (float)p->output.zero_point - zero * s->scale;
}

static void plan_fixed(const mean_params *p, mean_state *s) {
  if (s->fixed_image) {
    const float quotient = (float)p->input.zero_point * p->input.scale / p->output.scale;
    const float rounded = quotient > 0.0f ? quotient + 0.5f : quotient - 0.5f;
    const float whole = (float)s->count * p->output.scale;
    const float most = 1073741824.0f; /* far beyond what an int8 output can show */
    s->bias = p->output.zero_point - (int32_t)fmaxf(-most, fminf(rounded, most));
    s->fixed = edge_fixed_of((double)(p->input.scale / whole), false);
    return;
  }
  /* The multiplier takes in 1 / count, with as many more bits as fit. */
  const edge_fixed scale = edge_fixed_of((double)p->input.scale / (double)p->output.scale, true);
  int32_t shift = 63 - __builtin_clzll((unsigned long long)s->count);
  if (shift > 32) shift = 32;
  if (shift > 31 + scale.exponent) shift = 31 + scale.exponent;
  const int64_t multiplier = (int64_t)((uint64_t)scale.multiplier << shift) / s->count;
  s->fixed = (edge_fixed){(int32_t)multiplier, (int16_t)(scale.exponent - shift), true};
}

static edge_status mean_shape(edge_planner *planner, edge_step *step) {
  const mean_params *p = step->node->params;
  mean_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(
      edge_reduce_plan(planner, step, p->rank, p->axes, p->keep_dimensions, &s->reduce, &s->count));
  const edge_view *input = edge_view_in(planner, step, 0);
  s->channels = input->rank == 4 ? input->shape[3] : 0;
  s->fixed_image = p->in_order && p->keep_dimensions;
  step->scratch_size = edge_reduce_sums(&s->reduce) * sizeof(int32_t);
  if (p->xnn) {
    plan_float(p, s);
  } else {
    plan_fixed(p, s);
  }
  return EDGE_OK;
}

static int8_t finish_float(const mean_state *s, int32_t sum) {
  const float scaled = (float)sum * s->scale;
  float value = scaled + s->offset;
  if (isnan(value)) value = 0.0f;
  if (value < (float)INT8_MIN) value = (float)INT8_MIN;
  if (value > (float)INT8_MAX) value = (float)INT8_MAX;
  return (int8_t)edge_round_even(value);
}

static int8_t finish_fixed(const mean_params *p, const mean_state *s, int32_t sum, int64_t i) {
  int64_t value;
  if (s->fixed_image) {
    edge_fixed fixed = s->fixed;
    const int64_t vector = (int64_t)s->channels / 16 * 16;
    fixed.away = i % s->channels >= vector ? 1 : 0; /* behind the vector loop */
    value = (int64_t)edge_multiply(sum, fixed) + s->bias;
  } else {
    const int32_t centred = edge_wrap((int64_t)sum - s->count * p->input.zero_point);
    value = (int64_t)edge_multiply(centred, s->fixed) + p->output.zero_point;
  }
  return (int8_t)edge_clamp(value, INT8_MIN, INT8_MAX);
}

static void mean_run(const edge_frame *frame, const edge_step *step) {
  const mean_params *p = step->node->params;
  const mean_state *s = step->state;
  const int64_t sums = (int64_t)edge_reduce_sums(&s->reduce);
  int32_t *sum = (int32_t *)(void *)edge_scratch(frame, step, 0);
  int8_t *out = edge_out(frame, step, 0);
  memset(sum, 0, (size_t)sums * sizeof *sum);
  edge_reduce_sum(&s->reduce, frame->model->kernels, edge_in(frame, step, 0), sum);
  for (int64_t i = 0; i < sums; i++) {
    out[i] = p->xnn ? finish_float(s, sum[i]) : finish_fixed(p, s, sum[i], i);
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
    .shape = mean_shape,
    .run = mean_run,
};
