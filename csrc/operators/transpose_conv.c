/* TRANSPOSE_CONV: output shape int32 [4], weights [O][KH][KW][I], input [N][H][W][I], bias [O] or
 * none -> [N][OH][OW][O]; int8, uint8, int16 with int8 weights, float32, and float32 with int8
 * weights.
 *
 * Every input cell adds its product with the weights to the KH x KW output cells from its place
 * times the stride on. A task makes one row of output: the kernel rows that reach it, in order.
 *
 * Source: tflite/kernels/transpose_conv.cc, internal/optimized/integer_ops/transpose_conv.h,
 * internal/optimized/optimized_ops.h; XNNPACK src/operators/deconvolution-nhwc.c; docs/numerics.md.
 */
#include "../matrix.h"
#include "../operators.h"
#include "../ranges.h"
#include "../window.h"

enum { OUTPUT_SHAPE, WEIGHTS, INPUT, BIAS };

/* Adds one input cell's products to one output cell: sums[o] += in[i] * weights[i][o]. */
struct deconv_params;
typedef void deconv_fn(const struct deconv_params *p, const void *in, const void *weights,
                       void *sums);
/* Turns `count` sums, whole cells, into outputs first ... of the `total` that the tensor has. */
typedef void deconv_finish_fn(const struct deconv_params *p, const void *sums, int64_t first,
                              int64_t total, int64_t count, void *out);

typedef struct deconv_params {
  edge_window window; /* of the output, whose cells play the input's part */
  edge_type type;
  bool xnn;
  int32_t outputs, channels;
  int32_t zero_point;     /* of the input */
  const void *weights;    /* [KH][KW][I][O], int16 without zero point, or float */
  const void *bias;       /* [O], of the sums' type */
  uint64_t sum_size;      /* bytes of a sum: int32, int64, float */
  edge_qs8_output output; /* arrays are [O] */
  edge_float_range range;
  deconv_fn *add;
  deconv_finish_fn *finish;
} deconv_params;

typedef struct deconv_state {
  edge_window window;
  int32_t batches;
} deconv_state;

/* ---- run: sums --------------------------------------------------------------------------- */

/* Integers modulo the size of the sums. */
#define EDGE_DECONV(name, in_type, weight_type, sum_type, product)                            \
  static void name(const deconv_params *p, const void *in, const void *weights, void *sums) { \
    const in_type *x = in;                                                                    \
    const weight_type *w = weights;                                                           \
    sum_type *sum = sums;                                                                     \
    for (int32_t i = 0; i < p->channels; i++, w += p->outputs) {                              \
      const product factor = (product)x[i] - (product)p->zero_point;                          \
      for (int32_t o = 0; o < p->outputs; o++) sum[o] += (sum_type)(factor * (product)w[o]);  \
    }                                                                                         \
  }

EDGE_DECONV(add_int8, int8_t, int16_t, uint32_t, int32_t)
EDGE_DECONV(add_uint8, uint8_t, int16_t, uint32_t, int32_t)
EDGE_DECONV(add_int16, int16_t, int16_t, uint32_t, int32_t)
EDGE_DECONV(add_wide, int16_t, int16_t, uint64_t, int64_t)
EDGE_DECONV(add_float, float, float, float, float)

/* ---- run: results ------------------------------------------------------------------------ */

/* `away` matters to uint8, whose elements LiteRT rounds away from zero behind a vector loop. */
static int32_t requantize(const deconv_params *p, int32_t sum, int32_t o, bool away) {
  const edge_qs8_output *output = &p->output;
  if (p->xnn) {
    const float min = (float)(output->min - output->zero_point);
    const float max = (float)(output->max - output->zero_point);
    const float value = (float)sum * output->scale[o];
    return edge_round_even(value < min ? min : value > max ? max : value) + output->zero_point;
  }
  edge_fixed fixed = output->fixed[o];
  if (p->type == EDGE_UINT8) fixed.away = away;
  return edge_clamp((int64_t)edge_multiply(sum, fixed) + output->zero_point, output->min,
                    output->max);
}

#define EDGE_DECONV_FINISH(name, out_type)                                                 \
  static void name(const deconv_params *p, const void *sums, int64_t first, int64_t total, \
                   int64_t count, void *out) {                                             \
    const uint32_t *sum = sums;                                                            \
    const int32_t *bias = p->bias;                                                         \
    out_type *to = out;                                                                    \
    int32_t o = 0;                                                                         \
    for (int64_t i = 0; i < count; i++) {                                                  \
      const int32_t biased = edge_wrap((int64_t)sum[i] + bias[o]);                         \
      to[i] = (out_type)requantize(p, biased, o, first + i >= total / 16 * 16);            \
      if (++o == p->outputs) o = 0;                                                        \
    }                                                                                      \
  }

EDGE_DECONV_FINISH(finish_int8, int8_t)
EDGE_DECONV_FINISH(finish_uint8, uint8_t)
EDGE_DECONV_FINISH(finish_int16, int16_t)

static void finish_wide(const deconv_params *p, const void *sums, int64_t first, int64_t total,
                        int64_t count, void *out) {
  const uint64_t *sum = sums;
  const int64_t *bias = p->bias;
  int16_t *to = out;
  (void)first;
  (void)total;
  for (int64_t i = 0; i < count; i++) {
    const int64_t o = i % p->outputs;
    const int64_t biased = (int64_t)(sum[i] + (uint64_t)bias[o]);
    to[i] = (int16_t)edge_clamp(edge_multiply_wide(biased, p->output.fixed[o]), p->output.min,
                                p->output.max);
  }
}

static void finish_float(const deconv_params *p, const void *sums, int64_t first, int64_t total,
                         int64_t count, void *out) {
  const float *sum = sums;
  const float *bias = p->bias;
  float *to = out;
  (void)first;
  (void)total;
  for (int64_t i = 0; i < count; i += p->outputs) {
    for (int32_t o = 0; o < p->outputs; o++) {
      to[i + o] = edge_clamp_float(sum[i + o] + bias[o], p->range);
    }
  }
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct deconv_job {
  const edge_frame *frame;
  const edge_step *step;
} deconv_job;

/* Adds row `iy` of the input through kernel row `ky` to the sums of one output row. */
static void add_row(const deconv_params *p, const deconv_state *s, const uint8_t *row, int32_t ky,
                    uint8_t *sums) {
  const edge_axis *x = &s->window.x;
  const uint64_t weight = p->type == EDGE_FLOAT32 ? sizeof(float) : sizeof(int16_t);
  const uint64_t tap = (uint64_t)p->channels * (uint64_t)p->outputs * weight;
  const uint64_t cell = (uint64_t)p->channels * edge_type_size(p->type);
  const uint64_t out_cell = (uint64_t)p->outputs * p->sum_size;
  const uint8_t *weights = (const uint8_t *)p->weights + (uint64_t)ky * (uint64_t)x->kernel * tap;
  for (int32_t ix = 0; ix < x->output; ix++) {
    const int32_t first = ix * x->stride - x->before;
    const int32_t from = first < 0 ? -first : 0;
    const int32_t to = (int32_t)edge_min(x->kernel, (int64_t)x->input - first);
    for (int32_t kx = from; kx < to; kx++) {
      p->add(p, row + (uint64_t)ix * cell, weights + (uint64_t)kx * tap,
             sums + (uint64_t)(first + kx) * out_cell);
    }
  }
}

static void deconv_task(void *context, uint32_t task, uint32_t worker) {
  const deconv_job *job = context;
  const deconv_params *p = job->step->node->params;
  const deconv_state *s = job->step->state;
  const edge_axis *y = &s->window.y;
  const edge_axis *x = &s->window.x;
  const int32_t batch = (int32_t)task / y->input;
  const int32_t reach = (int32_t)task % y->input + y->before;
  const int64_t row_in = (int64_t)x->output * p->channels * (int64_t)edge_type_size(p->type);
  const int64_t row_out = (int64_t)x->input * p->outputs;
  const uint8_t *in = (const uint8_t *)job->frame->views[job->step->node->inputs[INPUT]].data +
                      (int64_t)batch * y->output * row_in;
  uint8_t *out = edge_out(job->frame, job->step, 0);
  uint8_t *sums = edge_scratch(job->frame, job->step, worker);
  memset(sums, 0, (size_t)row_out * p->sum_size);
  for (int32_t ky = reach % y->stride; ky < y->kernel && ky <= reach; ky += y->stride) {
    const int32_t iy = (reach - ky) / y->stride;
    if (iy < y->output) add_row(p, s, in + iy * row_in, ky, sums);
  }
  const int64_t first = (int64_t)task * row_out;
  const int64_t total = (int64_t)s->batches * y->input * row_out;
  p->finish(p, sums, first, total, row_out, out + (uint64_t)first * edge_type_size(p->type));
}

static void deconv_run(const edge_frame *frame, const edge_step *step) {
  const deconv_state *s = step->state;
  deconv_job job = {frame, step};
  edge_pool_run(frame->pool, deconv_task, &job, (uint32_t)s->batches * (uint32_t)s->window.y.input);
}

/* ---- compile: types ---------------------------------------------------------------------- */

static edge_status choose(edge_compiler *c, const edge_node *node, bool wide, deconv_params *p) {
  switch (p->type) {
    case EDGE_INT8:
      p->add = add_int8;
      p->finish = finish_int8;
      p->sum_size = sizeof(int32_t);
      return EDGE_OK;
    case EDGE_UINT8:
      p->add = add_uint8;
      p->finish = finish_uint8;
      p->sum_size = sizeof(int32_t);
      return EDGE_OK;
    case EDGE_INT16:
      p->add = wide ? add_wide : add_int16;
      p->finish = wide ? finish_wide : finish_int16;
      p->sum_size = wide ? sizeof(int64_t) : sizeof(int32_t);
      return EDGE_OK;
    case EDGE_FLOAT32:
      p->add = add_float;
      p->finish = finish_float;
      p->sum_size = sizeof(float);
      return EDGE_OK;
    default:
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected an input of int8, uint8, int16 or float32, got %s (tensor "
                            "%lld)",
                            edge_type_name(p->type), (long long)node->inputs[INPUT]);
  }
}

/* int16: sums of 64 bits, unless the options say that the bias has 32. */
static edge_status read_width(edge_compiler *c, const edge_node *node, bool *wide) {
  enum { ANY = 0, INT32_IN_FILE = 2, INT64_IN_FILE = 4 };
  const edge_tensor *bias = edge_node_optional(c, node, BIAS);
  int8_t type;
  if (!edge_table_i8(&node->options, TRANSPOSE_CONV_QUANTIZED_BIAS_TYPE, ANY, &type)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  *wide = type != INT32_IN_FILE;
  const bool fits = bias == NULL || type == ANY || (bias->type == EDGE_INT64) == *wide;
  if ((type == ANY || type == INT32_IN_FILE || type == INT64_IN_FILE) && fits) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected a bias of the type that the options name, got type %lld",
                        (long long)type);
}

static edge_status check_bias(edge_compiler *c, const edge_node *node, const deconv_params *p) {
  const edge_tensor *bias = edge_node_optional(c, node, BIAS);
  if (bias == NULL) return EDGE_OK;
  EDGE_TRY(edge_expect_constant(c, node, bias, "a bias"));
  if (p->type == EDGE_FLOAT32) {
    EDGE_TRY(edge_expect_type(c, node, bias, "a bias", EDGE_FLOAT32));
  } else if (p->type != EDGE_INT16 || bias->type != EDGE_INT64) {
    EDGE_TRY(edge_expect_type(c, node, bias, "a bias", EDGE_INT32));
  }
  const int64_t count = edge_count(bias->shape, 0, bias->rank);
  if (count == p->outputs) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected a bias of %lld elements, got %lld (tensor %lld)",
                        (long long)p->outputs, (long long)count, (long long)node->inputs[BIAS]);
}

static edge_status check_tensors(edge_compiler *c, const edge_node *node, deconv_params *p) {
  const edge_tensor *shape = edge_node_input(c, node, OUTPUT_SHAPE);
  const edge_tensor *weights = edge_node_input(c, node, WEIGHTS);
  const edge_type type = p->type == EDGE_INT16 ? EDGE_INT8 : p->type;
  EDGE_TRY(edge_expect_type(c, node, shape, "an output shape", EDGE_INT32));
  EDGE_TRY(edge_expect_rank(c, node, shape, "an output shape", 1));
  EDGE_TRY(edge_expect_type(c, node, weights, "weights", type));
  EDGE_TRY(edge_expect_rank(c, node, weights, "weights", 4));
  EDGE_TRY(edge_expect_constant(c, node, weights, "weights"));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", p->type));
  if (edge_count(weights->shape, 0, 4) == 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected weights, got none");
  }
  p->outputs = weights->shape[0];
  p->window.y.kernel = weights->shape[1];
  p->window.x.kernel = weights->shape[2];
  p->channels = weights->shape[3];
  return check_bias(c, node, p);
}

/* ---- compile: quantization --------------------------------------------------------------- */

/* What XNNPACK takes and builds. */
static bool xnn_takes(edge_compiler *c, const edge_node *node, const deconv_params *p, float input,
                      float output) {
  const edge_tensor *shape = edge_node_input(c, node, OUTPUT_SHAPE);
  const edge_tensor *weights = edge_node_input(c, node, WEIGHTS);
  const edge_axis *x = &p->window.x;
  const edge_axis *y = &p->window.y;
  const bool reaches = !p->window.same || (x->kernel >= x->stride && y->kernel >= y->stride);
  return (p->type == EDGE_INT8 || (p->type == EDGE_UINT8 && weights->axis == 0)) && reaches &&
         shape->data != NULL && edge_xnn_activation(edge_node_input(c, node, INPUT)) &&
         edge_xnn_activation(edge_node_output(c, node, 0)) &&
         edge_xnn_weights(weights, edge_node_optional(c, node, BIAS)) &&
         edge_xnn_scales(weights, input, output);
}

static edge_status check_wide(edge_compiler *c, const edge_node *node, const deconv_params *p) {
  for (int32_t o = 0; o < p->outputs; o++) {
    if (p->output.fixed[o].exponent < 15) continue;
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected input scales below 2^14 times the output's, got larger ones");
  }
  return EDGE_OK;
}

static edge_status read_quantization(edge_compiler *c, const edge_node *node, deconv_params *p,
                                     bool wide, int32_t *weights_zero) {
  const edge_tensor *weights = edge_node_input(c, node, WEIGHTS);
  const edge_tensor *input = edge_node_input(c, node, INPUT);
  edge_quant from;
  edge_quant to;
  edge_range range;
  edge_quant of_weights = {0};
  if (p->type == EDGE_UINT8) {
    EDGE_TRY(edge_expect_quant(c, node, weights, "weights", &of_weights));
  } else {
    EDGE_TRY(edge_expect_scales(c, node, weights, "weights", 0));
  }
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &from));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &to));
  if (p->type == EDGE_INT16 && (from.zero_point != 0 || to.zero_point != 0)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected int16 tensors with zero points of 0, got others");
  }
  p->xnn = xnn_takes(c, node, p, from.scale, to.scale);
  EDGE_TRY(edge_read_range(c, node, TRANSPOSE_CONV_FUSED_ACTIVATION_FUNCTION, p->xnn, to, &range));
  p->output = (edge_qs8_output){.zero_point = to.zero_point, .min = range.min, .max = range.max};
  const edge_multipliers multipliers = {
      .weights = weights,
      .outputs = (uint32_t)p->outputs,
      .input = from.scale,
      .output = to.scale,
      .xnn = p->xnn,
      .float_product = p->type == EDGE_UINT8 && weights->scale.count == 1,
      /* LiteRT's vector loop takes 8 channels. */
      .away_from = (uint32_t)p->outputs / 8 * 8};
  EDGE_TRY(edge_multipliers_pack(c, node, &multipliers, &p->output));
  *weights_zero = of_weights.zero_point;
  p->zero_point = from.zero_point;
  return wide ? check_wide(c, node, p) : EDGE_OK;
}

/* ---- compile: packing -------------------------------------------------------------------- */

/* From [O][KH][KW][I] to [KH][KW][I][O]. */
static edge_status pack_weights(edge_compiler *c, const edge_node *node, deconv_params *p,
                                int32_t zero_point) {
  const edge_tensor *weights = edge_node_input(c, node, WEIGHTS);
  const uint64_t rows = (uint64_t)edge_count(weights->shape, 1, 4);
  const uint64_t outputs = (uint64_t)p->outputs;
  const bool is_float = p->type == EDGE_FLOAT32;
  const uint64_t size = is_float ? sizeof(float) : sizeof(int16_t);
  void *packed = edge_pack_alloc(c, rows * outputs, size);
  if (packed == NULL) return edge_no_memory(c->error);
  for (uint64_t o = 0; o < outputs; o++) {
    for (uint64_t r = 0; r < rows; r++) {
      const uint8_t *from = weights->data + (o * rows + r) * (is_float ? 4 : 1);
      if (is_float) {
        ((float *)packed)[r * outputs + o] = edge_load_f32(from);
      } else {
        const int32_t value = weights->type == EDGE_UINT8 ? *from : (int8_t)*from;
        ((int16_t *)packed)[r * outputs + o] = (int16_t)(value - zero_point);
      }
    }
  }
  p->weights = packed;
  return EDGE_OK;
}

/* As the sums are; zeros where there is none. */
static edge_status pack_bias(edge_compiler *c, const edge_node *node, deconv_params *p) {
  const edge_tensor *bias = edge_node_optional(c, node, BIAS);
  void *packed = edge_pack_alloc(c, (uint64_t)p->outputs, p->sum_size);
  if (packed == NULL) return edge_no_memory(c->error);
  p->bias = packed;
  for (int32_t o = 0; bias != NULL && o < p->outputs; o++) {
    if (p->type == EDGE_FLOAT32) {
      ((float *)packed)[o] = edge_load_f32(bias->data + o * 4);
      continue;
    }
    const int64_t value = bias->type == EDGE_INT64 ? edge_load_i64(bias->data + o * 8)
                                                   : edge_load_i32(bias->data + o * 4);
    if (p->sum_size == sizeof(int64_t)) {
      ((int64_t *)packed)[o] = value;
    } else {
      ((int32_t *)packed)[o] = edge_wrap(value);
    }
  }
  return EDGE_OK;
}

static edge_status deconv_compile(edge_compiler *c, edge_node *node) {
  static const edge_window_fields fields = {TRANSPOSE_CONV_PADDING, TRANSPOSE_CONV_STRIDE_W,
                                            TRANSPOSE_CONV_STRIDE_H, -1, -1};
  deconv_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  bool wide = false;
  int32_t weights_zero = 0;
  p->type = edge_node_input(c, node, INPUT)->type;
  EDGE_TRY(edge_window_read(c, node, &fields, &p->window));
  if (p->type == EDGE_INT16) EDGE_TRY(read_width(c, node, &wide));
  EDGE_TRY(choose(c, node, wide, p));
  EDGE_TRY(check_tensors(c, node, p));
  if (p->type == EDGE_FLOAT32) {
    EDGE_TRY(edge_read_float_range(c, node, TRANSPOSE_CONV_FUSED_ACTIVATION_FUNCTION, &p->range));
  } else {
    EDGE_TRY(read_quantization(c, node, p, wide, &weights_zero));
  }
  node->kernel = p->xnn ? "deconv, float32 rounding" : "deconv";
  node->macs = edge_stored_count(edge_node_input(c, node, INPUT)) *
               (uint64_t)edge_count(edge_node_input(c, node, WEIGHTS)->shape, 0, 3);
  EDGE_TRY(pack_weights(c, node, p, weights_zero));
  EDGE_TRY(pack_bias(c, node, p));
  return edge_keep(c, edge_node_input(c, node, INPUT));
}

/* ---- shape ------------------------------------------------------------------------------- */

/* The geometry is that of a convolution from the output to the input. */
static edge_status place(edge_planner *planner, const edge_step *step, const int32_t *shape,
                         const int32_t *in, edge_window *window) {
  EDGE_TRY(edge_window_place(planner, step, shape, window));
  if (window->y.output == in[1] && window->x.output == in[2]) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an input of %lld x %lld for that output shape, got %lld x %lld",
                        (long long)window->y.output, (long long)window->x.output, (long long)in[1],
                        (long long)in[2]);
}

static edge_status deconv_shape(edge_planner *planner, edge_step *step) {
  const deconv_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, INPUT);
  EDGE_TRY(edge_expect_image(planner, step, input, p->channels));
  if (edge_view_in(planner, step, OUTPUT_SHAPE)->shape[0] != 4) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an output shape of 4 entries, got %lld",
                          (long long)edge_view_in(planner, step, OUTPUT_SHAPE)->shape[0]);
  }
  const int32_t *shape = edge_values_in(planner, step, OUTPUT_SHAPE);
  if (shape == NULL) return EDGE_DEFERRED;
  if (shape[0] != input->shape[0] || shape[3] != p->outputs) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an output of %lld images with %lld channels, got %lld with "
                          "%lld",
                          (long long)input->shape[0], (long long)p->outputs, (long long)shape[0],
                          (long long)shape[3]);
  }
  EDGE_TRY(edge_set_shape(planner, step, 0, 4, shape));
  deconv_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->window = p->window;
  s->batches = shape[0];
  step->scratch_size = (uint64_t)shape[2] * (uint64_t)p->outputs * p->sum_size;
  return place(planner, step, shape, input->shape, &s->window);
}

const edge_operator edge_operator_transpose_conv = {
    .code = 67,
    .name = "TRANSPOSE_CONV",
    .version_max = 5,
    .options_type = 49,
    .inputs_min = 3,
    .inputs_max = 4,
    .compile = deconv_compile,
    .shape = deconv_shape,
    .run = deconv_run,
};
