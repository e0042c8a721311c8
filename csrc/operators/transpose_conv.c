/* TRANSPOSE_CONV: output shape int32 [4], weights [O][KH][KW][I], input [N][H][W][I], bias [O] or
 * none -> [N][OH][OW][O]; int8, uint8, int16 with int8 weights, float32, and float32 with int8
 * weights. Convolution2DTransposeBias, MediaPipe's custom operator: input, weights, bias [O], all
 * float32, and the output's shape follows from them.
 *
 * Every input cell adds its product with the weights to the KH x KW output cells from its place
 * times the stride on. A task makes one row of output: the kernel rows that reach it, in order.
 *
 * Source: tflite/kernels/transpose_conv.cc, internal/optimized/integer_ops/transpose_conv.h,
 * internal/optimized/optimized_ops.h; XNNPACK src/operators/deconvolution-nhwc.c; of the custom
 * operator, VisitMediaPipeDeconvolutionNode in tflite/delegates/xnnpack/xnnpack_delegate.cc;
 * docs/numerics.md.
 */
#include <math.h>

#include "../movement.h"
#include "../operators.h"
#include "../scatter.h"
#include "../window.h"

typedef enum role { OUTPUT_SHAPE, WEIGHTS, INPUT, BIAS, ROLES } role;

static bool is_custom(const edge_node *node) {
  return node->op == &edge_operator_transpose_conv_bias;
}

/* Where among the inputs the operand of a role is; -1: there is none. */
static int32_t place_of(const edge_node *node, role operand) {
  static const int32_t custom[ROLES] = {-1, 1, 0, 2};
  return is_custom(node) ? custom[operand] : (int32_t)operand;
}

/* One that is there: not the bias, nor the custom operator's output shape. */
static edge_tensor *operand_of(const edge_compiler *c, const edge_node *node, role operand) {
  return edge_node_input(c, node, place_of(node, operand));
}

static edge_tensor *bias_of(const edge_compiler *c, const edge_node *node) {
  return edge_node_optional(c, node, place_of(node, BIAS));
}

typedef struct deconv_params {
  edge_window window; /* of the output, whose cells play the input's part */
  edge_scatter scatter;
} deconv_params;

typedef struct deconv_state {
  edge_window window;
  int32_t batches;
  uint64_t row_size;      /* bytes of a row of inputs in scratch */
  edge_dynamic *dynamics; /* [batches], float32 with int8 weights */
} deconv_state;

/* ---- run --------------------------------------------------------------------------------- */

typedef struct deconv_job {
  const edge_frame *frame;
  const edge_step *step;
} deconv_job;

/* Adds a row of inputs through kernel row `ky` to the sums of one output row. */
static void add_row(const deconv_params *p, const edge_axis *x, const uint8_t *row, int32_t ky,
                    uint8_t *sums) {
  const uint64_t cell = (uint64_t)p->scatter.channels * p->scatter.lhs.size;
  const uint64_t tap = cell * (uint64_t)p->scatter.outputs;
  const uint64_t out_cell = (uint64_t)p->scatter.outputs * p->scatter.sum_size;
  const uint8_t *weights =
      (const uint8_t *)p->scatter.weights + (uint64_t)ky * (uint64_t)x->kernel * tap;
  for (int32_t ix = 0; ix < x->output; ix++) {
    const int32_t first = ix * x->stride - x->before;
    const int32_t from = first < 0 ? -first : 0;
    const int32_t to = (int32_t)edge_min(x->kernel, (int64_t)x->input - first);
    for (int32_t kx = from; kx < to; kx++) {
      p->scatter.add(&p->scatter, row + (uint64_t)ix * cell, weights + (uint64_t)kx * tap,
                     sums + (uint64_t)(first + kx) * out_cell);
    }
  }
}

static const uint8_t *input_of(const edge_frame *frame, const edge_step *step) {
  return frame->views[step->node->inputs[place_of(step->node, INPUT)]].data;
}

/* Row `row` of the output of image `batch`, as sums. */
static void sum_row(const deconv_job *job, int32_t batch, int32_t row, uint8_t *room,
                    uint8_t *sums) {
  const deconv_params *p = job->step->node->params;
  const deconv_state *s = job->step->state;
  const edge_axis *y = &s->window.y;
  const int64_t cells = (int64_t)s->window.x.output * p->scatter.channels;
  const uint8_t *image = input_of(job->frame, job->step) +
                         (uint64_t)((int64_t)batch * y->output * cells) * p->scatter.lhs.in_size;
  const int32_t reach = row + y->before;
  edge_lhs how = p->scatter.lhs;
  if (s->dynamics != NULL) how.dynamic = s->dynamics[batch];
  for (int32_t ky = reach % y->stride; ky < y->kernel && ky <= reach; ky += y->stride) {
    const int32_t iy = (reach - ky) / y->stride;
    if (iy >= y->output) continue;
    how.put(&how, room, image + (uint64_t)(iy * cells) * how.in_size, (size_t)cells);
    add_row(p, &s->window.x, room, ky, sums);
  }
}

static void deconv_task(void *context, uint32_t task, uint32_t worker) {
  const deconv_job *job = context;
  const deconv_params *p = job->step->node->params;
  const deconv_state *s = job->step->state;
  const int32_t rows = s->window.y.input;
  const int32_t batch = (int32_t)task / rows;
  const int64_t row = (int64_t)s->window.x.input * p->scatter.outputs;
  uint8_t *room = edge_scratch(job->frame, job->step, worker);
  uint8_t *sums = room + s->row_size;
  uint8_t *out = edge_out(job->frame, job->step, 0);
  memset(sums, 0, (size_t)row * p->scatter.sum_size);
  sum_row(job, batch, (int32_t)task % rows, room, sums);
  const edge_scatter_sums made = {.sums = sums,
                                  .first = (int64_t)task * row,
                                  .total = (int64_t)s->batches * rows * row,
                                  .count = row,
                                  .scale = s->dynamics != NULL ? s->dynamics[batch].scale : 0.0f};
  p->scatter.finish(&p->scatter, &made,
                    out + (uint64_t)made.first * edge_type_size(p->scatter.type));
}

static void deconv_run(const edge_frame *frame, const edge_step *step) {
  const deconv_params *p = step->node->params;
  const deconv_state *s = step->state;
  const int64_t image = (int64_t)s->window.y.output * s->window.x.output * p->scatter.channels;
  deconv_job job = {frame, step};
  for (int32_t i = 0; s->dynamics != NULL && i < s->batches; i++) {
    const float *in = (const float *)(const void *)input_of(frame, step) + i * image;
    s->dynamics[i] = edge_dynamic_of(p->scatter.lhs.rule, in, (size_t)image);
  }
  edge_pool_run(frame->pool, deconv_task, &job, (uint32_t)s->batches * (uint32_t)s->window.y.input);
}

/* ---- compile: types ---------------------------------------------------------------------- */

static bool is_dynamic(const edge_compiler *c, const edge_node *node) {
  return operand_of(c, node, INPUT)->type == EDGE_FLOAT32 &&
         operand_of(c, node, WEIGHTS)->type == EDGE_INT8;
}

static edge_status choose(edge_compiler *c, const edge_node *node, bool wide, edge_scatter *p) {
  if (edge_scatter_choose(p, wide, is_dynamic(c, node))) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected an input of int8, uint8, int16 or float32, got %s (tensor %lld)",
                        edge_type_name(p->type), (long long)node->inputs[place_of(node, INPUT)]);
}

/* int16: sums of 64 bits, unless the options say that the bias has 32. */
static edge_status read_width(edge_compiler *c, const edge_node *node, bool *wide) {
  enum { ANY = 0, INT32_IN_FILE = 2, INT64_IN_FILE = 4 };
  const edge_tensor *bias = bias_of(c, node);
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
  const edge_tensor *bias = bias_of(c, node);
  if (bias == NULL) return EDGE_OK;
  EDGE_TRY(edge_expect_constant(c, node, bias, "a bias"));
  if (p->scatter.type == EDGE_FLOAT32) {
    EDGE_TRY(edge_expect_type(c, node, bias, "a bias", EDGE_FLOAT32));
  } else if (p->scatter.type != EDGE_INT16 || bias->type != EDGE_INT64) {
    EDGE_TRY(edge_expect_type(c, node, bias, "a bias", EDGE_INT32));
  }
  const int64_t count = edge_count(bias->shape, 0, bias->rank);
  if (count == p->scatter.outputs) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected a bias of %lld elements, got %lld (tensor %lld)",
                        (long long)p->scatter.outputs, (long long)count,
                        (long long)node->inputs[place_of(node, BIAS)]);
}

static edge_status check_tensors(edge_compiler *c, const edge_node *node, deconv_params *p) {
  const edge_tensor *weights = operand_of(c, node, WEIGHTS);
  const bool bytes = p->scatter.type == EDGE_INT16 || is_dynamic(c, node);
  const edge_type type = bytes ? EDGE_INT8 : p->scatter.type;
  EDGE_TRY(edge_expect_type(c, node, weights, "weights", type));
  EDGE_TRY(edge_expect_rank(c, node, weights, "weights", 4));
  EDGE_TRY(edge_expect_constant(c, node, weights, "weights"));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", p->scatter.type));
  if (edge_count(weights->shape, 0, 4) == 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected weights, got none");
  }
  p->scatter.outputs = weights->shape[0];
  p->window.y.kernel = weights->shape[1];
  p->window.x.kernel = weights->shape[2];
  p->scatter.channels = weights->shape[3];
  return check_bias(c, node, p);
}

/* ---- compile: quantization --------------------------------------------------------------- */

/* What XNNPACK takes, but for the types. */
static bool xnn_shapes(edge_compiler *c, const edge_node *node, const deconv_params *p) {
  const edge_axis *x = &p->window.x;
  const edge_axis *y = &p->window.y;
  return operand_of(c, node, OUTPUT_SHAPE)->data != NULL &&
         (!p->window.same || (x->kernel >= x->stride && y->kernel >= y->stride));
}

/* And builds. */
static bool xnn_takes(edge_compiler *c, const edge_node *node, const deconv_params *p,
                      edge_quant input, edge_quant output) {
  const edge_tensor *weights = operand_of(c, node, WEIGHTS);
  return (p->scatter.type == EDGE_INT8 || (p->scatter.type == EDGE_UINT8 && weights->axis == 0)) &&
         xnn_shapes(c, node, p) && edge_xnn_activation(operand_of(c, node, INPUT)) &&
         edge_xnn_activation(edge_node_output(c, node, 0)) &&
         edge_xnn_weights(weights, bias_of(c, node)) &&
         edge_xnn_scales(weights, input.scale, output.scale);
}

static edge_status pack_fixed(edge_compiler *c, const edge_node *node, deconv_params *p,
                              edge_quant input, edge_quant output) {
  const edge_tensor *weights = operand_of(c, node, WEIGHTS);
  const bool wide = p->scatter.sum_size == sizeof(int64_t);
  edge_fixed *fixed = edge_pack_alloc(c, (uint64_t)p->scatter.outputs, sizeof *fixed);
  if (fixed == NULL) return edge_no_memory(c->error);
  p->scatter.output.fixed = fixed;
  for (int32_t o = 0; o < p->scatter.outputs; o++) {
    const float weight = edge_scale_at(weights, o);
    const float rounded = input.scale * weight; /* as LiteRT has it for uint8 */
    const double product =
        p->scatter.type == EDGE_UINT8 ? (double)rounded : (double)input.scale * (double)weight;
    /* LiteRT's vector loop takes 8 channels. */
    const bool away = o >= p->scatter.outputs / 8 * 8;
    EDGE_TRY(edge_expect_fixed(c, node, product / (double)output.scale, away, &fixed[o]));
    if (wide && fixed[o].exponent >= 15) {
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected input scales below 2^14 times the output's, got larger ones");
    }
  }
  return EDGE_OK;
}

/* The weights' scales, times input over output where both are given. */
static edge_status pack_scales(edge_compiler *c, const edge_node *node, deconv_params *p,
                               const float *input, const float *output, const float **packed) {
  const edge_tensor *weights = operand_of(c, node, WEIGHTS);
  float *scales = edge_pack_alloc(c, (uint64_t)p->scatter.outputs, sizeof *scales);
  if (scales == NULL) return edge_no_memory(c->error);
  *packed = scales;
  for (int32_t o = 0; o < p->scatter.outputs; o++) {
    const float weight = edge_scale_at(weights, o);
    scales[o] = input != NULL ? edge_scale_float(*input, weight, *output) : weight;
  }
  return EDGE_OK;
}

/* float32 with int8 weights: XNNPACK quantizes each image its own way. */
static edge_status read_dynamic(edge_compiler *c, const edge_node *node, deconv_params *p) {
  const edge_tensor *weights = operand_of(c, node, WEIGHTS);
  bool normal = true;
  EDGE_TRY(edge_expect_scales(c, node, weights, "weights", 0));
  for (uint32_t i = 0; i < weights->scale.count; i++) {
    normal &= edge_scale_normal(edge_scale_at(weights, (int32_t)i));
  }
  p->scatter.xnn = normal && xnn_shapes(c, node, p);
  p->scatter.lhs = edge_lhs_quantized(p->scatter.xnn ? EDGE_DYNAMIC_XNN : EDGE_DYNAMIC_ASYMMETRIC);
  return pack_scales(c, node, p, NULL, NULL, &p->scatter.scales);
}

static edge_status read_quantization(edge_compiler *c, const edge_node *node, deconv_params *p,
                                     int32_t *weights_zero) {
  const edge_tensor *weights = operand_of(c, node, WEIGHTS);
  edge_quant of_weights = {0};
  edge_quant input;
  edge_quant output;
  edge_range range;
  if (p->scatter.type == EDGE_UINT8) {
    EDGE_TRY(edge_expect_quant(c, node, weights, "weights", &of_weights));
  } else {
    EDGE_TRY(edge_expect_scales(c, node, weights, "weights", 0));
  }
  EDGE_TRY(edge_expect_quant(c, node, operand_of(c, node, INPUT), "an input", &input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &output));
  if (p->scatter.type == EDGE_INT16 && (input.zero_point != 0 || output.zero_point != 0)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected int16 tensors with zero points of 0, got %lld and %lld",
                          (long long)input.zero_point, (long long)output.zero_point);
  }
  *weights_zero = of_weights.zero_point;
  p->scatter.lhs = edge_lhs_s16(p->scatter.type, input.zero_point);
  p->scatter.xnn = xnn_takes(c, node, p, input, output);
  EDGE_TRY(edge_read_range(c, node, TRANSPOSE_CONV_FUSED_ACTIVATION_FUNCTION, p->scatter.xnn,
                           output, &range));
  p->scatter.output =
      (edge_qs8_output){.zero_point = output.zero_point, .min = range.min, .max = range.max};
  if (!p->scatter.xnn) return pack_fixed(c, node, p, input, output);
  return pack_scales(c, node, p, &input.scale, &output.scale, &p->scatter.output.scale);
}

/* ---- compile: packing -------------------------------------------------------------------- */

/* From [O][KH][KW][I] to [KH][KW][I][O]. */
static edge_status pack_weights(edge_compiler *c, const edge_node *node, deconv_params *p,
                                int32_t zero_point) {
  const edge_tensor *weights = operand_of(c, node, WEIGHTS);
  const uint64_t rows = (uint64_t)edge_count(weights->shape, 1, 4);
  const uint64_t outputs = (uint64_t)p->scatter.outputs;
  const bool is_float = weights->type == EDGE_FLOAT32;
  void *packed = edge_pack_alloc(c, rows * outputs, p->scatter.lhs.size);
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
  p->scatter.weights = packed;
  return EDGE_OK;
}

/* As the sums are; zeros where there is none. */
static edge_status pack_bias(edge_compiler *c, const edge_node *node, deconv_params *p) {
  const edge_tensor *bias = bias_of(c, node);
  void *packed = edge_pack_alloc(c, (uint64_t)p->scatter.outputs, p->scatter.sum_size);
  if (packed == NULL) return edge_no_memory(c->error);
  p->scatter.bias = packed;
  for (int32_t o = 0; bias != NULL && o < p->scatter.outputs; o++) {
    if (p->scatter.type == EDGE_FLOAT32) {
      ((float *)packed)[o] = edge_load_f32(bias->data + (uint64_t)o * 4);
      continue;
    }
    const int64_t value = bias->type == EDGE_INT64 ? edge_load_i64(bias->data + (uint64_t)o * 8)
                                                   : edge_load_i32(bias->data + (uint64_t)o * 4);
    if (p->scatter.sum_size == sizeof(int64_t)) {
      ((int64_t *)packed)[o] = value;
    } else {
      ((int32_t *)packed)[o] = edge_wrap(value);
    }
  }
  return EDGE_OK;
}

/* Counts the work, and packs. */
static edge_status finish_compile(edge_compiler *c, edge_node *node, deconv_params *p,
                                  int32_t weights_zero) {
  node->kernel = p->scatter.xnn ? "deconv, float32 rounding" : "deconv";
  /* Without strides every element gets a product of each weight of its channel. */
  node->effort = (uint64_t)edge_count(operand_of(c, node, WEIGHTS)->shape, 1, 4);
  node->macs = edge_stored_count(operand_of(c, node, INPUT)) *
               (uint64_t)edge_count(operand_of(c, node, WEIGHTS)->shape, 0, 3);
  EDGE_TRY(pack_weights(c, node, p, weights_zero));
  EDGE_TRY(pack_bias(c, node, p));
  return edge_keep(c, operand_of(c, node, INPUT));
}

static edge_status deconv_compile(edge_compiler *c, edge_node *node) {
  static const edge_window_fields fields = {TRANSPOSE_CONV_PADDING, TRANSPOSE_CONV_STRIDE_W,
                                            TRANSPOSE_CONV_STRIDE_H, -1, -1};
  const edge_tensor *shape = operand_of(c, node, OUTPUT_SHAPE);
  deconv_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  bool wide = false;
  int32_t weights_zero = 0;
  p->scatter.type = operand_of(c, node, INPUT)->type;
  EDGE_TRY(edge_expect_type(c, node, shape, "an output shape", EDGE_INT32));
  EDGE_TRY(edge_expect_rank(c, node, shape, "an output shape", 1));
  EDGE_TRY(edge_window_read(c, node, &fields, &p->window));
  if (p->scatter.type == EDGE_INT16) EDGE_TRY(read_width(c, node, &wide));
  EDGE_TRY(choose(c, node, wide, &p->scatter));
  EDGE_TRY(check_tensors(c, node, p));
  if (p->scatter.type != EDGE_FLOAT32) {
    EDGE_TRY(read_quantization(c, node, p, &weights_zero));
  } else {
    if (is_dynamic(c, node)) EDGE_TRY(read_dynamic(c, node, p));
    EDGE_TRY(edge_read_float_range(c, node, TRANSPOSE_CONV_FUSED_ACTIVATION_FUNCTION,
                                   &p->scatter.range));
  }
  return finish_compile(c, node, p, weights_zero);
}

/* The options are the beginning of TfLiteTransposeConvParams in memory, little-endian: padding, 1
 * for SAME and 2 for VALID, and two strides. Source: tflite/core/c/builtin_op_data.h. */
static edge_status read_custom(edge_compiler *c, const edge_node *node, edge_window *window) {
  enum { SAME = 1, VALID = 2, OPTIONS = 12, STRIDE_MAX = 1 << 15 };
  if (node->custom.size < OPTIONS) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected %lld bytes of options, got %llu",
                          (long long)OPTIONS, (unsigned long long)node->custom.size);
  }
  const int32_t padding = edge_load_i32(node->custom.data);
  window->same = padding == SAME;
  window->x = (edge_axis){.stride = edge_load_i32(node->custom.data + 4), .dilation = 1};
  window->y = (edge_axis){.stride = edge_load_i32(node->custom.data + 8), .dilation = 1};
  if ((padding == SAME || padding == VALID) && window->x.stride >= 1 && window->y.stride >= 1 &&
      window->x.stride <= STRIDE_MAX && window->y.stride <= STRIDE_MAX) {
    return EDGE_OK;
  }
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected a padding of 1 or 2 and strides in 1 ... %lld, got %lld, %lld "
                        "and %lld",
                        (long long)STRIDE_MAX, (long long)padding, (long long)window->x.stride,
                        (long long)window->y.stride);
}

static edge_status custom_compile(edge_compiler *c, edge_node *node) {
  deconv_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->scatter.type = EDGE_FLOAT32;
  p->scatter.range = (edge_float_range){-INFINITY, INFINITY};
  EDGE_TRY(edge_expect_type(c, node, operand_of(c, node, INPUT), "an input", EDGE_FLOAT32));
  EDGE_TRY(read_custom(c, node, &p->window));
  EDGE_TRY(choose(c, node, false, &p->scatter));
  EDGE_TRY(check_tensors(c, node, p));
  return finish_compile(c, node, p, 0);
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

/* As wide as its input, times the stride; VALID: as its input's windows reach. */
static edge_status custom_shape(edge_planner *planner, const edge_step *step, int32_t shape[4]) {
  const deconv_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, place_of(step->node, INPUT));
  const edge_axis *axes[2] = {&p->window.y, &p->window.x};
  shape[0] = input->shape[0];
  shape[3] = p->scatter.outputs;
  for (int32_t d = 0; d < 2; d++) {
    const int64_t more = p->window.same ? 0 : edge_max(0, axes[d]->kernel - axes[d]->stride);
    const int64_t size = (int64_t)input->shape[d + 1] * axes[d]->stride + more;
    if (size > INT32_MAX) {
      return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                            "expected an output of at most %lld cells a side, got %lld",
                            (long long)INT32_MAX, (long long)size);
    }
    shape[d + 1] = (int32_t)size;
  }
  return EDGE_OK;
}

static edge_status output_shape(edge_planner *planner, const edge_step *step, int32_t shape[4]) {
  if (is_custom(step->node)) return custom_shape(planner, step, shape);
  return edge_exact_list_in(planner, step, OUTPUT_SHAPE, 4, shape);
}

static edge_status deconv_shape(edge_planner *planner, edge_step *step) {
  const deconv_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, place_of(step->node, INPUT));
  EDGE_TRY(edge_expect_image(planner, step, input, p->scatter.channels));
  int32_t shape[4];
  EDGE_TRY(output_shape(planner, step, shape));
  if (shape[0] != input->shape[0] || shape[3] != p->scatter.outputs) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an output of %lld images with %lld channels, got %lld with "
                          "%lld",
                          (long long)input->shape[0], (long long)p->scatter.outputs,
                          (long long)shape[0], (long long)shape[3]);
  }
  EDGE_TRY(edge_set_shape(planner, step, 0, 4, shape));
  deconv_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->window = p->window;
  s->batches = shape[0];
  EDGE_TRY(place(planner, step, shape, input->shape, &s->window));
  s->row_size = edge_round_up(
      (uint64_t)input->shape[2] * (uint64_t)p->scatter.channels * p->scatter.lhs.size + EDGE_SLACK,
      EDGE_ALIGN);
  step->scratch_size =
      s->row_size + (uint64_t)shape[2] * (uint64_t)p->scatter.outputs * p->scatter.sum_size;
  if (p->scatter.scales == NULL) return EDGE_OK;
  s->dynamics =
      edge_region_alloc(planner->memory, (uint64_t)s->batches, sizeof *s->dynamics, planner->error);
  return s->dynamics == NULL ? edge_no_memory(planner->error) : EDGE_OK;
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

const edge_operator edge_operator_transpose_conv_bias = {
    .code = 32,
    .name = "Convolution2DTransposeBias",
    .version_max = 1,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = custom_compile,
    .shape = deconv_shape,
    .run = deconv_run,
};
