/* CONV_3D: float32 input [N][D][H][W][I], weights [KD][KH][KW][I][O], bias [O] or none, output
 * [N][OD][OH][OW][O].
 *
 * A task makes one row of output: cell by cell, the weights' rows times the elements that they
 * meet.
 *
 * Source: tflite/kernels/conv3d.cc, kernels/padding.h.
 */
#include "../operators.h"
#include "../ranges.h"
#include "../window.h"

typedef struct conv3d_params {
  edge_window window;
  edge_axis z;
  int32_t channels, outputs;
  edge_float_range range;
} conv3d_params;

typedef struct conv3d_state {
  edge_window window;
  edge_axis z;
  int32_t batches;
} conv3d_state;

static edge_status check_tensors(edge_compiler *c, const edge_node *node) {
  const edge_tensor *weights = edge_node_input(c, node, 1);
  const edge_tensor *bias = edge_node_optional(c, node, 2);
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "an input", EDGE_FLOAT32));
  EDGE_TRY(edge_expect_type(c, node, weights, "weights", EDGE_FLOAT32));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_FLOAT32));
  EDGE_TRY(edge_expect_rank(c, node, weights, "weights", 5));
  if (edge_count(weights->shape, 0, 5) == 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected weights, got none");
  }
  if (bias == NULL) return EDGE_OK;
  EDGE_TRY(edge_expect_type(c, node, bias, "a bias", EDGE_FLOAT32));
  const int64_t count = edge_count(bias->shape, 0, bias->rank);
  if (count == weights->shape[4]) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected a bias of %lld elements, got %lld (tensor %lld)",
                        (long long)weights->shape[4], (long long)count, (long long)node->inputs[2]);
}

static edge_status conv3d_compile(edge_compiler *c, edge_node *node) {
  static const edge_window_fields fields = {CONV3_D_PADDING, CONV3_D_STRIDE_W, CONV3_D_STRIDE_H,
                                            CONV3_D_DILATION_W_FACTOR, CONV3_D_DILATION_H_FACTOR};
  edge_tensor *weights = edge_node_input(c, node, 1);
  edge_tensor *bias = edge_node_optional(c, node, 2);
  conv3d_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(check_tensors(c, node));
  EDGE_TRY(edge_window_read(c, node, &fields, &p->window));
  EDGE_TRY(edge_window_read_field(c, node, "stride in depth", CONV3_D_STRIDE_D, 0, &p->z.stride));
  EDGE_TRY(edge_window_read_field(c, node, "dilation in depth", CONV3_D_DILATION_D_FACTOR, 1,
                                  &p->z.dilation));
  EDGE_TRY(edge_read_float_range(c, node, CONV3_D_FUSED_ACTIVATION_FUNCTION, &p->range));
  p->z.kernel = weights->shape[0];
  p->window.y.kernel = weights->shape[1];
  p->window.x.kernel = weights->shape[2];
  p->channels = weights->shape[3];
  p->outputs = weights->shape[4];
  node->effort = (uint64_t)edge_count(weights->shape, 0, 4);
  node->macs = edge_stored_count(edge_node_output(c, node, 0)) * node->effort;
  EDGE_TRY(edge_keep(c, weights));
  return bias ? edge_keep(c, bias) : EDGE_OK;
}

/* Computed weights, and a bias, have the shapes that the file says. */
static edge_status check_weights(edge_planner *planner, const edge_step *step) {
  const edge_node *node = step->node;
  for (int32_t i = 1; i < node->input_count; i++) {
    if (node->inputs[i] >= 0) EDGE_TRY(edge_expect_stored(planner, step, i));
  }
  return EDGE_OK;
}

static edge_status conv3d_shape(edge_planner *planner, edge_step *step) {
  const conv3d_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const int32_t *in = input->shape;
  if (input->rank != 5 || in[0] < 1 || in[4] != p->channels) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected volumes of rank 5 with %lld channels, got rank %lld with %lld",
                          (long long)p->channels, (long long)input->rank,
                          (long long)(input->rank > 0 ? in[input->rank - 1] : 0));
  }
  EDGE_TRY(check_weights(planner, step));
  conv3d_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->window = p->window;
  s->z = p->z;
  s->batches = in[0];
  /* Rows and columns stand one place further behind than in an image. */
  EDGE_TRY(edge_window_place(planner, step, in + 1, &s->window));
  if (!edge_axis_place(&s->z, in[1], p->window.same)) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a volume into which the window fits, got depth %lld for %lld",
                          (long long)in[1], (long long)s->z.kernel);
  }
  const int32_t shape[5] = {in[0], s->z.output, s->window.y.output, s->window.x.output, p->outputs};
  return edge_set_shape(planner, step, 0, 5, shape);
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct conv3d_job {
  const edge_frame *frame;
  const edge_step *step;
} conv3d_job;

/* The input cell that a kernel cell meets, or -1 beyond the border. */
static int32_t meets(const edge_axis *axis, int32_t output, int32_t kernel) {
  const int32_t at = output * axis->stride - axis->before + kernel * axis->dilation;
  return at >= 0 && at < axis->input ? at : -1;
}

/* A row of input cells under a row of kernel cells, for output cell `x`. */
static void add_row(const conv3d_params *p, const edge_axis *axis, int32_t x, const float *row,
                    const float *weights, float *out) {
  for (int32_t kx = 0; kx < axis->kernel; kx++) {
    const int32_t ix = meets(axis, x, kx);
    if (ix < 0) continue;
    const float *cell = row + (int64_t)ix * p->channels;
    const float *w = weights + (int64_t)kx * p->channels * p->outputs;
    for (int32_t i = 0; i < p->channels; i++, w += p->outputs) {
      for (int32_t o = 0; o < p->outputs; o++) out[o] += cell[i] * w[o];
    }
  }
}

static void conv3d_cell(const conv3d_job *job, const float *volume, int32_t z, int32_t y, int32_t x,
                        float *out) {
  const conv3d_params *p = job->step->node->params;
  const conv3d_state *s = job->step->state;
  const edge_window *w = &s->window;
  const edge_node *node = job->step->node;
  const float *weights = edge_in(job->frame, job->step, 1);
  const int64_t row = (int64_t)w->x.input * p->channels;
  const int64_t kernel_row = (int64_t)w->x.kernel * p->channels * p->outputs;
  const bool biased = node->input_count > 2 && node->inputs[2] >= 0;
  const float *bias = biased ? edge_in(job->frame, job->step, 2) : NULL;
  for (int32_t o = 0; o < p->outputs; o++) out[o] = 0.0f;
  for (int32_t kz = 0; kz < s->z.kernel; kz++) {
    const int32_t iz = meets(&s->z, z, kz);
    for (int32_t ky = 0; ky < w->y.kernel; ky++) {
      const int32_t iy = meets(&w->y, y, ky);
      if (iz < 0 || iy < 0) continue;
      add_row(p, &w->x, x, volume + ((int64_t)iz * w->y.input + iy) * row,
              weights + ((int64_t)kz * w->y.kernel + ky) * kernel_row, out);
    }
  }
  for (int32_t o = 0; o < p->outputs; o++) {
    out[o] = edge_clamp_float(bias ? out[o] + bias[o] : out[o], p->range);
  }
}

static void conv3d_task(void *context, uint32_t task, uint32_t worker) {
  const conv3d_job *job = context;
  const conv3d_params *p = job->step->node->params;
  const conv3d_state *s = job->step->state;
  const edge_window *w = &s->window;
  const int64_t y = (int64_t)task % w->y.output;
  const int64_t z = (int64_t)task / w->y.output % s->z.output;
  const int64_t batch = (int64_t)task / w->y.output / s->z.output;
  const int64_t volume = (int64_t)s->z.input * w->y.input * w->x.input * p->channels;
  const float *in = (const float *)edge_in(job->frame, job->step, 0) + batch * volume;
  float *out =
      (float *)edge_out(job->frame, job->step, 0) + (int64_t)task * w->x.output * p->outputs;
  (void)worker;
  for (int32_t x = 0; x < w->x.output; x++) {
    conv3d_cell(job, in, (int32_t)z, (int32_t)y, x, out + (int64_t)x * p->outputs);
  }
}

static void conv3d_run(const edge_frame *frame, const edge_step *step) {
  const conv3d_state *s = step->state;
  conv3d_job job = {frame, step};
  edge_pool_run(frame->pool, conv3d_task, &job,
                (uint32_t)s->batches * (uint32_t)s->z.output * (uint32_t)s->window.y.output);
}

const edge_operator edge_operator_conv_3d = {
    .code = 132,
    .name = "CONV_3D",
    .version_max = 1,
    .options_type = 106,
    .inputs_min = 2,
    .inputs_max = 3,
    .compile = conv3d_compile,
    .shape = conv3d_shape,
    .run = conv3d_run,
};
