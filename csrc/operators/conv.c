/* CONV_2D: input [N][H][W][C], weights [O][KH][KW][C / groups], bias [O] or none, output
 * [N][OH][OW][O]; types as arithmetic.h has them. Groups follow from the shapes.
 *
 * The image is copied band by band, padded, into a worker's scratch; panels of weights run over it.
 * A kernel row is one run where cells are neighbours in memory, else each cell is.
 *
 * Source: tflite/kernels/conv.cc; docs/numerics.md.
 */
#include "../band.h"
#include "../matrix.h"
#include "../operators.h"

typedef struct conv_params {
  edge_arithmetic arithmetic;
  edge_window window;
  int32_t groups;
  int32_t group_channels; /* of the input */
  int32_t outputs;
  bool joined;            /* a kernel row is one run */
  bool by_pixel;          /* QD8: each pixel has its own quantization, not each image */
  edge_matrix matrices[]; /* [groups]; packed, unless operands are computed */
} conv_params;

typedef struct conv_state {
  edge_band band;
  int32_t batches, bands, band_rows; /* band_rows: rows of output */
  uint32_t panel_pieces;             /* tasks that share one band */
  const ptrdiff_t *runs;             /* [groups][runs] */
  int64_t image_size, output_size;   /* elements */
  uint64_t band_bytes;               /* behind them, a worker's scratch has the pixels' scales */
  edge_dynamic *dynamics;            /* [batches], QD8, unless by pixel */
  uint8_t *packed;                   /* for computed operands */
  edge_matrix *matrices;             /* likewise, [groups] */
} conv_state;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status find_groups(edge_compiler *c, const edge_node *node, conv_params *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *weights = edge_node_input(c, node, 1);
  int32_t channels = input->rank == 4 ? input->shape[3] : 0;
  /* What the file leaves open follows when shapes are known, and is one group. */
  if (channels == 0) channels = weights->shape[3];
  if (channels % weights->shape[3] != 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected input channels that are a multiple of the weights' %lld, got "
                          "%lld",
                          (long long)weights->shape[3], (long long)channels);
  }
  p->groups = channels / weights->shape[3];
  p->group_channels = weights->shape[3];
  p->outputs = weights->shape[0];
  if (p->outputs % p->groups == 0) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected output channels that are a multiple of %lld groups, got %lld",
                        (long long)p->groups, (long long)p->outputs);
}

/* XNNPACK runs these as a dense layer, whose rows are pixels. Source: xnn_define_convolution_2d in
 * XNNPACK, src/subgraph/convolution-2d.c. */
static bool is_dense(const conv_params *p) {
  return p->groups == 1 && p->window.x.kernel == 1 && p->window.y.kernel == 1 &&
         p->window.x.stride == 1 && p->window.y.stride == 1 &&
         (int64_t)p->group_channels + p->outputs > 2;
}

static void plan_matrices(const edge_kernels *kernels, conv_params *p) {
  const uint32_t cells = (uint32_t)(p->window.y.kernel * p->window.x.kernel);
  p->joined = p->groups == 1 && p->window.x.dilation == 1;
  for (int32_t g = 0; g < p->groups; g++) {
    edge_matrix *matrix = &p->matrices[g];
    matrix->runs = p->joined ? (uint32_t)p->window.y.kernel : cells;
    matrix->depth = (uint32_t)p->group_channels * (cells / matrix->runs);
    matrix->outputs = (uint32_t)(p->outputs / p->groups);
    matrix->first_output = (uint32_t)g * matrix->outputs;
    edge_matrix_plan(kernels, &p->arithmetic, matrix);
  }
}

static uint64_t packed_bytes(const conv_params *p) {
  return (uint64_t)p->groups * edge_matrix_bytes(&p->arithmetic, &p->matrices[0]);
}

static void pack_groups(const conv_params *p, edge_matrix *matrices, uint8_t *memory,
                        const uint8_t *weights, const uint8_t *bias) {
  for (int32_t g = 0; g < p->groups; g++) {
    edge_matrix_pack(&p->arithmetic, &matrices[g], memory, weights, bias);
    memory += edge_matrix_bytes(&p->arithmetic, &matrices[g]);
  }
}

static edge_status pack_constants(edge_compiler *c, const edge_node *node, conv_params *p) {
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  if (p->arithmetic.computed) return EDGE_OK;
  uint8_t *memory = edge_pack_alloc(c, packed_bytes(p), 1);
  if (memory == NULL) return edge_no_memory(c->error);
  pack_groups(p, p->matrices, memory, edge_node_input(c, node, 1)->data, bias ? bias->data : NULL);
  return EDGE_OK;
}

static edge_status conv_compile(edge_compiler *c, edge_node *node) {
  static const edge_window_fields fields = {CONV_PADDING, CONV_STRIDE_W, CONV_STRIDE_H,
                                            CONV_DILATION_W, CONV_DILATION_H};
  const edge_tensor *weights = edge_node_input(c, node, 1);
  conv_params found = {0};
  edge_layer layer = {.activation = CONV_ACTIVATION, .bias_type = CONV_BIAS_TYPE};
  EDGE_TRY(edge_expect_weights(c, node, 4));
  EDGE_TRY(edge_window_read(c, node, &fields, &found.window));
  EDGE_TRY(find_groups(c, node, &found));
  layer.grouped = found.groups > 1;
  EDGE_TRY(edge_arithmetic_read(c, node, &layer, &found.arithmetic));
  found.window.y.kernel = weights->shape[1];
  found.window.x.kernel = weights->shape[2];
  found.by_pixel =
      found.arithmetic.kind == EDGE_ARITHMETIC_QD8 && found.arithmetic.xnn && is_dense(&found);
  conv_params *p =
      edge_node_params(c, node, sizeof *p + (size_t)found.groups * sizeof(edge_matrix));
  if (p == NULL) return edge_no_memory(c->error);
  *p = found;
  node->kernel = edge_arithmetic_name(&p->arithmetic, false);
  node->effort = (uint64_t)edge_count(weights->shape, 1, 4);
  node->macs = edge_stored_count(edge_node_output(c, node, 0)) * node->effort;
  plan_matrices(c->model->kernels, p);
  return pack_constants(c, node, p);
}

/* ---- shape ------------------------------------------------------------------------------- */

static const ptrdiff_t *plan_runs(edge_planner *planner, const conv_params *p,
                                  const conv_state *s) {
  const uint32_t runs = p->matrices[0].runs;
  ptrdiff_t *offsets = edge_region_alloc(planner->memory, (uint64_t)p->groups * runs,
                                         sizeof *offsets, planner->error);
  if (offsets == NULL) return NULL;
  ptrdiff_t *at = offsets;
  for (int32_t g = 0; g < p->groups; g++) {
    for (uint32_t t = 0; t < runs; t++) {
      const ptrdiff_t y = p->joined ? (ptrdiff_t)t : (ptrdiff_t)t / p->window.x.kernel;
      const ptrdiff_t x = p->joined ? 0 : (ptrdiff_t)t % p->window.x.kernel;
      *at++ = y * s->band.dilation_y + x * s->band.dilation_x + (ptrdiff_t)g * p->group_channels;
    }
  }
  return offsets;
}

static void plan_tasks(edge_planner *planner, const conv_params *p, conv_state *s) {
  const int32_t threads = planner->frame->threads;
  const int64_t wanted = threads > 1 ? 2 * (int64_t)threads : 1;
  const int32_t rows = s->band.window.y.output;
  s->band_rows = edge_band_split(&s->band, rows, wanted / edge_max(1, s->batches));
  s->bands = (rows + s->band_rows - 1) / s->band_rows;
  const int64_t tasks = (int64_t)s->batches * s->bands;
  const int64_t panels = p->matrices[0].panels;
  s->panel_pieces = 1;
  if (tasks > 0 && tasks < wanted) {
    s->panel_pieces = (uint32_t)edge_min((wanted + tasks - 1) / tasks, panels);
  }
}

/* Memory for what only runs know: operands that are computed, quantizations of images. */
static edge_status plan_runtime(edge_planner *planner, const conv_params *p, conv_state *s) {
  edge_region *memory = planner->memory;
  if (p->arithmetic.kind == EDGE_ARITHMETIC_QD8 && !p->by_pixel) {
    s->dynamics =
        edge_region_alloc(memory, (uint64_t)s->batches, sizeof *s->dynamics, planner->error);
    if (s->dynamics == NULL) return edge_no_memory(planner->error);
  }
  if (!p->arithmetic.computed) return EDGE_OK;
  s->packed = edge_region_alloc(memory, packed_bytes(p), 1, planner->error);
  if (s->packed == NULL) return edge_no_memory(planner->error);
  s->matrices = edge_region_alloc(memory, (uint64_t)p->groups, sizeof *s->matrices, planner->error);
  if (s->matrices == NULL) return edge_no_memory(planner->error);
  memcpy(s->matrices, p->matrices, (size_t)p->groups * sizeof *s->matrices);
  return EDGE_OK;
}

static edge_status conv_shape(edge_planner *planner, edge_step *step) {
  const conv_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  EDGE_TRY(edge_expect_image(planner, step, input, p->group_channels * p->groups));
  EDGE_TRY(edge_expect_stored(planner, step, 1));
  if (p->arithmetic.biased) EDGE_TRY(edge_expect_stored(planner, step, 2));
  conv_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  const edge_kernels *kernels = planner->frame->model->kernels;
  s->band = (edge_band){.window = p->window, .lhs = edge_arithmetic_lhs(kernels, &p->arithmetic)};
  EDGE_TRY(edge_window_place(planner, step, input->shape, &s->band.window));
  EDGE_TRY(edge_band_plan(planner, step, input->shape[3], 1, &s->band));
  const int32_t shape[4] = {input->shape[0], s->band.window.y.output, s->band.window.x.output,
                            p->outputs};
  EDGE_TRY(edge_set_shape(planner, step, 0, 4, shape));
  s->batches = input->shape[0];
  s->image_size = edge_count(input->shape, 1, 4);
  s->output_size = edge_count(shape, 1, 4);
  plan_tasks(planner, p, s);
  s->runs = plan_runs(planner, p, s);
  if (s->runs == NULL) return edge_no_memory(planner->error);
  s->band_bytes = edge_round_up(edge_band_bytes(&s->band, s->band_rows), EDGE_ALIGN);
  step->scratch_size = s->band_bytes;
  if (p->by_pixel) {
    step->scratch_size += (uint64_t)s->band_rows * (uint64_t)shape[2] * sizeof(float);
  }
  return plan_runtime(planner, p, s);
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct conv_job {
  const edge_frame *frame;
  const edge_step *step;
} conv_job;

/* A band as the panels see it. */
typedef struct conv_band {
  const uint8_t *lhs;
  int32_t rows;        /* of output */
  const float *scales; /* QD8: of its pixels, or of the image */
  uint8_t *out;
} conv_band;

/* One panel over one band: all pixels at once where rows follow each other without a gap. */
static void run_panel(const conv_job *job, const edge_matrix *matrix, const ptrdiff_t *runs,
                      uint32_t panel, const conv_band *band) {
  const conv_params *p = job->step->node->params;
  const conv_state *s = job->step->state;
  const edge_window *w = &s->band.window;
  const bool flat = w->y.kernel == 1 && w->x.kernel == 1;
  const int32_t calls = flat ? 1 : band->rows;
  const int64_t out_row = (int64_t)w->x.output * p->outputs;
  edge_matrix_rows call = {.rows = (size_t)w->x.output * (size_t)(flat ? band->rows : 1),
                           .lhs_row = s->band.step_x,
                           .lhs_runs = runs,
                           .row_scales = band->scales,
                           .row_step = p->by_pixel,
                           .out_row = p->outputs};
  for (int32_t y = 0; y < calls; y++) {
    call.lhs = band->lhs + y * s->band.step_y * (ptrdiff_t)s->band.lhs.size;
    call.out = band->out + y * out_row * (int64_t)edge_type_size(p->arithmetic.type);
    edge_matrix_run(job->frame->model->kernels, &p->arithmetic, matrix, panel, &call);
  }
}

static void run_panels(const conv_job *job, uint32_t piece, const conv_band *band) {
  const conv_params *p = job->step->node->params;
  const conv_state *s = job->step->state;
  const edge_matrix *matrices = p->arithmetic.computed ? s->matrices : p->matrices;
  for (int32_t g = 0; g < p->groups; g++) {
    const uint64_t panels = matrices[g].panels;
    const uint32_t from = (uint32_t)(panels * piece / s->panel_pieces);
    const uint32_t to = (uint32_t)(panels * (piece + 1) / s->panel_pieces);
    for (uint32_t panel = from; panel < to; panel++) {
      run_panel(job, &matrices[g], s->runs + (size_t)g * matrices[g].runs, panel, band);
    }
  }
}

/* Fills a worker's scratch for some rows of output. */
static void fill_band(const conv_params *p, const conv_state *s, const edge_lhs *lhs,
                      const uint8_t *image, int32_t first, conv_band *band, uint8_t *scratch) {
  if (!p->by_pixel) {
    edge_band_fill(&s->band, lhs, image, first, band->rows, scratch);
    return;
  }
  float *scales = (float *)(void *)(scratch + s->band_bytes);
  const int64_t width = s->band.window.x.input;
  const int64_t from = first * width * p->group_channels * lhs->in_size;
  edge_lhs_put_rows(lhs, scratch, image + from, band->rows * width, p->group_channels, scales);
  band->scales = scales;
}

static void conv_task(void *context, uint32_t task, uint32_t worker) {
  const conv_job *job = context;
  const edge_step *step = job->step;
  const conv_params *p = step->node->params;
  const conv_state *s = step->state;
  const int64_t size = (int64_t)edge_type_size(p->arithmetic.type);
  const int32_t part = (int32_t)(task / s->panel_pieces) % s->bands;
  const int32_t batch = (int32_t)(task / s->panel_pieces) / s->bands;
  const int32_t first = part * s->band_rows;
  const int64_t done = (int64_t)first * s->band.window.x.output * p->outputs;
  const uint8_t *in = edge_in(job->frame, step, 0);
  uint8_t *out = edge_out(job->frame, step, 0);
  uint8_t *lhs = edge_scratch(job->frame, step, worker);
  edge_lhs how = s->band.lhs;
  if (s->dynamics != NULL) how.dynamic = s->dynamics[batch];
  conv_band band = {.lhs = lhs,
                    .rows = (int32_t)edge_min(s->band_rows, s->band.window.y.output - first),
                    .scales = &how.dynamic.scale,
                    .out = out + (batch * s->output_size + done) * size};
  fill_band(p, s, &how, in + batch * s->image_size * size, first, &band, lhs);
  run_panels(job, task % s->panel_pieces, &band);
}

static void conv_run(const edge_frame *frame, const edge_step *step) {
  const conv_params *p = step->node->params;
  const conv_state *s = step->state;
  conv_job job = {frame, step};
  if (p->arithmetic.computed) {
    pack_groups(p, s->matrices, s->packed, edge_in(frame, step, 1),
                p->arithmetic.biased ? edge_in(frame, step, 2) : NULL);
  }
  for (int32_t i = 0; s->dynamics != NULL && i < s->batches; i++) {
    const float *image = (const float *)edge_in(frame, step, 0) + i * s->image_size;
    s->dynamics[i] = edge_dynamic_of(p->arithmetic.dynamic, image, (size_t)s->image_size);
  }
  edge_pool_run(frame->pool, conv_task, &job,
                (uint32_t)s->batches * (uint32_t)s->bands * s->panel_pieces);
}

const edge_operator edge_operator_conv_2d = {
    .code = 3,
    .name = "CONV_2D",
    .version_max = 8,
    .options_type = 1,
    .inputs_min = 2,
    .inputs_max = 3,
    .compile = conv_compile,
    .shape = conv_shape,
    .run = conv_run,
};
