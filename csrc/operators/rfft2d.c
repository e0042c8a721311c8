/* RFFT2D: the two-dimensional Fourier transform of real numbers over the last two dimensions, cut
 * or filled with zeros to lengths that are powers of two. float32 [..., h, w] -> complex64 [..., H,
 * W / 2 + 1], computed in float64.
 *
 * Each row is transformed by radix 2, then each column of the first W / 2 + 1.
 *
 * Source: tflite/kernels/rfft2d.cc.
 */
#include <math.h>
#include <string.h>

#include "../movement.h"
#include "../operators.h"

typedef struct complex {
  double real, imag;
} complex;

typedef struct rfft_state {
  int32_t height, width;       /* of the transform, powers of two */
  int32_t in_height, in_width; /* of the input */
  int64_t slices;
  int32_t length;  /* the longer of the two */
  complex turns[]; /* [length / 2] e^(-2 pi i k / length) */
} rfft_state;

static edge_status rfft_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *lengths = edge_node_input(c, node, 1);
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "an input", EDGE_FLOAT32));
  EDGE_TRY(edge_expect_type(c, node, lengths, "lengths", EDGE_INT32));
  EDGE_TRY(edge_expect_rank(c, node, lengths, "lengths", 1));
  node->kernel = "radix 2";
  return edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_COMPLEX64);
}

/* cos and sin of 2 pi k / n for k < n / 2, by Taylor's series of an angle of at most pi / 4. */
static complex turn(int32_t k, int32_t n) {
  const double eighths = 8.0 * (double)k / (double)n; /* exact, in 0 ... 4 */
  const int32_t octant = (int32_t)eighths;
  const double near = (octant & 1) ? octant + 1 - eighths : eighths - octant;
  const double x = near * 0.78539816339744831;
  double cosine = 1.0;
  double sine = 1.0;
  for (int i = 20; i >= 2; i -= 2) {
    cosine = 1.0 - cosine * x * x / (double)(i * (i - 1));
    sine = 1.0 - sine * x * x / (double)(i * (i + 1));
  }
  sine *= x;
  /* Octants 0 and 3 keep the angle, 1 and 2 exchange the two; 2 and 3 turn the cosine. */
  const bool exchange = octant == 1 || octant == 2;
  const double a = exchange ? sine : cosine;
  const double b = exchange ? cosine : sine;
  return (complex){octant >= 2 ? -a : a, -b};
}

static bool is_power(int32_t value) {
  return value > 0 && (value & (value - 1)) == 0;
}

static edge_status read_lengths(edge_planner *planner, const edge_step *step, int32_t *lengths) {
  EDGE_TRY(edge_exact_list_in(planner, step, 1, 2, lengths));
  for (int32_t i = 0; i < 2; i++) {
    if (is_power(lengths[i])) continue;
    return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                          "expected lengths that are powers of two, got %lld",
                          (long long)lengths[i]);
  }
  return EDGE_OK;
}

static edge_status make_state(edge_planner *planner, edge_step *step, const int32_t *lengths) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const int32_t length = lengths[0] > lengths[1] ? lengths[0] : lengths[1];
  rfft_state *s =
      edge_step_state(planner, step, sizeof *s + (size_t)(length / 2) * sizeof(complex));
  if (s == NULL) return edge_no_memory(planner->error);
  s->height = lengths[0];
  s->width = lengths[1];
  s->in_height = input->shape[input->rank - 2];
  s->in_width = input->shape[input->rank - 1];
  s->slices = edge_count(input->shape, 0, input->rank - 2);
  s->length = length;
  for (int32_t k = 0; k < length / 2; k++) s->turns[k] = turn(k, length);
  /* The rows' transforms, and one row or column at work. */
  const uint64_t grid = (uint64_t)s->height * (uint64_t)(s->width / 2 + 1);
  step->scratch_size = (grid + (uint64_t)length) * sizeof(complex);
  return EDGE_OK;
}

static edge_status rfft_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t lengths[2];
  int32_t shape[EDGE_MAX_RANK];
  if (input->rank < 2) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input of at least 2 dimensions, got %lld",
                          (long long)input->rank);
  }
  EDGE_TRY(read_lengths(planner, step, lengths));
  memcpy(shape, input->shape, sizeof shape);
  shape[input->rank - 2] = lengths[0];
  shape[input->rank - 1] = lengths[1] / 2 + 1;
  EDGE_TRY(edge_set_shape(planner, step, 0, input->rank, shape));
  if (edge_count(shape, 0, input->rank) == 0) return EDGE_OK;
  return make_state(planner, step, lengths);
}

/* ---- the transform ----------------------------------------------------------------------- */

static void reorder(complex *x, int32_t n) {
  int32_t j = 0;
  for (int32_t i = 1; i < n; i++) {
    int32_t bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      const complex kept = x[i];
      x[i] = x[j];
      x[j] = kept;
    }
  }
}

static void transform(const rfft_state *s, complex *x, int32_t n) {
  reorder(x, n);
  for (int32_t half = 1; half < n; half *= 2) {
    const int32_t step = s->length / (2 * half);
    for (int32_t from = 0; from < n; from += 2 * half) {
      for (int32_t k = 0; k < half; k++) {
        const complex w = s->turns[(ptrdiff_t)k * step];
        complex *a = &x[from + k];
        complex *b = &x[from + k + half];
        const complex t = {w.real * b->real - w.imag * b->imag,
                           w.real * b->imag + w.imag * b->real};
        *b = (complex){a->real - t.real, a->imag - t.imag};
        *a = (complex){a->real + t.real, a->imag + t.imag};
      }
    }
  }
}

typedef struct rfft_job {
  const edge_frame *frame;
  const edge_step *step;
  const float *in;
  float *out;
} rfft_job;

static void transform_rows(const rfft_state *s, const float *in, complex *grid, complex *line) {
  const int32_t columns = s->width / 2 + 1;
  const int32_t filled = s->in_width < s->width ? s->in_width : s->width;
  for (int32_t y = 0; y < s->height; y++, grid += columns) {
    if (in == NULL || y >= s->in_height) {
      memset(grid, 0, (size_t)columns * sizeof *grid);
      continue;
    }
    for (int32_t x = 0; x < filled; x++) line[x] = (complex){(double)in[x], 0.0};
    memset(line + filled, 0, (size_t)(s->width - filled) * sizeof *line);
    transform(s, line, s->width);
    memcpy(grid, line, (size_t)columns * sizeof *grid);
    in += s->in_width;
  }
}

static void rfft_task(void *context, uint32_t task, uint32_t worker) {
  const rfft_job *job = context;
  const rfft_state *s = job->step->state;
  const int32_t columns = s->width / 2 + 1;
  complex *line = (complex *)(void *)edge_scratch(job->frame, job->step, worker);
  complex *grid = line + s->length;
  const int64_t size = (int64_t)s->in_height * s->in_width;
  float *out = job->out + (int64_t)task * s->height * columns * 2;
  transform_rows(s, size > 0 ? job->in + task * size : NULL, grid, line);
  for (int32_t x = 0; x < columns; x++) {
    for (int32_t y = 0; y < s->height; y++) line[y] = grid[(int64_t)y * columns + x];
    transform(s, line, s->height);
    for (int32_t y = 0; y < s->height; y++) {
      out[((int64_t)y * columns + x) * 2] = (float)line[y].real;
      out[((int64_t)y * columns + x) * 2 + 1] = (float)line[y].imag;
    }
  }
}

static void rfft_run(const edge_frame *frame, const edge_step *step) {
  const rfft_state *s = step->state;
  rfft_job job = {frame, step, edge_in(frame, step, 0), edge_out(frame, step, 0)};
  edge_pool_run(frame->pool, rfft_task, &job, (uint32_t)s->slices);
}

const edge_operator edge_operator_rfft2d = {
    .code = 131,
    .name = "RFFT2D",
    .version_max = 1,
    .options_type = 105,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = rfft_compile,
    .shape = rfft_shape,
    .run = rfft_run,
};
