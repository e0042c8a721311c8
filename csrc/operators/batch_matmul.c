/* BATCH_MATMUL: [..., M][K] x [..., K][N] -> [..., M][N], leading dimensions broadcast as numpy's
 * do, either operand transposed where the options say so.
 *
 *   int8 x int8                     -> int8, or int32 without zero points and scales
 *   int16 x int16, int16 x int8     -> int16, sums of 64 bits
 *   float32 x float32               -> float32
 *   float32 x int8                  -> float32, each row of the first quantized by the run
 *
 * A row of the output is the sum over k of row k of the second operand times one element of the
 * first; where the second is transposed, each element is a product of two rows.
 *
 * Source: tflite/kernels/batch_matmul.cc, internal/reference/batch_matmul.h; XNNPACK
 * src/operators/batch-matrix-multiply-nc.c; docs/numerics.md.
 */
#include "../lhs.h"
#include "../operators.h"
#include "../ranges.h"

struct matmul_params;

/* One row of sums [columns]: `row` has `depth` elements, `matrix` is the second operand. */
typedef struct matmul_row {
  const void *row, *matrix;
  void *sums;
  int64_t depth, columns;
} matmul_row;

typedef void matmul_sum_fn(const struct matmul_params *p, const matmul_row *call);
/* `scale`: of the row, where it has been quantized by the run. */
typedef void matmul_finish_fn(const struct matmul_params *p, const void *sums, int64_t columns,
                              float scale, void *out);

typedef struct matmul_params {
  edge_type a, b, output;
  bool transposed_a, transposed_b;
  bool xnn;
  int32_t zero_a, zero_b, zero_output;
  float scale;
  int32_t scales;          /* how many the second operand has: 1, or one per column */
  const edge_fixed *fixed; /* [scales] */
  const float *reals;      /* [scales], float32 x int8 */
  edge_lhs lhs;            /* likewise */
  uint64_t sum_size;       /* bytes */
  matmul_sum_fn *sum;
  matmul_finish_fn *finish;
} matmul_params;

typedef struct matmul_state {
  int64_t batches, rows, depth, columns;
  const int64_t *a, *b;           /* [batches], the first element of each operand */
  uint64_t sums_bytes, row_bytes; /* of scratch: sums, then a row of the first operand */
  uint32_t tasks;
} matmul_state;

/* ---- run: sums --------------------------------------------------------------------------- */

/* Integers modulo the size of the sums. */
#define EDGE_MATMUL(name, a_type, b_type, sum_type, product)                    \
  static void name##_rows(const matmul_params *p, const matmul_row *call) {     \
    const a_type *a = call->row;                                                \
    const b_type *b = call->matrix;                                             \
    sum_type *sum = call->sums;                                                 \
    for (int64_t k = 0; k < call->depth; k++, b += call->columns) {             \
      const product factor = (product)a[k] - (product)p->zero_a;                \
      for (int64_t j = 0; j < call->columns; j++) {                             \
        sum[j] += (sum_type)(factor * ((product)b[j] - (product)p->zero_b));    \
      }                                                                         \
    }                                                                           \
  }                                                                             \
  static void name##_products(const matmul_params *p, const matmul_row *call) { \
    const a_type *a = call->row;                                                \
    const b_type *b = call->matrix;                                             \
    sum_type *sum = call->sums;                                                 \
    for (int64_t j = 0; j < call->columns; j++, b += call->depth) {             \
      sum_type total = 0;                                                       \
      for (int64_t k = 0; k < call->depth; k++) {                               \
        const product factor = (product)a[k] - (product)p->zero_a;              \
        total += (sum_type)(factor * ((product)b[k] - (product)p->zero_b));     \
      }                                                                         \
      sum[j] = total;                                                           \
    }                                                                           \
  }

EDGE_MATMUL(int8, int8_t, int8_t, uint32_t, int32_t)
EDGE_MATMUL(int16, int16_t, int16_t, uint64_t, int64_t)
EDGE_MATMUL(mixed, int16_t, int8_t, uint64_t, int64_t)
EDGE_MATMUL(dynamic, int16_t, int8_t, uint32_t, int32_t)

static void float_rows(const matmul_params *p, const matmul_row *call) {
  const float *a = call->row;
  const float *b = call->matrix;
  float *sum = call->sums;
  (void)p;
  for (int64_t k = 0; k < call->depth; k++, b += call->columns) {
    for (int64_t j = 0; j < call->columns; j++) sum[j] += a[k] * b[j];
  }
}

/* Several sums at once: one chain of additions would wait for each other. */
static float product_of(const float *a, const float *b, int64_t count) {
  enum { LANES = 8 };
  float lanes[LANES] = {0};
  int64_t k = 0;
  for (; k + LANES <= count; k += LANES) {
    for (int64_t l = 0; l < LANES; l++) lanes[l] += a[k + l] * b[k + l];
  }
  for (int64_t l = 0; k < count; k++, l++) lanes[l] += a[k] * b[k];
  float total = 0.0f;
  for (int l = 0; l < LANES; l++) total += lanes[l];
  return total;
}

static void float_products(const matmul_params *p, const matmul_row *call) {
  const float *b = call->matrix;
  float *sum = call->sums;
  (void)p;
  for (int64_t j = 0; j < call->columns; j++) {
    sum[j] = product_of(call->row, b + j * call->depth, call->depth);
  }
}

/* ---- run: results ------------------------------------------------------------------------ */

static void finish_int8(const matmul_params *p, const void *sums, int64_t columns, float scale,
                        void *out) {
  const edge_qs8_output output = {.zero_point = p->zero_output, .min = INT8_MIN, .max = INT8_MAX};
  const uint32_t *sum = sums;
  int8_t *to = out;
  (void)scale;
  for (int64_t j = 0; j < columns; j++) {
    const int32_t total = edge_wrap((int64_t)sum[j]);
    to[j] = p->xnn ? edge_requantize_float(total, p->scale, &output)
                   : edge_requantize_fixed(total, p->fixed[p->scales == 1 ? 0 : j], &output);
  }
}

static void finish_int16(const matmul_params *p, const void *sums, int64_t columns, float scale,
                         void *out) {
  const uint64_t *sum = sums;
  int16_t *to = out;
  (void)scale;
  for (int64_t j = 0; j < columns; j++) {
    const edge_fixed fixed = p->fixed[p->scales == 1 ? 0 : j];
    to[j] = (int16_t)edge_clamp(edge_multiply_wide((int64_t)sum[j], fixed), INT16_MIN, INT16_MAX);
  }
}

static void finish_dynamic(const matmul_params *p, const void *sums, int64_t columns, float scale,
                           void *out) {
  const int32_t *sum = sums;
  float *to = out;
  for (int64_t j = 0; j < columns; j++) {
    to[j] = (float)sum[j] * scale * p->reals[p->scales == 1 ? 0 : j];
  }
}

/* int32 and float32. */
static void finish_copy(const matmul_params *p, const void *sums, int64_t columns, float scale,
                        void *out) {
  (void)scale;
  memcpy(out, sums, (size_t)columns * p->sum_size);
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct matmul_job {
  const edge_frame *frame;
  const edge_step *step;
} matmul_job;

/* Row i of the first operand, gathered into `room` where it is a column. */
static const void *row_of(const matmul_params *p, const matmul_state *s, const uint8_t *matrix,
                          int64_t i, uint8_t *room) {
  const size_t size = (size_t)edge_type_size(p->a);
  if (!p->transposed_a) return matrix + (size_t)(i * s->depth) * size;
  for (int64_t k = 0; k < s->depth; k++) {
    memcpy(room + (size_t)k * size, matrix + (size_t)(k * s->rows + i) * size, size);
  }
  return room;
}

/* Quantizes a row of floats into `out`. Its scale. */
static float quantize_row(const matmul_params *p, const float *row, int64_t depth, uint8_t *out) {
  edge_lhs how = p->lhs;
  how.dynamic = edge_dynamic_of(how.rule, row, (size_t)depth);
  how.put(&how, out, row, (size_t)depth);
  return how.dynamic.scale;
}

static void make_row(const matmul_job *job, int64_t r, uint8_t *scratch, uint8_t *out) {
  const matmul_params *p = job->step->node->params;
  const matmul_state *s = job->step->state;
  const int64_t batch = r / s->rows;
  const uint8_t *a = edge_in(job->frame, job->step, 0);
  const uint8_t *b = edge_in(job->frame, job->step, 1);
  uint8_t *gathered = scratch + s->sums_bytes;
  uint8_t *quantized = gathered + s->row_bytes;
  const void *row =
      row_of(p, s, a + (uint64_t)s->a[batch] * edge_type_size(p->a), r % s->rows, gathered);
  float scale = 0.0f;
  if (p->finish == finish_dynamic && s->depth > 0) {
    scale = quantize_row(p, row, s->depth, quantized);
    row = quantized;
  }
  const matmul_row call = {.row = row,
                           .matrix = b + (uint64_t)s->b[batch] * edge_type_size(p->b),
                           .sums = scratch,
                           .depth = s->depth,
                           .columns = s->columns};
  memset(scratch, 0, (size_t)s->columns * p->sum_size);
  if (s->depth > 0) p->sum(p, &call);
  p->finish(p, scratch, s->columns, scale, out);
}

static void matmul_task(void *context, uint32_t task, uint32_t worker) {
  const matmul_job *job = context;
  const matmul_params *p = job->step->node->params;
  const matmul_state *s = job->step->state;
  uint8_t *out = edge_out(job->frame, job->step, 0);
  uint8_t *scratch = edge_scratch(job->frame, job->step, worker);
  const uint64_t row = (uint64_t)s->columns * edge_type_size(p->output);
  const int64_t total = s->batches * s->rows;
  const int64_t end = total * (task + 1) / s->tasks;
  for (int64_t r = total * task / s->tasks; r < end; r++) {
    make_row(job, r, scratch, out + (uint64_t)r * row);
  }
}

static void matmul_run(const edge_frame *frame, const edge_step *step) {
  const matmul_state *s = step->state;
  matmul_job job = {frame, step};
  edge_pool_run(frame->pool, matmul_task, &job, s->tasks);
}

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status choose(edge_compiler *c, const edge_node *node, matmul_params *p) {
  const bool whole = p->output == EDGE_INT32;
  if (p->a == EDGE_INT8 && p->b == EDGE_INT8 && (p->output == EDGE_INT8 || whole)) {
    p->sum = p->transposed_b ? int8_products : int8_rows;
    p->finish = whole ? finish_copy : finish_int8;
    p->sum_size = sizeof(int32_t);
  } else if (p->a == EDGE_INT16 && p->b == EDGE_INT16 && p->output == EDGE_INT16) {
    p->sum = p->transposed_b ? int16_products : int16_rows;
    p->finish = finish_int16;
    p->sum_size = sizeof(int64_t);
  } else if (p->a == EDGE_INT16 && p->b == EDGE_INT8 && p->output == EDGE_INT16) {
    p->sum = p->transposed_b ? mixed_products : mixed_rows;
    p->finish = finish_int16;
    p->sum_size = sizeof(int64_t);
  } else if (p->a == EDGE_FLOAT32 && p->b == EDGE_FLOAT32 && p->output == EDGE_FLOAT32) {
    p->sum = p->transposed_b ? float_products : float_rows;
    p->finish = finish_copy;
    p->sum_size = sizeof(float);
  } else if (p->a == EDGE_FLOAT32 && p->b == EDGE_INT8 && p->output == EDGE_FLOAT32) {
    p->sum = p->transposed_b ? dynamic_products : dynamic_rows;
    p->finish = finish_dynamic;
    p->sum_size = sizeof(int32_t);
  } else {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected operands of int8, int16 or float32 and an output to match, got "
                          "%s, %s and %s",
                          edge_type_name(p->a), edge_type_name(p->b), edge_type_name(p->output));
  }
  return EDGE_OK;
}

/* What XNNPACK takes and builds. */
static bool xnn_takes(edge_compiler *c, const edge_node *node, const matmul_params *p) {
  const edge_tensor *b = edge_node_input(c, node, 1);
  return p->output == EDGE_INT8 && edge_xnn_activation(edge_node_input(c, node, 0)) &&
         edge_xnn_activation(edge_node_output(c, node, 0)) && p->scales == 1 && p->zero_b == 0 &&
         edge_xnn_shape(b) && edge_scale_normal(edge_scale_at(b, 0)) && p->scale > 0.0f &&
         p->scale <= 255.0f;
}

/* One scale, or one for each column and zero points of 0. */
static edge_status read_second(edge_compiler *c, const edge_node *node, matmul_params *p) {
  const edge_tensor *b = edge_node_input(c, node, 1);
  edge_quant quant = {0};
  if (b->scale.count == 1 && p->a != EDGE_FLOAT32) {
    EDGE_TRY(edge_expect_quant(c, node, b, "a second operand", &quant));
  } else {
    const int32_t columns = b->rank - (p->transposed_b ? 2 : 1);
    EDGE_TRY(edge_expect_scales(c, node, b, "a second operand", columns));
  }
  p->zero_b = quant.zero_point;
  p->scales = (int32_t)b->scale.count;
  return EDGE_OK;
}

static edge_status pack_fixed(edge_compiler *c, const edge_node *node, edge_quant a,
                              edge_quant output, matmul_params *p) {
  const edge_tensor *b = edge_node_input(c, node, 1);
  edge_fixed *fixed = edge_pack_alloc(c, (uint64_t)p->scales, sizeof *fixed);
  if (fixed == NULL) return edge_no_memory(c->error);
  p->fixed = fixed;
  for (int32_t i = 0; i < p->scales; i++) {
    const float product = a.scale * edge_scale_at(b, i);
    EDGE_TRY(edge_expect_fixed(c, node, (double)product / (double)output.scale, true, &fixed[i]));
    if (p->a != EDGE_INT16 || fixed[i].exponent < 15) continue;
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected input scales below 2^14 times the output's, got larger ones");
  }
  return EDGE_OK;
}

/* float32 x int8. XNNPACK takes constants. */
static edge_status read_dynamic(edge_compiler *c, const edge_node *node, matmul_params *p) {
  const edge_tensor *b = edge_node_input(c, node, 1);
  bool asymmetric;
  bool normal = b->data != NULL && edge_xnn_shape(b);
  float *reals = edge_pack_alloc(c, (uint64_t)p->scales, sizeof *reals);
  if (reals == NULL) return edge_no_memory(c->error);
  if (!edge_table_bool(&node->options, BATCH_MAT_MUL_ASYMMETRIC_QUANTIZE_INPUTS, false,
                       &asymmetric)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  for (int32_t i = 0; i < p->scales; i++) {
    reals[i] = edge_scale_at(b, i);
    normal &= edge_scale_normal(reals[i]);
  }
  p->xnn = normal;
  p->reals = reals;
  p->lhs = edge_lhs_quantized(normal       ? EDGE_DYNAMIC_XNN
                              : asymmetric ? EDGE_DYNAMIC_ASYMMETRIC
                                           : EDGE_DYNAMIC_SYMMETRIC);
  return EDGE_OK;
}

static edge_status read_quantization(edge_compiler *c, const edge_node *node, matmul_params *p) {
  edge_quant a;
  edge_quant output;
  if (p->finish == finish_copy) return EDGE_OK;
  EDGE_TRY(read_second(c, node, p));
  if (p->finish == finish_dynamic) return read_dynamic(c, node, p);
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, 0), "a first operand", &a));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &output));
  p->zero_a = a.zero_point;
  p->zero_output = output.zero_point;
  p->scale = edge_scale_float(a.scale, edge_scale_at(edge_node_input(c, node, 1), 0), output.scale);
  p->xnn = xnn_takes(c, node, p);
  if (p->a == EDGE_INT16 && (p->zero_a != 0 || p->zero_b != 0 || p->zero_output != 0)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected tensors beside int16 with zero points of 0, got %lld, %lld and "
                          "%lld",
                          (long long)p->zero_a, (long long)p->zero_b, (long long)p->zero_output);
  }
  return pack_fixed(c, node, a, output, p);
}

static edge_status matmul_compile(edge_compiler *c, edge_node *node) {
  edge_tensor *b = edge_node_input(c, node, 1);
  matmul_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  *p = (matmul_params){.a = edge_node_input(c, node, 0)->type,
                       .b = b->type,
                       .output = edge_node_output(c, node, 0)->type};
  if (!edge_table_bool(&node->options, BATCH_MAT_MUL_ADJ_X, false, &p->transposed_a) ||
      !edge_table_bool(&node->options, BATCH_MAT_MUL_ADJ_Y, false, &p->transposed_b)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  EDGE_TRY(choose(c, node, p));
  EDGE_TRY(read_quantization(c, node, p));
  node->kernel = p->xnn ? "matmul, float32 rounding" : "matmul";
  return edge_keep(c, b);
}

/* ---- shape ------------------------------------------------------------------------------- */

/* Dimension d of `rank`, of a view with fewer dimensions. */
static int32_t dimension(const edge_view *view, int32_t rank, int32_t d) {
  const int32_t own = d - (rank - view->rank);
  return own < 0 ? 1 : view->shape[own];
}

static edge_status find_shape(edge_planner *planner, const edge_step *step, int32_t *shape,
                              int32_t *rank, int64_t *depth) {
  const matmul_params *p = step->node->params;
  const edge_view *a = edge_view_in(planner, step, 0);
  const edge_view *b = edge_view_in(planner, step, 1);
  if (a->rank < 2 || b->rank < 2) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected operands of rank 2 or more, got %lld and %lld",
                          (long long)a->rank, (long long)b->rank);
  }
  *rank = a->rank > b->rank ? a->rank : b->rank;
  for (int32_t d = 0; d < *rank - 2; d++) {
    const int32_t of_a = dimension(a, *rank, d);
    const int32_t of_b = dimension(b, *rank, d);
    if (of_a != of_b && of_a != 1 && of_b != 1) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected shapes that broadcast, got %lld and %lld in dimension %lld",
                            (long long)of_a, (long long)of_b, (long long)d);
    }
    shape[d] = of_a == 1 ? of_b : of_a;
  }
  shape[*rank - 2] = a->shape[a->rank - (p->transposed_a ? 1 : 2)];
  shape[*rank - 1] = b->shape[b->rank - (p->transposed_b ? 2 : 1)];
  *depth = a->shape[a->rank - (p->transposed_a ? 2 : 1)];
  const int32_t other = b->shape[b->rank - (p->transposed_b ? 1 : 2)];
  if (*depth == other) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected as many columns as the second operand has rows, got %lld and "
                        "%lld",
                        (long long)*depth, (long long)other);
}

/* Where each batch begins in an operand. */
static const int64_t *plan_batches(edge_planner *planner, const edge_view *view,
                                   const int32_t *shape, int32_t rank, int64_t batches) {
  int64_t *offsets =
      edge_region_alloc(planner->memory, (uint64_t)batches, sizeof *offsets, planner->error);
  if (offsets == NULL) return NULL;
  for (int64_t i = 0; i < batches; i++) {
    int64_t rest = i;
    int64_t stride = edge_count(view->shape, view->rank - 2, view->rank);
    for (int32_t d = rank - 3; d >= 0; d--) {
      const int32_t size = dimension(view, rank, d);
      if (size > 1) offsets[i] += rest % shape[d] * stride;
      stride *= size;
      rest /= shape[d];
    }
  }
  return offsets;
}

static edge_status matmul_shape(edge_planner *planner, edge_step *step) {
  const matmul_params *p = step->node->params;
  int32_t shape[EDGE_MAX_RANK];
  int32_t rank;
  matmul_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(find_shape(planner, step, shape, &rank, &s->depth));
  EDGE_TRY(edge_set_shape(planner, step, 0, rank, shape));
  if (edge_count(shape, 0, rank) == 0) return EDGE_OK;
  step->effort = (uint64_t)s->depth;
  s->batches = edge_count(shape, 0, rank - 2);
  s->rows = shape[rank - 2];
  s->columns = shape[rank - 1];
  s->a = plan_batches(planner, edge_view_in(planner, step, 0), shape, rank, s->batches);
  if (s->a == NULL) return edge_no_memory(planner->error);
  s->b = plan_batches(planner, edge_view_in(planner, step, 1), shape, rank, s->batches);
  if (s->b == NULL) return edge_no_memory(planner->error);
  const int64_t wanted = planner->frame->threads > 1 ? 4 * (int64_t)planner->frame->threads : 1;
  s->tasks = (uint32_t)edge_min(wanted, s->batches * s->rows);
  s->sums_bytes = edge_round_up((uint64_t)s->columns * p->sum_size, EDGE_ALIGN);
  s->row_bytes = edge_round_up((uint64_t)s->depth * edge_type_size(p->a) + EDGE_SLACK, EDGE_ALIGN);
  step->scratch_size = s->sums_bytes + 2 * s->row_bytes;
  if (p->scales <= 1 || p->scales == s->columns) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected a second operand of %lld columns, as it has scales, got %lld",
                        (long long)p->scales, (long long)s->columns);
}

const edge_operator edge_operator_batch_matmul = {
    .code = 126,
    .name = "BATCH_MATMUL",
    .version_max = 4,
    .options_type = 101,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = matmul_compile,
    .shape = matmul_shape,
    .run = matmul_run,
};
