/* REDUCE_MAX, REDUCE_MIN, REDUCE_PROD: int8, uint8, int16, int32, int64, float32; REDUCE_ANY,
 * REDUCE_ALL: bool.
 *
 * Bytes are compared as they are: input and output have one quantization. Products of quantized
 * tensors (int8, int16) are rescaled after every factor, so that their order counts: it is that of
 * memory. Without elements a maximum is the least value of the type, a product 1, and so on.
 *
 * Source: tflite/kernels/reduce.cc, internal/optimized/reduce.h.
 */
#include "../reduce.h"
#include "../operators.h"
#include "../ranges.h"

typedef struct fold_params {
  edge_type type;
  bool keep_dimensions;
  bool scaled; /* a product with quantization */
  edge_quant input, output;
  edge_reduce_run_fn *fold;
  double neutral;
} fold_params;

typedef struct fold_state {
  edge_reduce reduce;
  edge_fixed fixed; /* of scaled products, after each factor */
} fold_state;

typedef struct fold_job {
  const fold_params *params;
  const fold_state *state;
  const void *in;
  void *out;
} fold_job;

/* ---- one element more -------------------------------------------------------------------- */

#define EDGE_FOLD(name, type, combine)                            \
  static void name(void *context, const edge_reduce_run *run) {   \
    const fold_job *job = context;                                \
    const type *in = (const type *)job->in + run->in;             \
    type *out = (type *)job->out + run->out;                      \
    if (run->joined) {                                            \
      type a = run->first ? in[0] : *out;                         \
      for (int64_t i = run->first ? 1 : 0; i < run->count; i++) { \
        const type b = in[i];                                     \
        a = (combine);                                            \
      }                                                           \
      *out = a;                                                   \
    } else if (run->first) {                                      \
      memcpy(out, in, (size_t)run->count * sizeof *out);          \
    } else {                                                      \
      for (int64_t i = 0; i < run->count; i++) {                  \
        const type a = out[i];                                    \
        const type b = in[i];                                     \
        out[i] = (combine);                                       \
      }                                                           \
    }                                                             \
  }

/* Modulo the type's size, without signed overflow. */
#define EDGE_FOLDS(suffix, type, wide)         \
  EDGE_FOLD(max_##suffix, type, a > b ? a : b) \
  EDGE_FOLD(min_##suffix, type, a < b ? a : b) \
  EDGE_FOLD(prod_##suffix, type, (type)((wide)a * (wide)b))

EDGE_FOLDS(int8, int8_t, int32_t)
EDGE_FOLDS(uint8, uint8_t, uint32_t)
EDGE_FOLDS(int16, int16_t, int32_t)
EDGE_FOLDS(int32, int32_t, uint32_t)
EDGE_FOLDS(int64, int64_t, uint64_t)
EDGE_FOLDS(float32, float, float)
EDGE_FOLD(any_bool, uint8_t, a | b)
EDGE_FOLD(all_bool, uint8_t, a &b)

typedef struct fold_family {
  edge_reduce_run_fn *folds[6]; /* int8, uint8, int16, int32, int64, float32 */
} fold_family;

static const fold_family maxima = {
    {max_int8, max_uint8, max_int16, max_int32, max_int64, max_float32}};
static const fold_family minima = {
    {min_int8, min_uint8, min_int16, min_int32, min_int64, min_float32}};
static const fold_family products = {
    {prod_int8, prod_uint8, prod_int16, prod_int32, prod_int64, prod_float32}};

static edge_reduce_run_fn *fold_of(const fold_family *family, edge_type type) {
  switch (type) {
    case EDGE_INT8:
      return family->folds[0];
    case EDGE_UINT8:
      return family->folds[1];
    case EDGE_INT16:
      return family->folds[2];
    case EDGE_INT32:
      return family->folds[3];
    case EDGE_INT64:
      return family->folds[4];
    case EDGE_FLOAT32:
      return family->folds[5];
    default:
      return NULL;
  }
}

static void prod_scaled(void *context, const edge_reduce_run *run) {
  const fold_job *job = context;
  const fold_params *p = job->params;
  int32_t *out = (int32_t *)job->out + run->out;
  for (int64_t i = 0; i < run->count; i++) {
    const int64_t at = run->in + i;
    const int32_t value =
        p->type == EDGE_INT16 ? ((const int16_t *)job->in)[at] : ((const int8_t *)job->in)[at];
    const int32_t factor = value - p->input.zero_point;
    int32_t *product = out + (run->joined ? 0 : i);
    const bool first = run->first && (!run->joined || i == 0);
    *product = first ? factor : edge_multiply_wide((int64_t)*product * factor, job->state->fixed);
  }
}

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status fold_read(edge_compiler *c, edge_node *node, fold_params **params) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  fold_params *p = edge_node_params(c, node, sizeof *p);
  *params = p;
  if (p == NULL) return edge_no_memory(c->error);
  p->type = input->type;
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", input->type));
  EDGE_TRY(edge_expect_axes(c, node));
  return edge_read_keep(c, node, &p->keep_dimensions);
}

static edge_status number_compile(edge_compiler *c, edge_node *node, const fold_family *family) {
  fold_params *p;
  EDGE_TRY(fold_read(c, node, &p));
  p->fold = fold_of(family, p->type);
  if (p->fold != NULL) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected an input of whole numbers or float32, got %s (tensor %lld)",
                        edge_type_name(p->type), (long long)node->inputs[0]);
}

/* The least or the largest value of the type. */
static double end_of(edge_type type, bool least) {
  switch (type) {
    case EDGE_INT32:
      return least ? (double)INT32_MIN : (double)INT32_MAX;
    case EDGE_INT64:
      return least ? (double)INT64_MIN : (double)INT64_MAX;
    case EDGE_FLOAT32:
      return least ? -INFINITY : INFINITY;
    default:
      return least ? edge_type_range(type).min : edge_type_range(type).max;
  }
}

static edge_status max_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(number_compile(c, node, &maxima));
  fold_params *p = node->params;
  p->neutral = end_of(p->type, true);
  return EDGE_OK;
}

static edge_status min_compile(edge_compiler *c, edge_node *node) {
  EDGE_TRY(number_compile(c, node, &minima));
  fold_params *p = node->params;
  p->neutral = end_of(p->type, false);
  return EDGE_OK;
}

static edge_status prod_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  EDGE_TRY(number_compile(c, node, &products));
  fold_params *p = node->params;
  p->neutral = 1.0;
  p->scaled = input->scale.count > 0;
  if (!p->scaled) return EDGE_OK;
  if (p->type != EDGE_INT8 && p->type != EDGE_INT16) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected a quantized input of int8 or int16, got %s (tensor %lld)",
                          edge_type_name(p->type), (long long)node->inputs[0]);
  }
  EDGE_TRY(edge_expect_quant(c, node, input, "an input", &p->input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &p->output));
  p->fold = prod_scaled;
  return EDGE_OK;
}

static edge_status truth_compile(edge_compiler *c, edge_node *node, edge_reduce_run_fn *fold,
                                 bool neutral) {
  fold_params *p;
  EDGE_TRY(fold_read(c, node, &p));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "an input", EDGE_BOOL));
  p->fold = fold;
  p->neutral = neutral;
  return EDGE_OK;
}

static edge_status any_compile(edge_compiler *c, edge_node *node) {
  return truth_compile(c, node, any_bool, false);
}

static edge_status all_compile(edge_compiler *c, edge_node *node) {
  return truth_compile(c, node, all_bool, true);
}

/* ---- shape ------------------------------------------------------------------------------- */

/* So that all factors together bring the input's scale to the power of their count into the
 * output's. LiteRT's shifts are defined for exponents below 15. */
static edge_status plan_scaled(edge_planner *planner, const edge_step *step, fold_state *s) {
  const fold_params *p = step->node->params;
  const double root = pow((double)p->output.scale, 1.0 / (double)s->reduce.count);
  s->fixed = edge_fixed_of((double)p->input.scale / root, false);
  if (s->fixed.exponent < 15) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                        "expected an input scale below 2^14 for each factor, got a larger one");
}

static edge_status fold_shape(edge_planner *planner, edge_step *step) {
  const fold_params *p = step->node->params;
  fold_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  EDGE_TRY(edge_reduce_plan(planner, step, p->keep_dimensions, &s->reduce));
  if (!p->scaled || s->reduce.count == 0) return EDGE_OK;
  step->scratch_size = (uint64_t)s->reduce.results * sizeof(int32_t);
  return plan_scaled(planner, step, s);
}

/* ---- run --------------------------------------------------------------------------------- */

static void fill_neutral(const fold_params *p, int64_t count, void *out) {
  for (int64_t i = 0; i < count; i++) {
    switch (p->type) {
      case EDGE_INT16:
        ((int16_t *)out)[i] = (int16_t)p->neutral;
        break;
      case EDGE_INT32:
        ((int32_t *)out)[i] = (int32_t)p->neutral;
        break;
      case EDGE_INT64: /* float64 has no INT64_MAX */
        ((int64_t *)out)[i] = p->neutral > 1.0 ? INT64_MAX : (int64_t)p->neutral;
        break;
      case EDGE_FLOAT32:
        ((float *)out)[i] = (float)p->neutral;
        break;
      default:
        ((uint8_t *)out)[i] = (uint8_t)(int32_t)p->neutral;
    }
  }
}

/* LiteRT copies where no dimension of more than one element is reduced. */
static void finish_scaled(const fold_params *p, const fold_state *s, const int32_t *made,
                          void *out) {
  const edge_range range = edge_type_range(p->type);
  for (int64_t i = 0; i < s->reduce.results; i++) {
    int64_t value = (int64_t)made[i] + p->input.zero_point;
    if (s->reduce.count > 1) {
      value = (int64_t)edge_multiply_wide(made[i], s->fixed) + p->output.zero_point;
    }
    const int32_t clamped = edge_clamp(value, range.min, range.max);
    if (p->type == EDGE_INT16) {
      ((int16_t *)out)[i] = (int16_t)clamped;
    } else {
      ((int8_t *)out)[i] = (int8_t)clamped;
    }
  }
}

static void fold_run(const edge_frame *frame, const edge_step *step) {
  const fold_params *p = step->node->params;
  const fold_state *s = step->state;
  void *out = edge_out(frame, step, 0);
  fold_job job = {p, s, edge_in(frame, step, 0), out};
  if (s->reduce.count == 0) {
    fill_neutral(p, s->reduce.results, out);
    return;
  }
  if (p->scaled) job.out = edge_scratch(frame, step, 0);
  edge_reduce_walk(&s->reduce, p->fold, &job);
  if (p->scaled) finish_scaled(p, s, job.out, out);
}

#define EDGE_REDUCTION(number, id, symbol, version, compiler) \
  const edge_operator edge_operator_##symbol = {              \
      .code = (number),                                       \
      .name = id,                                             \
      .version_max = (version),                               \
      .options_type = 27,                                     \
      .inputs_min = 2,                                        \
      .inputs_max = 2,                                        \
      .compile = (compiler),                                  \
      .shape = fold_shape,                                    \
      .run = fold_run,                                        \
  };

EDGE_REDUCTION(82, "REDUCE_MAX", reduce_max, 3, max_compile)
EDGE_REDUCTION(89, "REDUCE_MIN", reduce_min, 3, min_compile)
EDGE_REDUCTION(81, "REDUCE_PROD", reduce_prod, 2, prod_compile)
EDGE_REDUCTION(91, "REDUCE_ANY", reduce_any, 1, any_compile)
EDGE_REDUCTION(140, "REDUCE_ALL", reduce_all, 1, all_compile)
