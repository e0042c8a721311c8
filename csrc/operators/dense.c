/* FULLY_CONNECTED: input of any shape, weights [O][K], bias [O] or none; types as arithmetic.h has
 * them. Rows are the input's elements in groups of K; the output is [rows][O], or keeps the leading
 * dimensions.
 *
 * Source: tflite/kernels/fully_connected.cc; docs/numerics.md.
 */
#include "../matrix.h"
#include "../operators.h"

typedef struct dense_params {
  edge_arithmetic arithmetic;
  int32_t outputs, depth;
  bool keep_dimensions;
  edge_matrix matrix; /* packed, unless operands are computed */
} dense_params;

typedef struct dense_state {
  edge_lhs lhs;
  int64_t rows;
  int32_t band_rows, bands;
  uint32_t panel_pieces;
  uint64_t lhs_bytes; /* behind them, a worker's scratch has the rows' scales */
  uint8_t *packed;    /* for computed operands */
  edge_matrix matrix;
} dense_state;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status read_options(edge_compiler *c, const edge_node *node, dense_params *p) {
  int8_t format;
  if (!edge_table_i8(&node->options, DENSE_WEIGHTS_FORMAT, 0, &format) ||
      !edge_table_bool(&node->options, DENSE_KEEP_NUM_DIMS, false, &p->keep_dimensions)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (format == 0) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected weights in the default format, got format %lld",
                        (long long)format);
}

static edge_status pack_constants(edge_compiler *c, const edge_node *node, dense_params *p) {
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  if (p->arithmetic.computed) return EDGE_OK;
  uint8_t *memory = edge_pack_alloc(c, edge_matrix_bytes(&p->arithmetic, &p->matrix), 1);
  if (memory == NULL) return edge_no_memory(c->error);
  edge_matrix_pack(&p->arithmetic, &p->matrix, memory, edge_node_input(c, node, 1)->data,
                   bias ? bias->data : NULL);
  return EDGE_OK;
}

static edge_status dense_compile(edge_compiler *c, edge_node *node) {
  static const edge_layer layer = {
      .activation = DENSE_ACTIVATION, .bias_type = DENSE_BIAS_TYPE, .dense = true};
  const edge_tensor *weights = edge_node_input(c, node, 1);
  dense_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_weights(c, node, 2));
  EDGE_TRY(read_options(c, node, p));
  EDGE_TRY(edge_arithmetic_read(c, node, &layer, &p->arithmetic));
  p->outputs = weights->shape[0];
  p->depth = weights->shape[1];
  p->matrix =
      (edge_matrix){.outputs = (uint32_t)p->outputs, .runs = 1, .depth = (uint32_t)p->depth};
  edge_matrix_plan(c->model->kernels, &p->arithmetic, &p->matrix);
  node->kernel = edge_arithmetic_name(&p->arithmetic, false);
  node->effort = (uint64_t)p->depth;
  node->macs = edge_stored_count(edge_node_output(c, node, 0)) * (uint64_t)p->depth;
  return pack_constants(c, node, p);
}

/* ---- shape ------------------------------------------------------------------------------- */

static edge_status place_rows(edge_planner *planner, const edge_step *step, int64_t *rows) {
  const dense_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const int64_t elements = edge_count(input->shape, 0, input->rank);
  const bool fits = p->keep_dimensions
                        ? input->rank > 0 && input->shape[input->rank - 1] == p->depth
                        : elements % p->depth == 0;
  if (!fits) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input in rows of %lld elements, got %lld elements",
                          (long long)p->depth, (long long)elements);
  }
  *rows = elements / p->depth;
  int32_t shape[EDGE_MAX_RANK] = {(int32_t)*rows, p->outputs};
  int32_t rank = 2;
  if (p->keep_dimensions) {
    rank = input->rank;
    memcpy(shape, input->shape, sizeof shape);
    shape[rank - 1] = p->outputs;
  }
  return edge_set_shape(planner, step, 0, rank, shape);
}

static void plan_tasks(edge_planner *planner, const dense_params *p, edge_step *step) {
  enum { BAND_BYTES = 64 * 1024 };
  dense_state *s = step->state;
  const int64_t row_bytes = (int64_t)p->depth * s->lhs.size;
  const int32_t threads = planner->frame->threads;
  const int64_t wanted = threads > 1 ? 2 * (int64_t)threads : 1;
  const int64_t fit = edge_max(1, BAND_BYTES / row_bytes);
  s->band_rows = (int32_t)edge_max(1, edge_min(s->rows, fit));
  s->bands = (int32_t)((s->rows + s->band_rows - 1) / s->band_rows);
  s->panel_pieces = 1;
  if (s->bands > 0 && s->bands < wanted) {
    s->panel_pieces = (uint32_t)edge_min((wanted + s->bands - 1) / s->bands, p->matrix.panels);
  }
  s->lhs_bytes = edge_round_up((uint64_t)(s->band_rows * row_bytes) + EDGE_SLACK, EDGE_ALIGN);
  step->scratch_size = s->lhs_bytes + (uint64_t)s->band_rows * sizeof(float);
}

static edge_status dense_shape(edge_planner *planner, edge_step *step) {
  const dense_params *p = step->node->params;
  EDGE_TRY(edge_expect_stored(planner, step, 1));
  if (p->arithmetic.biased) EDGE_TRY(edge_expect_stored(planner, step, 2));
  dense_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(place_rows(planner, step, &s->rows));
  s->lhs = edge_arithmetic_lhs(planner->frame->model->kernels, &p->arithmetic);
  s->matrix = p->matrix;
  plan_tasks(planner, p, step);
  if (!p->arithmetic.computed) return EDGE_OK;
  s->packed = edge_region_alloc(planner->memory, edge_matrix_bytes(&p->arithmetic, &p->matrix), 1,
                                planner->error);
  return s->packed == NULL ? edge_no_memory(planner->error) : EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct dense_job {
  const edge_frame *frame;
  const edge_step *step;
} dense_job;

static void dense_task(void *context, uint32_t task, uint32_t worker) {
  static const ptrdiff_t one_run[1] = {0};
  const dense_job *job = context;
  const dense_params *p = job->step->node->params;
  const dense_state *s = job->step->state;
  const int64_t size = (int64_t)edge_type_size(p->arithmetic.type);
  const uint32_t piece = task % s->panel_pieces;
  const int64_t first = (int64_t)(task / s->panel_pieces) * s->band_rows;
  const int64_t rows = edge_min(s->band_rows, s->rows - first);
  uint8_t *lhs = edge_scratch(job->frame, job->step, worker);
  float *scales = (float *)(void *)(lhs + s->lhs_bytes);
  const uint8_t *input = edge_in(job->frame, job->step, 0);
  uint8_t *out = edge_out(job->frame, job->step, 0);
  edge_lhs_put_rows(&s->lhs, lhs, input + first * p->depth * size, rows, p->depth, scales);
  const edge_matrix_rows call = {.rows = (size_t)rows,
                                 .lhs = lhs,
                                 .lhs_row = p->depth,
                                 .lhs_runs = one_run,
                                 .row_scales = scales,
                                 .row_step = 1,
                                 .out = out + first * p->outputs * size,
                                 .out_row = p->outputs};
  const uint64_t panels = s->matrix.panels;
  for (uint32_t panel = (uint32_t)(panels * piece / s->panel_pieces);
       panel < (uint32_t)(panels * (piece + 1) / s->panel_pieces); panel++) {
    edge_matrix_run(job->frame->model->kernels, &p->arithmetic, &s->matrix, panel, &call);
  }
}

static void dense_run(const edge_frame *frame, const edge_step *step) {
  const dense_params *p = step->node->params;
  dense_state *s = step->state;
  dense_job job = {frame, step};
  if (p->arithmetic.computed) {
    edge_matrix_pack(&p->arithmetic, &s->matrix, s->packed, edge_in(frame, step, 1),
                     p->arithmetic.biased ? edge_in(frame, step, 2) : NULL);
  }
  edge_pool_run(frame->pool, dense_task, &job, (uint32_t)s->bands * s->panel_pieces);
}

const edge_operator edge_operator_fully_connected = {
    .code = 9,
    .name = "FULLY_CONNECTED",
    .version_max = 13,
    .options_type = 8,
    .inputs_min = 2,
    .inputs_max = 3,
    .compile = dense_compile,
    .shape = dense_shape,
    .run = dense_run,
};
