/* AVERAGE_POOL_2D and MAX_POOL_2D: int8 [N][H][W][C] -> [N][OH][OW][C].
 *
 * The average is of the cells inside the image, of bytes as they are, halves away from zero:
 * XNNPACK does not take it, and LiteRT's kernels agree. The maximum differs between the two rules
 * only in how the fused activation rounds. XNNPACK makes a window of 1 x 1 a clamp.
 *
 * Source: tflite/kernels/pooling.cc, internal/reference/integer_ops/pooling.h; docs/numerics.md.
 */
#include "../fold.h"
#include "../matrix.h"
#include "../operators.h"
#include "../window.h"

typedef struct pool_params {
  edge_window window;
  edge_range range;
} pool_params;

typedef struct pool_state {
  edge_window window;
  int32_t batches, channels;
} pool_state;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status pool_read(edge_compiler *c, edge_node *node, edge_quant *input,
                             edge_quant *output, int8_t *activation) {
  static const edge_window_fields fields = {POOL_PADDING, POOL_STRIDE_W, POOL_STRIDE_H, -1, -1};
  pool_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  const edge_tensor *in = edge_node_input(c, node, 0);
  const edge_tensor *out = edge_node_output(c, node, 0);
  EDGE_TRY(edge_expect_type(c, node, in, "an input", EDGE_INT8));
  EDGE_TRY(edge_expect_type(c, node, out, "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_quant(c, node, in, "an input", input));
  EDGE_TRY(edge_expect_quant(c, node, out, "an output", output));
  EDGE_TRY(edge_window_read(c, node, &fields, &p->window));
  EDGE_TRY(edge_window_read_filter(c, node, &p->window));
  return edge_read_activation(c, node, POOL_ACTIVATION, activation);
}

/* LiteRT averages bytes, whatever the output's scale says, and so do we. */
static edge_status average_compile(edge_compiler *c, edge_node *node) {
  edge_quant input;
  edge_quant output;
  int8_t activation;
  EDGE_TRY(pool_read(c, node, &input, &output, &activation));
  pool_params *p = node->params;
  node->kernel = "avgpool";
  return edge_output_range(c, node, false, activation, output, &p->range);
}

/* What XNNPACK takes as a pooling. */
static bool xnn_takes(edge_compiler *c, const edge_node *node, const edge_window *w) {
  return edge_xnn_activation(edge_node_input(c, node, 0)) &&
         edge_xnn_activation(edge_node_output(c, node, 0)) && w->x.stride <= w->x.kernel &&
         w->y.stride <= w->y.kernel;
}

static edge_status max_compile(edge_compiler *c, edge_node *node) {
  edge_quant input;
  edge_quant output;
  int8_t activation;
  EDGE_TRY(pool_read(c, node, &input, &output, &activation));
  pool_params *p = node->params;
  const bool same = input.scale == output.scale && input.zero_point == output.zero_point;
  const bool one = p->window.x.kernel == 1 && p->window.y.kernel == 1;
  const bool xnn = xnn_takes(c, node, &p->window) && (same || one);
  node->kernel = "maxpool";
  EDGE_TRY(edge_output_range(c, node, xnn, activation, output, &p->range));
  if (one && xnn) edge_fold_unary(c, node);
  if (!one || !xnn || same) return EDGE_OK;
  /* XNNPACK would requantize, and by another rule behind some nodes. No converter makes such. */
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected a window of 1 x 1 to have one quantization for input and output, "
                        "got two");
}

/* ---- shape ------------------------------------------------------------------------------- */

static edge_status pool_plan(edge_planner *planner, edge_step *step) {
  const pool_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const int32_t channels = input->rank == 4 ? input->shape[3] : 0;
  EDGE_TRY(edge_expect_image(planner, step, input, channels));
  pool_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->window = p->window;
  s->batches = input->shape[0];
  s->channels = channels;
  EDGE_TRY(edge_window_place(planner, step, input->shape, &s->window));
  const int32_t shape[4] = {s->batches, s->window.y.output, s->window.x.output, channels};
  return edge_set_shape(planner, step, 0, 4, shape);
}

static edge_status average_shape(edge_planner *planner, edge_step *step) {
  EDGE_TRY(pool_plan(planner, step));
  const pool_state *s = step->state;
  step->scratch_size = (uint64_t)s->channels * sizeof(int32_t);
  return EDGE_OK;
}

static edge_status max_shape(edge_planner *planner, edge_step *step) {
  EDGE_TRY(pool_plan(planner, step));
  const edge_window *w = &((const pool_state *)step->state)->window;
  const int64_t cells = edge_min(w->y.kernel, w->y.input) * edge_min(w->x.kernel, w->x.input);
  step->scratch_size = (uint64_t)cells * sizeof(int8_t *);
  return EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

/* The part of a window that lies inside of the image: [from, to). */
static void inside(const edge_axis *axis, int32_t output, int32_t *from, int32_t *to) {
  const int32_t first = output * axis->stride - axis->before;
  *from = first < 0 ? 0 : first;
  *to = first + axis->kernel < axis->input ? first + axis->kernel : axis->input;
}

typedef struct pool_job {
  const edge_frame *frame;
  const edge_step *step;
} pool_job;

static void average_pixel(const edge_kernels *kernels, const pool_params *p, const pool_state *s,
                          const int8_t *image, int32_t y, int32_t x, int32_t *sums, int8_t *out) {
  int32_t y0, y1, x0, x1;
  inside(&s->window.y, y, &y0, &y1);
  inside(&s->window.x, x, &x0, &x1);
  memset(sums, 0, (size_t)s->channels * sizeof *sums);
  for (int32_t iy = y0; iy < y1; iy++) {
    const int8_t *cell = image + ((int64_t)iy * s->window.x.input + x0) * s->channels;
    for (int32_t ix = x0; ix < x1; ix++) {
      kernels->s8_rowsum(sums, cell, (size_t)s->channels);
      cell += s->channels;
    }
  }
  const int32_t count = (y1 - y0) * (x1 - x0); /* above 0: padding never covers a whole window */
  for (int32_t i = 0; i < s->channels; i++) {
    const int64_t half = sums[i] > 0 ? count / 2 : -(count / 2);
    const int64_t rounded = sums[i] + half;
    out[i] = (int8_t)edge_clamp(rounded / count, p->range.min, p->range.max);
  }
}

static void average_task(void *context, uint32_t task, uint32_t worker) {
  const pool_job *job = context;
  const pool_params *p = job->step->node->params;
  const pool_state *s = job->step->state;
  const int32_t batch = (int32_t)task / s->window.y.output;
  const int32_t y = (int32_t)task % s->window.y.output;
  const int64_t row = (int64_t)s->window.x.output * s->channels;
  const int8_t *image = (const int8_t *)edge_in(job->frame, job->step, 0) +
                        (int64_t)batch * s->window.y.input * s->window.x.input * s->channels;
  int8_t *out = (int8_t *)edge_out(job->frame, job->step, 0) + task * row;
  int32_t *sums = (int32_t *)(void *)edge_scratch(job->frame, job->step, worker);
  for (int32_t x = 0; x < s->window.x.output; x++) {
    average_pixel(job->frame->model->kernels, p, s, image, y, x, sums,
                  out + (int64_t)x * s->channels);
  }
}

static void max_task(void *context, uint32_t task, uint32_t worker) {
  const pool_job *job = context;
  const pool_params *p = job->step->node->params;
  const pool_state *s = job->step->state;
  const int32_t batch = (int32_t)task / s->window.y.output;
  const int32_t y = (int32_t)task % s->window.y.output;
  const int64_t row = (int64_t)s->window.x.output * s->channels;
  const int8_t *image = (const int8_t *)edge_in(job->frame, job->step, 0) +
                        (int64_t)batch * s->window.y.input * s->window.x.input * s->channels;
  int8_t *out = (int8_t *)edge_out(job->frame, job->step, 0) + task * row;
  const int8_t **cells = (const int8_t **)(void *)edge_scratch(job->frame, job->step, worker);
  for (int32_t x = 0; x < s->window.x.output; x++) {
    int32_t y0, y1, x0, x1;
    size_t count = 0;
    inside(&s->window.y, y, &y0, &y1);
    inside(&s->window.x, x, &x0, &x1);
    for (int32_t iy = y0; iy < y1; iy++) {
      for (int32_t ix = x0; ix < x1; ix++) {
        cells[count++] = image + ((int64_t)iy * s->window.x.input + ix) * s->channels;
      }
    }
    job->frame->model->kernels->s8_maxpool(out + (int64_t)x * s->channels, cells, count,
                                           (size_t)s->channels, (int8_t)p->range.min,
                                           (int8_t)p->range.max);
  }
}

static void average_run(const edge_frame *frame, const edge_step *step) {
  const pool_state *s = step->state;
  pool_job job = {frame, step};
  edge_pool_run(frame->pool, average_task, &job,
                (uint32_t)s->batches * (uint32_t)s->window.y.output);
}

static void max_run(const edge_frame *frame, const edge_step *step) {
  const pool_state *s = step->state;
  pool_job job = {frame, step};
  edge_pool_run(frame->pool, max_task, &job, (uint32_t)s->batches * (uint32_t)s->window.y.output);
}

const edge_operator edge_operator_average_pool_2d = {
    .code = 1,
    .name = "AVERAGE_POOL_2D",
    .version_max = 3,
    .options_type = 5,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = average_compile,
    .shape = average_shape,
    .run = average_run,
};

const edge_operator edge_operator_max_pool_2d = {
    .code = 17,
    .name = "MAX_POOL_2D",
    .version_max = 3,
    .options_type = 5,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = max_compile,
    .shape = max_shape,
    .run = max_run,
};
