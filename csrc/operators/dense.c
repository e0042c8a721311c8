/* FULLY_CONNECTED: int8 input of any shape, weights [O][K], bias int32 [O] or none. Rows are the
 * input's elements in groups of K; the output is [rows][O], or keeps the leading dimensions.
 *
 * Constant weights with zero points 0 are packed and run as a matrix product. Weights that another
 * operator computes, or with a zero point, take a plain loop: they are rare and small.
 *
 * Source: tflite/kernels/fully_connected.cc; docs/numerics.md.
 */
#include "../band.h"
#include "../matrix.h"
#include "../operators.h"

typedef struct dense_params {
  int32_t outputs, depth;
  bool keep_dimensions;
  bool plain;
  edge_matrix matrix; /* packed */
  edge_quant input;   /* plain: what the loop needs */
  int32_t weights_zero_point;
  edge_qs8_output output; /* plain: one fixed entry for each output */
} dense_params;

typedef struct dense_state {
  int64_t rows;
  int32_t band_rows, bands;
  uint32_t panel_pieces;
} dense_state;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status check_tensors(edge_compiler *c, const edge_node *node) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "an input", EDGE_INT8));
  EDGE_TRY(edge_expect_type(c, node, weights, "weights", EDGE_INT8));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_rank(c, node, weights, "weights", 2));
  if (weights->shape[0] < 1 || weights->shape[1] < 1) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected weights, got none");
  }
  return bias ? edge_expect_bias(c, node, bias, weights->shape[0]) : EDGE_OK;
}

static edge_status read_options(edge_compiler *c, const edge_node *node, dense_params *p,
                                int8_t *activation) {
  int8_t format;
  if (!edge_table_i8(&node->options, DENSE_WEIGHTS_FORMAT, 0, &format) ||
      !edge_table_bool(&node->options, DENSE_KEEP_NUM_DIMS, false, &p->keep_dimensions)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (format != 0) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected weights in the default format, got format %lld",
                          (long long)format);
  }
  return edge_read_activation(c, node, DENSE_ACTIVATION, activation);
}

/* The one zero point of per-tensor weights. */
static edge_status read_zero_point(edge_compiler *c, const edge_node *node, dense_params *p) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  edge_quant quant = {0};
  if (weights->scale.count == 1) {
    EDGE_TRY(edge_expect_quant(c, node, weights, "weights", &quant));
  } else {
    EDGE_TRY(edge_expect_scales(c, node, weights, "weights", 0));
  }
  p->weights_zero_point = quant.zero_point;
  return EDGE_OK;
}

static bool xnn_takes(edge_compiler *c, const edge_node *node, const edge_matrix_source *source) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  return node->version != 8 && edge_xnn_activation(edge_node_input(c, node, 0)) &&
         edge_xnn_activation(edge_node_output(c, node, 0)) &&
         edge_xnn_dense_weights(weights, bias) &&
         edge_xnn_scales(weights, source->input.scale, source->output.scale);
}

static edge_status prepare_plain(edge_compiler *c, edge_node *node, dense_params *p,
                                 const edge_matrix_source *source) {
  edge_tensor *weights = edge_node_input(c, node, 1);
  edge_tensor *bias = edge_node_optional(c, node, 2);
  EDGE_TRY(edge_keep(c, weights));
  if (bias != NULL) EDGE_TRY(edge_keep(c, bias));
  EDGE_TRY(edge_output_pack(c, node, source, source->outputs, UINT32_MAX, &p->output));
  p->input = source->input;
  node->kernel = "plain loop, fixed-point rounding";
  return EDGE_OK;
}

static edge_status prepare_packed(edge_compiler *c, edge_node *node, dense_params *p,
                                  const edge_matrix_source *source) {
  EDGE_TRY(edge_matrix_pack(c, node, source, &p->matrix));
  node->kernel = source->xnn ? "gemm, float32 rounding" : "gemm, fixed-point rounding";
  return EDGE_OK;
}

static edge_status dense_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  edge_matrix_source source = {.scales = weights, .runs = 1, .float_product = true};
  int8_t activation;
  dense_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(check_tensors(c, node));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, 0), "an input", &source.input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &source.output));
  EDGE_TRY(read_options(c, node, p, &activation));
  EDGE_TRY(read_zero_point(c, node, p));
  p->outputs = weights->shape[0];
  p->depth = weights->shape[1];
  source.weights = (const int8_t *)weights->data;
  source.outputs = (uint32_t)p->outputs;
  source.depth = (uint32_t)p->depth;
  source.bias = bias ? bias->data : NULL;
  p->plain =
      weights->data == NULL || p->weights_zero_point != 0 || (bias != NULL && bias->data == NULL);
  source.xnn = !p->plain && xnn_takes(c, node, &source);
  EDGE_TRY(edge_output_range(c, node, source.xnn, activation, source.output, &source.range));
  node->macs = edge_stored_count(edge_node_output(c, node, 0)) * (uint64_t)p->depth;
  return p->plain ? prepare_plain(c, node, p, &source) : prepare_packed(c, node, p, &source);
}

/* ---- shape ------------------------------------------------------------------------------- */

/* Operands that are computed have the shapes of the plan, whatever the file says of them. */
static edge_status check_computed(edge_planner *planner, const edge_step *step) {
  const dense_params *p = step->node->params;
  const edge_view *weights = edge_view_in(planner, step, 1);
  const bool biased = edge_tensor_in(planner, step, 2) != NULL;
  const edge_view *bias = biased ? edge_view_in(planner, step, 2) : NULL;
  if (weights->rank == 2 && weights->shape[0] == p->outputs && weights->shape[1] == p->depth &&
      (bias == NULL || edge_count(bias->shape, 0, bias->rank) == p->outputs)) {
    return EDGE_OK;
  }
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected weights of %lld x %lld and a bias to them, as in the file, got "
                        "others",
                        (long long)p->outputs, (long long)p->depth);
}

static edge_status dense_shape(edge_planner *planner, edge_step *step) {
  enum { BAND_BYTES = 64 * 1024 };
  const dense_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  EDGE_TRY(check_computed(planner, step));
  const int64_t elements = edge_count(input->shape, 0, input->rank);
  const bool fits = p->keep_dimensions
                        ? input->rank > 0 && input->shape[input->rank - 1] == p->depth
                        : elements % p->depth == 0;
  if (!fits || elements == 0) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input in rows of %lld elements, got %lld elements",
                          (long long)p->depth, (long long)elements);
  }
  dense_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->rows = elements / p->depth;
  int32_t shape[EDGE_MAX_RANK] = {(int32_t)s->rows, p->outputs};
  int32_t rank = 2;
  if (p->keep_dimensions) {
    rank = input->rank;
    memcpy(shape, input->shape, sizeof shape);
    shape[rank - 1] = p->outputs;
  }
  EDGE_TRY(edge_set_shape(planner, step, 0, rank, shape));
  if (p->plain) return EDGE_OK;
  const uint32_t element = planner->frame->model->kernels->lhs_size;
  const int32_t threads = planner->frame->threads;
  const int64_t wanted = threads > 1 ? 2 * (int64_t)threads : 1;
  const int64_t fit = edge_max(1, BAND_BYTES / ((int64_t)p->depth * element));
  s->band_rows = (int32_t)edge_min(s->rows, fit);
  s->bands = (int32_t)((s->rows + s->band_rows - 1) / s->band_rows);
  s->panel_pieces = s->bands < wanted
                        ? (uint32_t)edge_min((wanted + s->bands - 1) / s->bands, p->matrix.panels)
                        : 1;
  step->scratch_size = (uint64_t)s->band_rows * (uint64_t)p->depth * element + EDGE_SLACK;
  return EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct dense_job {
  const edge_frame *frame;
  const edge_step *step;
} dense_job;

static void packed_task(void *context, uint32_t task, uint32_t worker) {
  static const ptrdiff_t one_run[1] = {0};
  const dense_job *job = context;
  const dense_params *p = job->step->node->params;
  const dense_state *s = job->step->state;
  const edge_kernels *kernels = job->frame->model->kernels;
  const uint32_t piece = task % s->panel_pieces;
  const int64_t first = (int64_t)(task / s->panel_pieces) * s->band_rows;
  const int64_t rows = edge_min(s->band_rows, s->rows - first);
  void *lhs = edge_scratch(job->frame, job->step, worker);
  const int8_t *input = edge_in(job->frame, job->step, 0);
  int8_t *out = edge_out(job->frame, job->step, 0);
  kernels->qs8_lhs(lhs, input + first * p->depth, (size_t)(rows * p->depth));
  const edge_matrix_rows call = {.rows = (size_t)rows,
                                 .lhs = lhs,
                                 .lhs_row = p->depth,
                                 .lhs_runs = one_run,
                                 .out = out + first * p->outputs,
                                 .out_row = p->outputs};
  const uint64_t panels = p->matrix.panels;
  for (uint32_t panel = (uint32_t)(panels * piece / s->panel_pieces);
       panel < (uint32_t)(panels * (piece + 1) / s->panel_pieces); panel++) {
    edge_matrix_run(kernels, &p->matrix, panel, &call);
  }
}

static void run_plain(const edge_frame *frame, const edge_step *step) {
  const dense_params *p = step->node->params;
  const dense_state *s = step->state;
  const int8_t *input = edge_in(frame, step, 0);
  const int8_t *weights = edge_in(frame, step, 1);
  const bool biased = step->node->input_count > 2 && step->node->inputs[2] >= 0;
  const int32_t *bias = biased ? edge_in(frame, step, 2) : NULL;
  int8_t *out = edge_out(frame, step, 0);
  for (int64_t r = 0; r < s->rows; r++) {
    for (int32_t n = 0; n < p->outputs; n++) {
      const int8_t *x = input + r * p->depth;
      const int8_t *w = weights + (int64_t)n * p->depth;
      int64_t sum = bias ? bias[n] : 0;
      for (int32_t k = 0; k < p->depth; k++) {
        const int32_t product = (x[k] - p->input.zero_point) * (w[k] - p->weights_zero_point);
        sum += product;
      }
      *out++ = edge_requantize(edge_wrap(sum), (size_t)n, &p->output);
    }
  }
}

static void dense_run(const edge_frame *frame, const edge_step *step) {
  const dense_params *p = step->node->params;
  const dense_state *s = step->state;
  if (p->plain) {
    run_plain(frame, step);
    return;
  }
  dense_job job = {frame, step};
  edge_pool_run(frame->pool, packed_task, &job, (uint32_t)s->bands * s->panel_pieces);
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
