/* DEPTHWISE_CONV_2D: input [N][H][W][C], weights [1][KH][KW][C * M], bias [C * M] or none, output
 * [N][OH][OW][C * M]; types as arithmetic.h has them. Output channel c * M + j sees input channel
 * c; M follows from the shapes, whatever the options say.
 *
 * Rows are copied padded, each channel M times, so that the kernel knows neither borders nor M.
 *
 * Source: tflite/kernels/depthwise_conv.cc; docs/numerics.md.
 */
#include "../band.h"
#include "../channelwise.h"
#include "../operators.h"

typedef struct depthwise_params {
  edge_arithmetic arithmetic;
  edge_window window;
  int32_t channels; /* of the input */
  int32_t multiplier;
  edge_channelwise filter; /* packed, unless operands are computed */
} depthwise_params;

typedef struct depthwise_state {
  edge_band band;
  int32_t batches, bands, band_rows;
  const ptrdiff_t *taps;
  int64_t image_size, output_size; /* elements */
  uint64_t band_bytes;             /* behind them, a worker's scratch has room for sums */
  uint64_t sums_bytes;
  edge_dynamic *dynamics; /* [batches], QD8 */
  uint8_t *packed;        /* for computed operands */
  edge_channelwise filter;
} depthwise_state;

/* Channels of the input: as the file has them, or where it leaves them open, by the options.
 * XNNPACK goes by the multiplier in the options, LiteRT's own kernel by the shapes. */
static edge_status read_channels(edge_compiler *c, const edge_node *node, edge_layer *layer,
                                 depthwise_params *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const int32_t outputs = weights->shape[3];
  int32_t multiplier;
  if (!edge_table_i32(&node->options, DEPTHWISE_MULTIPLIER, 0, &multiplier)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  p->channels = input->rank == 4 ? input->shape[3] : 0;
  if (p->channels == 0 && multiplier > 0) p->channels = outputs / multiplier;
  if (p->channels == 0 || weights->shape[0] != 1 || outputs % p->channels != 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected weights of shape 1, height, width and a multiple of the "
                          "input's %lld channels, got %lld, ..., %lld",
                          (long long)p->channels, (long long)weights->shape[0], (long long)outputs);
  }
  p->multiplier = outputs / p->channels;
  layer->foreign_multiplier = (int64_t)multiplier * p->channels != outputs;
  return EDGE_OK;
}

static edge_status pack(edge_compiler *c, const edge_node *node, depthwise_params *p) {
  const edge_kernels *kernels = c->model->kernels;
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  if (p->arithmetic.computed) return EDGE_OK;
  uint8_t *memory =
      edge_pack_alloc(c, edge_channelwise_bytes(kernels, &p->arithmetic, &p->filter), 1);
  if (memory == NULL) return edge_no_memory(c->error);
  int8_t *plain =
      edge_region_alloc(&c->temporary, edge_stored_count(weights), sizeof *plain, c->error);
  if (plain == NULL) return edge_no_memory(c->error);
  edge_channelwise_pack(kernels, &p->arithmetic, &p->filter, memory, plain, weights->data,
                        bias ? bias->data : NULL);
  return EDGE_OK;
}

static edge_status depthwise_compile(edge_compiler *c, edge_node *node) {
  static const edge_window_fields fields = {DEPTHWISE_PADDING, DEPTHWISE_STRIDE_W,
                                            DEPTHWISE_STRIDE_H, DEPTHWISE_DILATION_W,
                                            DEPTHWISE_DILATION_H};
  const edge_tensor *weights = edge_node_input(c, node, 1);
  edge_layer layer = {
      .axis = 3, .activation = DEPTHWISE_ACTIVATION, .bias_type = -1, .depthwise = true};
  depthwise_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_weights(c, node, 4));
  EDGE_TRY(read_channels(c, node, &layer, p));
  EDGE_TRY(edge_window_read(c, node, &fields, &p->window));
  EDGE_TRY(edge_arithmetic_read(c, node, &layer, &p->arithmetic));
  p->window.y.kernel = weights->shape[1];
  p->window.x.kernel = weights->shape[2];
  const uint64_t cells = (uint64_t)weights->shape[1] * (uint64_t)weights->shape[2];
  p->filter = (edge_channelwise){
      .channels = (uint32_t)weights->shape[3],
      .channels_packed = (uint32_t)edge_round_up((uint64_t)weights->shape[3], EDGE_DWCONV_BLOCK),
      .taps = (uint32_t)cells};
  node->effort = cells;
  node->macs = edge_stored_count(edge_node_output(c, node, 0)) * cells;
  node->kernel = edge_arithmetic_name(&p->arithmetic, true);
  return pack(c, node, p);
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

/* Memory for what only runs know: operands that are computed, quantizations of images. */
static edge_status plan_runtime(edge_planner *planner, const depthwise_params *p,
                                depthwise_state *s) {
  const edge_kernels *kernels = planner->frame->model->kernels;
  edge_region *memory = planner->memory;
  s->filter = p->filter;
  if (p->arithmetic.kind == EDGE_ARITHMETIC_QD8) {
    s->dynamics =
        edge_region_alloc(memory, (uint64_t)s->batches, sizeof *s->dynamics, planner->error);
    if (s->dynamics == NULL) return edge_no_memory(planner->error);
  }
  if (!p->arithmetic.computed) return EDGE_OK;
  const uint64_t bytes = edge_channelwise_bytes(kernels, &p->arithmetic, &p->filter);
  s->packed = edge_region_alloc(memory, bytes, 1, planner->error);
  return s->packed == NULL ? edge_no_memory(planner->error) : EDGE_OK;
}

static void plan_tasks(edge_planner *planner, const depthwise_params *p, edge_step *step) {
  depthwise_state *s = step->state;
  const int32_t threads = planner->frame->threads;
  const int32_t rows = s->band.window.y.output;
  const int64_t wanted = threads > 1 ? 2 * (int64_t)threads / edge_max(1, s->batches) : 1;
  s->band_rows = edge_band_split(&s->band, rows, wanted);
  s->bands = (rows + s->band_rows - 1) / s->band_rows;
  const uint64_t sums = (uint64_t)s->band.window.x.output * p->filter.channels_packed;
  const bool integers =
      p->arithmetic.kind == EDGE_ARITHMETIC_S16 || p->arithmetic.kind == EDGE_ARITHMETIC_QD8;
  s->band_bytes = edge_round_up(edge_band_bytes(&s->band, s->band_rows), EDGE_ALIGN);
  s->sums_bytes = integers ? edge_round_up(sums * 4, EDGE_ALIGN) : 0;
  step->scratch_size = s->band_bytes + s->sums_bytes + (p->arithmetic.wide ? sums * 8 : 0);
}

static edge_status depthwise_shape(edge_planner *planner, edge_step *step) {
  const depthwise_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_kernels *kernels = planner->frame->model->kernels;
  EDGE_TRY(edge_expect_image(planner, step, input, p->channels));
  EDGE_TRY(edge_expect_stored(planner, step, 1));
  if (p->arithmetic.biased) EDGE_TRY(edge_expect_stored(planner, step, 2));
  depthwise_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->band = (edge_band){.window = p->window, .lhs = edge_arithmetic_lhs(kernels, &p->arithmetic)};
  if (p->arithmetic.kind == EDGE_ARITHMETIC_QS8) {
    s->band.lhs = edge_lhs_bytes(p->arithmetic.input.zero_point);
  }
  EDGE_TRY(edge_window_place(planner, step, input->shape, &s->band.window));
  EDGE_TRY(edge_band_plan(planner, step, p->channels, p->multiplier, &s->band));
  const int32_t shape[4] = {input->shape[0], s->band.window.y.output, s->band.window.x.output,
                            p->channels * p->multiplier};
  EDGE_TRY(edge_set_shape(planner, step, 0, 4, shape));
  s->batches = input->shape[0];
  s->image_size = edge_count(input->shape, 1, 4);
  s->output_size = edge_count(shape, 1, 4);
  s->taps = plan_taps(planner, &s->band);
  if (s->taps == NULL) return edge_no_memory(planner->error);
  plan_tasks(planner, p, step);
  return plan_runtime(planner, p, s);
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
  const int64_t size = (int64_t)edge_type_size(p->arithmetic.type);
  const int32_t batch = (int32_t)task / s->bands;
  const int32_t first = (int32_t)task % s->bands * s->band_rows;
  const int32_t rows = (int32_t)edge_min(s->band_rows, w->y.output - first);
  const int64_t out_row = (int64_t)w->x.output * s->filter.channels * size;
  const uint8_t *image =
      (const uint8_t *)edge_in(job->frame, job->step, 0) + batch * s->image_size * size;
  uint8_t *out = (uint8_t *)edge_out(job->frame, job->step, 0) + batch * s->output_size * size;
  uint8_t *band = edge_scratch(job->frame, job->step, worker);
  edge_lhs how = s->band.lhs;
  if (s->dynamics != NULL) how.dynamic = s->dynamics[batch];
  edge_channelwise_row row = {.pixels = (size_t)w->x.output,
                              .pixel = s->band.step_x,
                              .taps = s->taps,
                              .scale = how.dynamic.scale,
                              .sums = (int32_t *)(void *)(band + s->band_bytes),
                              .wide = (int64_t *)(void *)(band + s->band_bytes + s->sums_bytes)};
  edge_band_fill(&s->band, &how, image, first, rows, band);
  for (int32_t y = 0; y < rows; y++) {
    row.input = band + y * s->band.step_y * (ptrdiff_t)how.size;
    row.out = out + ((int64_t)first + y) * out_row;
    edge_channelwise_run(job->frame->model->kernels, &p->arithmetic, &s->filter, &row);
  }
}

static void depthwise_run(const edge_frame *frame, const edge_step *step) {
  const depthwise_params *p = step->node->params;
  depthwise_state *s = step->state;
  depthwise_job job = {frame, step};
  if (p->arithmetic.computed) {
    edge_channelwise_pack(frame->model->kernels, &p->arithmetic, &s->filter, s->packed, NULL,
                          edge_in(frame, step, 1),
                          p->arithmetic.biased ? edge_in(frame, step, 2) : NULL);
  }
  for (int32_t i = 0; s->dynamics != NULL && i < s->batches; i++) {
    const float *image = (const float *)edge_in(frame, step, 0) + i * s->image_size;
    s->dynamics[i] = edge_dynamic_of(p->arithmetic.dynamic, image, (size_t)s->image_size);
  }
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
