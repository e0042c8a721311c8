/* CONV_2D: int8 input [N][H][W][C], weights [O][KH][KW][C / groups], bias int32 [O] or none, output
 * [N][OH][OW][O]. Groups follow from the shapes.
 *
 * The image is copied band by band, padded and widened, into a worker's scratch; panels of weights
 * run over it. A kernel row is one run where cells are neighbours in memory, else each cell is.
 *
 * Source: tflite/kernels/conv.cc; docs/numerics.md.
 */
#include "../band.h"
#include "../matrix.h"
#include "../operators.h"

typedef struct conv_params {
  edge_window window;
  int32_t groups;
  int32_t group_channels; /* of the input */
  int32_t outputs;
  int32_t zero_point;     /* of the input */
  bool joined;            /* a kernel row is one run */
  edge_matrix matrices[]; /* [groups] */
} conv_params;

typedef struct conv_state {
  edge_band band;
  int32_t batches, bands, band_rows; /* band_rows: rows of output */
  uint32_t panel_pieces;             /* tasks that share one band */
  const ptrdiff_t *runs;             /* [groups][runs] */
  int64_t image_bytes, output_bytes;
} conv_state;

/* ---- compile ----------------------------------------------------------------------------- */

/* What XNNPACK takes and builds; otherwise the optimised kernel's arithmetic. */
static bool xnn_takes(edge_compiler *c, const edge_node *node, edge_quant input,
                      edge_quant output) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  return edge_xnn_activation(edge_node_input(c, node, 0)) &&
         edge_xnn_activation(edge_node_output(c, node, 0)) && edge_xnn_weights(weights, bias) &&
         edge_xnn_scales(weights, input.scale, output.scale);
}

static edge_status find_groups(edge_compiler *c, const edge_node *node, conv_params *p) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const int32_t channels = input->rank == 4 ? input->shape[3] : 0;
  if (channels < 1 || channels % weights->shape[3] != 0) {
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

static edge_status pack_groups(edge_compiler *c, edge_node *node, conv_params *p,
                               edge_matrix_source *source) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  const uint32_t cells = (uint32_t)(p->window.y.kernel * p->window.x.kernel);
  p->joined = p->groups == 1 && p->window.x.dilation == 1;
  source->runs = p->joined ? (uint32_t)p->window.y.kernel : cells;
  source->depth = (uint32_t)p->group_channels * (cells / source->runs);
  source->outputs = (uint32_t)(p->outputs / p->groups);
  source->bias = bias ? bias->data : NULL;
  source->away = p->groups > 1; /* LiteRT runs grouped convolutions by its reference kernel */
  for (int32_t g = 0; g < p->groups; g++) {
    source->first_output = (uint32_t)g * source->outputs;
    source->weights = (const int8_t *)weights->data +
                      (uint64_t)source->first_output * source->runs * source->depth;
    EDGE_TRY(edge_matrix_pack(c, node, source, &p->matrices[g]));
  }
  return EDGE_OK;
}

static edge_status conv_compile(edge_compiler *c, edge_node *node) {
  static const edge_window_fields fields = {CONV_PADDING, CONV_STRIDE_W, CONV_STRIDE_H,
                                            CONV_DILATION_W, CONV_DILATION_H};
  const edge_tensor *weights = edge_node_input(c, node, 1);
  conv_params found = {0};
  edge_matrix_source source = {.scales = weights};
  int8_t activation;
  EDGE_TRY(edge_expect_filters(c, node, 0));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, 0), "an input", &source.input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &source.output));
  EDGE_TRY(edge_window_read(c, node, &fields, &found.window));
  EDGE_TRY(edge_read_activation(c, node, CONV_ACTIVATION, &activation));
  EDGE_TRY(find_groups(c, node, &found));
  found.window.y.kernel = weights->shape[1];
  found.window.x.kernel = weights->shape[2];
  found.zero_point = source.input.zero_point;
  source.xnn = xnn_takes(c, node, source.input, source.output);
  EDGE_TRY(edge_output_range(c, node, source.xnn, activation, source.output, &source.range));
  conv_params *p =
      edge_node_params(c, node, sizeof *p + (size_t)found.groups * sizeof(edge_matrix));
  if (p == NULL) return edge_no_memory(c->error);
  *p = found;
  node->kernel = source.xnn ? "gemm, float32 rounding" : "gemm, fixed-point rounding";
  node->macs =
      edge_stored_count(edge_node_output(c, node, 0)) * (uint64_t)edge_count(weights->shape, 1, 4);
  return pack_groups(c, node, p, &source);
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
  s->band_rows = edge_band_split(&s->band, rows, wanted / s->batches);
  s->bands = (rows + s->band_rows - 1) / s->band_rows;
  const int64_t tasks = (int64_t)s->batches * s->bands;
  const int64_t panels = p->matrices[0].panels;
  s->panel_pieces = tasks < wanted ? (uint32_t)edge_min((wanted + tasks - 1) / tasks, panels) : 1;
}

static edge_status conv_shape(edge_planner *planner, edge_step *step) {
  const conv_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  EDGE_TRY(edge_expect_image(planner, step, input, p->group_channels * p->groups));
  conv_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  const edge_kernels *kernels = planner->frame->model->kernels;
  s->band =
      (edge_band){.window = p->window, .element = kernels->lhs_size, .convert = kernels->qs8_lhs};
  EDGE_TRY(edge_window_place(planner, step, input->shape, &s->band.window));
  EDGE_TRY(edge_band_plan(planner, step, input->shape[3], 1, p->zero_point, &s->band));
  const int32_t shape[4] = {input->shape[0], s->band.window.y.output, s->band.window.x.output,
                            p->outputs};
  EDGE_TRY(edge_set_shape(planner, step, 0, 4, shape));
  s->batches = input->shape[0];
  s->image_bytes = edge_count(input->shape, 1, 4);
  s->output_bytes = edge_count(shape, 1, 4);
  plan_tasks(planner, p, s);
  s->runs = plan_runs(planner, p, s);
  if (s->runs == NULL) return edge_no_memory(planner->error);
  step->scratch_size =
      (uint64_t)edge_band_rows(&s->band, s->band_rows) * (uint64_t)s->band.row * s->band.element +
      EDGE_SLACK;
  return EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct conv_job {
  const edge_frame *frame;
  const edge_step *step;
} conv_job;

/* One panel over one band: all pixels at once where rows follow each other without a gap. */
static void run_panel(const edge_kernels *kernels, const conv_state *s, const edge_matrix *matrix,
                      const ptrdiff_t *runs, uint32_t panel, const uint8_t *lhs, int32_t rows,
                      int8_t *out, int32_t outputs) {
  const edge_window *w = &s->band.window;
  const bool flat = w->y.kernel == 1 && w->x.kernel == 1;
  const int32_t calls = flat ? 1 : rows;
  edge_matrix_rows call = {.rows = (size_t)w->x.output * (size_t)(flat ? rows : 1),
                           .lhs_row = s->band.step_x,
                           .lhs_runs = runs,
                           .out_row = outputs};
  for (int32_t y = 0; y < calls; y++) {
    call.lhs = lhs + y * s->band.step_y * (ptrdiff_t)s->band.element;
    call.out = out + (int64_t)y * w->x.output * outputs;
    edge_matrix_run(kernels, matrix, panel, &call);
  }
}

static void conv_task(void *context, uint32_t task, uint32_t worker) {
  const conv_job *job = context;
  const edge_step *step = job->step;
  const conv_params *p = step->node->params;
  const conv_state *s = step->state;
  const edge_kernels *kernels = job->frame->model->kernels;
  const uint32_t piece = task % s->panel_pieces;
  const int32_t band = (int32_t)(task / s->panel_pieces) % s->bands;
  const int32_t batch = (int32_t)(task / s->panel_pieces) / s->bands;
  const int32_t first = band * s->band_rows;
  const int32_t rows = (int32_t)edge_min(s->band_rows, s->band.window.y.output - first);
  uint8_t *lhs = edge_scratch(job->frame, step, worker);
  const int8_t *image = (const int8_t *)edge_in(job->frame, step, 0) + batch * s->image_bytes;
  int8_t *out = (int8_t *)edge_out(job->frame, step, 0) + batch * s->output_bytes +
                (int64_t)first * s->band.window.x.output * p->outputs;
  edge_band_fill(&s->band, image, first, rows, lhs);
  for (int32_t g = 0; g < p->groups; g++) {
    const edge_matrix *matrix = &p->matrices[g];
    const uint32_t from = (uint32_t)((uint64_t)matrix->panels * piece / s->panel_pieces);
    const uint32_t to = (uint32_t)((uint64_t)matrix->panels * (piece + 1) / s->panel_pieces);
    for (uint32_t panel = from; panel < to; panel++) {
      run_panel(kernels, s, matrix, s->runs + (size_t)g * matrix->runs, panel, lhs, rows,
                out + (int64_t)g * matrix->outputs, p->outputs);
    }
  }
}

static void conv_run(const edge_frame *frame, const edge_step *step) {
  const conv_state *s = step->state;
  conv_job job = {frame, step};
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
