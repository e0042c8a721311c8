/* DEPTHWISE_CONV_2D: int8 input [N][H][W][C], weights [1][KH][KW][C * M], bias int32 [C * M] or
 * none, output [N][OH][OW][C * M]. Output channel c * M + j sees input channel c; M follows from
 * the shapes, whatever the options say.
 *
 * Rows are copied padded, each channel M times, so that the kernel knows neither borders nor M.
 *
 * Source: tflite/kernels/depthwise_conv.cc; docs/numerics.md.
 */
#include "../band.h"
#include "../matrix.h"
#include "../operators.h"

typedef struct depthwise_params {
  edge_window window;
  int32_t channels; /* of the input */
  int32_t multiplier;
  int32_t zero_point;
  const void *weights;
  const int32_t *bias;
  edge_qs8_output output;
} depthwise_params;

typedef struct depthwise_state {
  edge_band band;
  int32_t batches, bands, band_rows;
  const ptrdiff_t *taps;
  int64_t image_bytes, output_bytes;
} depthwise_state;

static edge_status check_channels(edge_compiler *c, const edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const int32_t channels = input->rank == 4 ? input->shape[3] : 0;
  if (channels >= 1 && weights->shape[0] == 1 && weights->shape[3] % channels == 0) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected weights of shape 1, height, width and a multiple of the "
                        "input's %lld channels, got %lld, ..., %lld",
                        (long long)channels, (long long)weights->shape[0],
                        (long long)weights->shape[3]);
}

/* XNNPACK goes by the multiplier in the options, LiteRT's own kernel by the shapes. */
static edge_status xnn_takes(edge_compiler *c, const edge_node *node, edge_quant input,
                             edge_quant output, bool *takes) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  int32_t multiplier;
  if (!edge_table_i32(&node->options, DEPTHWISE_MULTIPLIER, 0, &multiplier)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  const int32_t channels = edge_node_input(c, node, 0)->shape[3];
  *takes = (int64_t)multiplier * channels == weights->shape[3] &&
           edge_xnn_activation(edge_node_input(c, node, 0)) &&
           edge_xnn_activation(edge_node_output(c, node, 0)) && edge_xnn_weights(weights, bias) &&
           edge_xnn_scales(weights, input.scale, output.scale);
  return EDGE_OK;
}

static edge_status pack(edge_compiler *c, const edge_node *node, depthwise_params *p,
                        const edge_matrix_source *source) {
  const edge_kernels *kernels = c->model->kernels;
  const uint32_t channels = source->outputs;
  const uint32_t taps = (uint32_t)(p->window.y.kernel * p->window.x.kernel);
  const uint32_t padded = (uint32_t)edge_round_up(channels, EDGE_DWCONV_BLOCK);
  void *weights = edge_pack_alloc(c, edge_round_up(taps, 2) * padded, kernels->dwconv_size);
  if (weights == NULL) return edge_no_memory(c->error);
  int32_t *bias = edge_pack_alloc(c, padded, sizeof *bias);
  if (bias == NULL) return edge_no_memory(c->error);
  kernels->qs8_dwconv_pack(weights, source->weights, taps, channels);
  for (uint32_t i = 0; i < channels; i++) {
    int32_t sum = 0;
    for (uint32_t t = 0; t < taps; t++) sum += source->weights[(size_t)t * channels + i];
    bias[i] = edge_fold_zero_point(source->bias, i, sum, source->input.zero_point);
  }
  p->weights = weights;
  p->bias = bias;
  /* LiteRT's vector loop takes 8 channels at a time and rounds up; the rest rounds away. */
  return edge_output_pack(c, node, source, padded, channels / 8 * 8, &p->output);
}

static edge_status depthwise_compile(edge_compiler *c, edge_node *node) {
  static const edge_window_fields fields = {DEPTHWISE_PADDING, DEPTHWISE_STRIDE_W,
                                            DEPTHWISE_STRIDE_H, DEPTHWISE_DILATION_W,
                                            DEPTHWISE_DILATION_H};
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  edge_matrix_source source = {.scales = weights};
  int8_t activation;
  depthwise_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_filters(c, node, 3));
  EDGE_TRY(check_channels(c, node));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, 0), "an input", &source.input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &source.output));
  EDGE_TRY(edge_window_read(c, node, &fields, &p->window));
  EDGE_TRY(edge_read_activation(c, node, DEPTHWISE_ACTIVATION, &activation));
  EDGE_TRY(xnn_takes(c, node, source.input, source.output, &source.xnn));
  EDGE_TRY(edge_output_range(c, node, source.xnn, activation, source.output, &source.range));
  p->window.y.kernel = weights->shape[1];
  p->window.x.kernel = weights->shape[2];
  p->channels = edge_node_input(c, node, 0)->shape[3];
  p->multiplier = weights->shape[3] / p->channels;
  p->zero_point = source.input.zero_point;
  source.weights = (const int8_t *)weights->data;
  source.bias = bias ? bias->data : NULL;
  source.outputs = (uint32_t)weights->shape[3];
  const uint64_t cells = (uint64_t)weights->shape[1] * (uint64_t)weights->shape[2];
  node->macs = edge_stored_count(edge_node_output(c, node, 0)) * cells;
  node->kernel = source.xnn ? "dwconv, float32 rounding" : "dwconv, fixed-point rounding";
  return pack(c, node, p, &source);
}

static const ptrdiff_t *plan_taps(edge_planner *planner, const edge_band *band) {
  const int32_t width = band->window.x.kernel;
  const int32_t count = band->window.y.kernel * width;
  ptrdiff_t *taps =
      edge_region_alloc(planner->memory, (uint64_t)count, sizeof *taps, planner->error);
  for (int32_t t = 0; taps != NULL && t < count; t++) {
    taps[t] = t / width * band->dilation_y + t % width * band->dilation_x;
  }
  return taps;
}

static edge_status depthwise_shape(edge_planner *planner, edge_step *step) {
  const depthwise_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  EDGE_TRY(edge_expect_image(planner, step, input, p->channels));
  depthwise_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->band = (edge_band){.window = p->window, .element = 1};
  EDGE_TRY(edge_window_place(planner, step, input->shape, &s->band.window));
  EDGE_TRY(edge_band_plan(planner, step, p->channels, p->multiplier, p->zero_point, &s->band));
  const int32_t shape[4] = {input->shape[0], s->band.window.y.output, s->band.window.x.output,
                            p->channels * p->multiplier};
  EDGE_TRY(edge_set_shape(planner, step, 0, 4, shape));
  const int32_t threads = planner->frame->threads;
  s->batches = input->shape[0];
  s->band_rows =
      edge_band_split(&s->band, shape[1], threads > 1 ? 2 * (int64_t)threads / s->batches : 1);
  s->bands = (shape[1] + s->band_rows - 1) / s->band_rows;
  s->image_bytes = edge_count(input->shape, 1, 4);
  s->output_bytes = edge_count(shape, 1, 4);
  s->taps = plan_taps(planner, &s->band);
  if (s->taps == NULL) return edge_no_memory(planner->error);
  step->scratch_size =
      (uint64_t)edge_band_rows(&s->band, s->band_rows) * (uint64_t)s->band.row + EDGE_SLACK;
  return EDGE_OK;
}

typedef struct depthwise_job {
  const edge_frame *frame;
  const edge_step *step;
} depthwise_job;

static void depthwise_task(void *context, uint32_t task, uint32_t worker) {
  const depthwise_job *job = context;
  const depthwise_params *p = job->step->node->params;
  const depthwise_state *s = job->step->state;
  const edge_window *w = &s->band.window;
  const int32_t batch = (int32_t)task / s->bands;
  const int32_t first = (int32_t)task % s->bands * s->band_rows;
  const int32_t rows = (int32_t)edge_min(s->band_rows, w->y.output - first);
  const int32_t channels = p->channels * p->multiplier;
  const int8_t *image = (const int8_t *)edge_in(job->frame, job->step, 0) + batch * s->image_bytes;
  int8_t *out = (int8_t *)edge_out(job->frame, job->step, 0) + batch * s->output_bytes;
  uint8_t *band = edge_scratch(job->frame, job->step, worker);
  edge_qs8_dwconv call = {.pixels = (size_t)w->x.output,
                          .channels = (size_t)channels,
                          .tap_count = (size_t)(w->y.kernel * w->x.kernel),
                          .pixel = s->band.step_x,
                          .taps = s->taps,
                          .weights = p->weights,
                          .bias = p->bias,
                          .output = p->output};
  edge_band_fill(&s->band, image, first, rows, band);
  for (int32_t y = 0; y < rows; y++) {
    call.input = (const int8_t *)band + y * s->band.step_y;
    call.out = out + ((int64_t)first + y) * w->x.output * channels;
    job->frame->model->kernels->qs8_dwconv(&call);
  }
}

static void depthwise_run(const edge_frame *frame, const edge_step *step) {
  const depthwise_state *s = step->state;
  depthwise_job job = {frame, step};
  edge_pool_run(frame->pool, depthwise_task, &job, (uint32_t)s->batches * (uint32_t)s->bands);
}

const edge_operator edge_operator_depthwise_conv_2d = {
    .code = 4,
    .name = "DEPTHWISE_CONV_2D",
    .version_max = 7,
    .options_type = 2,
    .inputs_min = 2,
    .inputs_max = 3,
    .compile = depthwise_compile,
    .shape = depthwise_shape,
    .run = depthwise_run,
};
