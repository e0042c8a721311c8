/* AVERAGE_POOL_2D and MAX_POOL_2D of int8, uint8, int16 and float32, L2_POOL_2D of float32:
 * [N][H][W][C] -> [N][OH][OW][C].
 *
 * The average is of the cells inside the image, of integers as they are, halves away from zero:
 * XNNPACK does not take it, and LiteRT's kernels agree. The maximum differs between the two rules
 * only in how the fused activation rounds. XNNPACK makes a window of 1 x 1 a clamp.
 *
 * Source: tflite/kernels/pooling.cc, internal/reference/integer_ops/pooling.h,
 * internal/optimized/optimized_ops.h; docs/numerics.md.
 */
#include "../fold.h"
#include "../operators.h"
#include "../ranges.h"
#include "../window.h"

/* One output cell: the part of its window that lies inside of the image, rows y0 ... y1 - 1 and
 * columns x0 ... x1 - 1, never empty. */
typedef struct pool_cell {
  const edge_kernels *kernels;
  const struct pool_params *params;
  const void *image; /* [height][width][channels] */
  void *scratch;
  int64_t width, channels;
  int32_t y0, y1, x0, x1;
} pool_cell;

typedef void pool_fn(const pool_cell *cell, void *out);

typedef struct pool_params {
  edge_window window;
  edge_type type;
  pool_fn *pool;
  edge_range range;
  edge_float_range float_range;
} pool_params;

typedef struct pool_state {
  edge_window window;
  int32_t batches, channels;
} pool_state;

/* ---- one cell ---------------------------------------------------------------------------- */

static int32_t cells_of(const pool_cell *cell) {
  return (cell->y1 - cell->y0) * (cell->x1 - cell->x0);
}

/* Element of channel 0 in the window's first column of row y. */
static int64_t row_of(const pool_cell *cell, int32_t y) {
  return (y * cell->width + cell->x0) * cell->channels;
}

static void finish_average(const pool_cell *cell, const int32_t *sums, void *out) {
  const pool_params *p = cell->params;
  const int32_t count = cells_of(cell);
  for (int64_t i = 0; i < cell->channels; i++) {
    const int64_t half = sums[i] > 0 ? count / 2 : -(count / 2);
    const int32_t value = edge_clamp((sums[i] + half) / count, p->range.min, p->range.max);
    if (p->type == EDGE_INT16) {
      ((int16_t *)out)[i] = (int16_t)value;
    } else {
      ((uint8_t *)out)[i] = (uint8_t)value;
    }
  }
}

static void average_int8(const pool_cell *cell, void *out) {
  int32_t *sums = cell->scratch;
  memset(sums, 0, (size_t)cell->channels * sizeof *sums);
  for (int32_t y = cell->y0; y < cell->y1; y++) {
    const int8_t *in = (const int8_t *)cell->image + row_of(cell, y);
    for (int32_t x = cell->x0; x < cell->x1; x++) {
      cell->kernels->s8_rowsum(sums, in, (size_t)cell->channels);
      in += cell->channels;
    }
  }
  finish_average(cell, sums, out);
}

#define EDGE_AVERAGE(name, type)                                            \
  static void name(const pool_cell *cell, void *out) {                      \
    int32_t *sums = cell->scratch;                                          \
    memset(sums, 0, (size_t)cell->channels * sizeof *sums);                 \
    for (int32_t y = cell->y0; y < cell->y1; y++) {                         \
      const type *in = (const type *)cell->image + row_of(cell, y);         \
      for (int32_t x = cell->x0; x < cell->x1; x++, in += cell->channels) { \
        for (int64_t i = 0; i < cell->channels; i++) {                      \
          sums[i] = edge_wrap((int64_t)sums[i] + in[i]);                    \
        }                                                                   \
      }                                                                     \
    }                                                                       \
    finish_average(cell, sums, out);                                        \
  }

EDGE_AVERAGE(average_uint8, uint8_t)
EDGE_AVERAGE(average_int16, int16_t)

/* The sum of all cells, or of their squares. */
static void sum_floats(const pool_cell *cell, bool squares, float *sums) {
  memset(sums, 0, (size_t)cell->channels * sizeof *sums);
  for (int32_t y = cell->y0; y < cell->y1; y++) {
    const float *in = (const float *)cell->image + row_of(cell, y);
    for (int32_t x = cell->x0; x < cell->x1; x++, in += cell->channels) {
      for (int64_t i = 0; i < cell->channels; i++) sums[i] += squares ? in[i] * in[i] : in[i];
    }
  }
}

static void average_float(const pool_cell *cell, void *out) {
  float *averages = out;
  const float count = (float)cells_of(cell);
  sum_floats(cell, false, averages);
  for (int64_t i = 0; i < cell->channels; i++) {
    averages[i] = edge_clamp_float(averages[i] / count, cell->params->float_range);
  }
}

static void l2_float(const pool_cell *cell, void *out) {
  float *norms = out;
  const float count = (float)cells_of(cell);
  sum_floats(cell, true, norms);
  for (int64_t i = 0; i < cell->channels; i++) {
    norms[i] = edge_clamp_float(sqrtf(norms[i] / count), cell->params->float_range);
  }
}

static void max_int8(const pool_cell *cell, void *out) {
  const int8_t **rows = (const int8_t **)cell->scratch;
  size_t count = 0;
  for (int32_t y = cell->y0; y < cell->y1; y++) {
    const int8_t *in = (const int8_t *)cell->image + row_of(cell, y);
    for (int32_t x = cell->x0; x < cell->x1; x++, in += cell->channels) rows[count++] = in;
  }
  const edge_range range = cell->params->range;
  cell->kernels->s8_maxpool(out, rows, count, (size_t)cell->channels, (int8_t)range.min,
                            (int8_t)range.max);
}

#define EDGE_MAXIMUM(name, type, range)                                                     \
  static void name(const pool_cell *cell, void *out) {                                      \
    type *most = out;                                                                       \
    const type low = (type)cell->params->range.min;                                         \
    const type high = (type)cell->params->range.max;                                        \
    for (int64_t i = 0; i < cell->channels; i++) most[i] = low;                             \
    for (int32_t y = cell->y0; y < cell->y1; y++) {                                         \
      const type *in = (const type *)cell->image + row_of(cell, y);                         \
      for (int32_t x = cell->x0; x < cell->x1; x++, in += cell->channels) {                 \
        for (int64_t i = 0; i < cell->channels; i++) {                                      \
          most[i] = in[i] > most[i] ? in[i] : most[i];                                      \
        }                                                                                   \
      }                                                                                     \
    }                                                                                       \
    for (int64_t i = 0; i < cell->channels; i++) most[i] = most[i] > high ? high : most[i]; \
  }

EDGE_MAXIMUM(max_uint8, uint8_t, range)
EDGE_MAXIMUM(max_int16, int16_t, range)
EDGE_MAXIMUM(max_float, float, float_range)

typedef struct pool_family {
  pool_fn *int8, *uint8, *int16, *float32;
} pool_family;

static pool_fn *pool_of(const pool_family *family, edge_type type) {
  switch (type) {
    case EDGE_INT8:
      return family->int8;
    case EDGE_UINT8:
      return family->uint8;
    case EDGE_INT16:
      return family->int16;
    case EDGE_FLOAT32:
      return family->float32;
    default:
      return NULL;
  }
}

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status pool_read(edge_compiler *c, edge_node *node, const pool_family *family) {
  static const edge_window_fields fields = {POOL_PADDING, POOL_STRIDE_W, POOL_STRIDE_H, -1, -1};
  const edge_tensor *in = edge_node_input(c, node, 0);
  pool_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->type = in->type;
  p->pool = pool_of(family, in->type);
  if (p->pool == NULL) {
    const char *expected = family->int8 ? "int8, uint8, int16 or float32" : "float32";
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an input of %s, got %s (tensor %lld)", expected,
                          edge_type_name(in->type), (long long)node->inputs[0]);
  }
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", in->type));
  EDGE_TRY(edge_window_read(c, node, &fields, &p->window));
  return edge_window_read_filter(c, node, &p->window);
}

/* What XNNPACK takes as a pooling; a window of 1 x 1 is a clamp there, and part of chains. */
static bool xnn_takes(edge_compiler *c, const edge_node *node, const edge_window *w) {
  const edge_tensor *in = edge_node_input(c, node, 0);
  const edge_tensor *out = edge_node_output(c, node, 0);
  const bool tensors =
      in->type == EDGE_FLOAT32 || (edge_xnn_activation(in) && edge_xnn_activation(out));
  return tensors && w->x.stride <= w->x.kernel && w->y.stride <= w->y.kernel;
}

static bool is_one_cell(const edge_window *w) {
  return w->x.kernel == 1 && w->y.kernel == 1;
}

static edge_status float_compile(edge_compiler *c, edge_node *node, bool xnn) {
  pool_params *p = node->params;
  if (xnn && is_one_cell(&p->window) && xnn_takes(c, node, &p->window)) edge_fold_unary(c, node);
  return edge_read_float_range(c, node, POOL_ACTIVATION, &p->float_range);
}

static edge_status read_quants(edge_compiler *c, const edge_node *node, edge_quant *input,
                               edge_quant *output) {
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, 0), "an input", input));
  return edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", output);
}

/* LiteRT averages integers as they are, whatever the output's scale says, and so do we. */
static edge_status average_compile(edge_compiler *c, edge_node *node) {
  static const pool_family family = {average_int8, average_uint8, average_int16, average_float};
  edge_quant input;
  edge_quant output;
  EDGE_TRY(pool_read(c, node, &family));
  pool_params *p = node->params;
  node->kernel = "avgpool";
  if (p->type == EDGE_FLOAT32) return float_compile(c, node, true);
  EDGE_TRY(read_quants(c, node, &input, &output));
  return edge_read_range(c, node, POOL_ACTIVATION, false, output, &p->range);
}

static edge_status max_compile(edge_compiler *c, edge_node *node) {
  static const pool_family family = {max_int8, max_uint8, max_int16, max_float};
  edge_quant input;
  edge_quant output;
  EDGE_TRY(pool_read(c, node, &family));
  pool_params *p = node->params;
  node->kernel = "maxpool";
  if (p->type == EDGE_FLOAT32) return float_compile(c, node, true);
  EDGE_TRY(read_quants(c, node, &input, &output));
  const bool same = input.scale == output.scale && input.zero_point == output.zero_point;
  const bool one = is_one_cell(&p->window);
  const bool xnn = p->type != EDGE_INT16 && xnn_takes(c, node, &p->window) && (same || one);
  EDGE_TRY(edge_read_range(c, node, POOL_ACTIVATION, xnn, output, &p->range));
  if (one && xnn) edge_fold_unary(c, node);
  if (!one || !xnn || same) return EDGE_OK;
  /* XNNPACK would requantize, and by another rule behind some nodes. No converter makes such. */
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected a window of 1 x 1 to have one quantization for input and output, "
                        "got two");
}

static edge_status l2_compile(edge_compiler *c, edge_node *node) {
  static const pool_family family = {.float32 = l2_float};
  EDGE_TRY(pool_read(c, node, &family));
  node->kernel = "l2pool";
  return float_compile(c, node, false);
}

/* ---- shape ------------------------------------------------------------------------------- */

static uint64_t scratch_of(const pool_params *p, const pool_state *s) {
  const edge_window *w = &s->window;
  if (p->pool == max_int8) {
    const int64_t cells = edge_min(w->y.kernel, w->y.input) * edge_min(w->x.kernel, w->x.input);
    return (uint64_t)cells * sizeof(int8_t *);
  }
  return p->type == EDGE_FLOAT32 ? 0 : (uint64_t)s->channels * sizeof(int32_t);
}

static edge_status pool_shape(edge_planner *planner, edge_step *step) {
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
  step->scratch_size = scratch_of(p, s);
  step->effort = (uint64_t)edge_min(s->window.y.kernel, s->window.y.input) *
                 (uint64_t)edge_min(s->window.x.kernel, s->window.x.input);
  return edge_set_shape(planner, step, 0, 4, shape);
}

/* ---- run --------------------------------------------------------------------------------- */

/* The part of a window that lies inside of the image: [from, to). Padding never covers a whole
 * window. */
static void inside(const edge_axis *axis, int32_t output, int32_t *from, int32_t *to) {
  const int32_t first = output * axis->stride - axis->before;
  *from = first < 0 ? 0 : first;
  *to = first + axis->kernel < axis->input ? first + axis->kernel : axis->input;
}

typedef struct pool_job {
  const edge_frame *frame;
  const edge_step *step;
} pool_job;

/* One row of output. */
static void pool_task(void *context, uint32_t task, uint32_t worker) {
  const pool_job *job = context;
  const pool_params *p = job->step->node->params;
  const pool_state *s = job->step->state;
  const edge_window *w = &s->window;
  const int64_t element = (int64_t)edge_type_size(p->type);
  const int64_t cell_bytes = s->channels * element;
  const int32_t batch = (int32_t)task / w->y.output;
  const uint8_t *in = edge_in(job->frame, job->step, 0);
  uint8_t *out = edge_out(job->frame, job->step, 0);
  pool_cell cell = {.kernels = job->frame->model->kernels,
                    .params = p,
                    .image = in + (int64_t)batch * w->y.input * w->x.input * cell_bytes,
                    .scratch = edge_scratch(job->frame, job->step, worker),
                    .width = w->x.input,
                    .channels = s->channels};
  inside(&w->y, (int32_t)task % w->y.output, &cell.y0, &cell.y1);
  out += (int64_t)task * w->x.output * cell_bytes;
  for (int32_t x = 0; x < w->x.output; x++) {
    inside(&w->x, x, &cell.x0, &cell.x1);
    p->pool(&cell, out + x * cell_bytes);
  }
}

static void pool_run(const edge_frame *frame, const edge_step *step) {
  const pool_state *s = step->state;
  pool_job job = {frame, step};
  edge_pool_run(frame->pool, pool_task, &job, (uint32_t)s->batches * (uint32_t)s->window.y.output);
}

const edge_operator edge_operator_average_pool_2d = {
    .code = 1,
    .name = "AVERAGE_POOL_2D",
    .version_max = 3,
    .options_type = 5,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = average_compile,
    .shape = pool_shape,
    .run = pool_run,
};

const edge_operator edge_operator_l2_pool_2d = {
    .code = 12,
    .name = "L2_POOL_2D",
    .version_max = 1,
    .options_type = 5,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = l2_compile,
    .shape = pool_shape,
    .run = pool_run,
};

const edge_operator edge_operator_max_pool_2d = {
    .code = 17,
    .name = "MAX_POOL_2D",
    .version_max = 3,
    .options_type = 5,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = max_compile,
    .shape = pool_shape,
    .run = pool_run,
};
