/* RESIZE_BILINEAR: int8, uint8, int16, float32; RESIZE_NEAREST_NEIGHBOR: any type of whole bytes;
 * [N][H][W][C] -> [N][OH][OW][C], size constant or computed.
 *
 * What an output row or column is made of is found once per shapes: two input rows and the weight
 * of the second. XNNPACK (8 bits): weights of 11 bits. LiteRT's own kernels: of 10 bits for int8
 * and int16, float32 for uint8.
 *
 * Source: XNNPACK src/indirection.c and src/s8-ibilinear; tflite/kernels/resize_bilinear.cc,
 * resize_nearest_neighbor.cc, internal/reference and internal/optimized; docs/numerics.md.
 */
#include "../movement.h"
#include "../operators.h"
#include "../rules.h"

/* Where a row or column of the output comes from. */
typedef struct resize_place {
  int32_t low, high;
  int32_t weight; /* of `high`, in units of the rule */
  float share;    /* the same as a real number */
} resize_place;

typedef enum resize_rule {
  RESIZE_NEAREST,
  RESIZE_11_BITS,
  RESIZE_10_BITS,
  RESIZE_FLOAT
} resize_rule;

struct resize_row;
typedef void resize_fn(const struct resize_row *row, const resize_place *x, void *out);

typedef struct resize_params {
  edge_type type;
  resize_rule rule;
  bool align_corners, half_pixels;
  resize_fn *pixel;
} resize_params;

typedef struct resize_state {
  const resize_place *y; /* [output height] */
  const resize_place *x; /* [output width] */
  int32_t height, width; /* of the output */
  int64_t row_bytes;     /* of the input */
  int64_t image_bytes;
  int64_t cell_bytes, channels;
} resize_state;

/* ---- one output cell --------------------------------------------------------------------- */

typedef struct resize_row {
  const uint8_t *low, *high; /* rows of the input */
  const resize_place *y;
  int64_t cell_bytes, channels;
} resize_row;

/* The four cells: top left and right, bottom left and right. */
#define EDGE_CORNERS(type)                                                              \
  const type *tl = (const type *)(const void *)(row->low + x->low * row->cell_bytes);   \
  const type *tr = (const type *)(const void *)(row->low + x->high * row->cell_bytes);  \
  const type *bl = (const type *)(const void *)(row->high + x->low * row->cell_bytes);  \
  const type *br = (const type *)(const void *)(row->high + x->high * row->cell_bytes); \
  type *to = out

static void nearest(const resize_row *row, const resize_place *x, void *out) {
  memcpy(out, row->low + x->low * row->cell_bytes, (size_t)row->cell_bytes);
}

#define EDGE_RESIZE_11(name, type)                                            \
  static void name(const resize_row *row, const resize_place *x, void *out) { \
    EDGE_CORNERS(type);                                                       \
    for (int64_t i = 0; i < row->channels; i++) {                             \
      const int32_t top = tl[i] * 2048 + (tr[i] - tl[i]) * x->weight;         \
      const int32_t bottom = bl[i] * 2048 + (br[i] - bl[i]) * x->weight;      \
      const int32_t sum = top * 2048 + (bottom - top) * row->y->weight;       \
      to[i] = (type)((sum + (1 << 21)) >> 22);                                \
    }                                                                         \
  }

EDGE_RESIZE_11(int8_11, int8_t)
EDGE_RESIZE_11(uint8_11, uint8_t)

/* Halves away from zero. */
#define EDGE_RESIZE_10(name, type)                                            \
  static void name(const resize_row *row, const resize_place *x, void *out) { \
    const int64_t right = x->weight;                                          \
    const int64_t down = row->y->weight;                                      \
    EDGE_CORNERS(type);                                                       \
    for (int64_t i = 0; i < row->channels; i++) {                             \
      const int64_t top = tl[i] * (1024 - right) + tr[i] * right;             \
      const int64_t bottom = bl[i] * (1024 - right) + br[i] * right;          \
      const int64_t sum = top * (1024 - down) + bottom * down;                \
      to[i] = (type)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));   \
    }                                                                         \
  }

EDGE_RESIZE_10(int8_10, int8_t)
EDGE_RESIZE_10(int16_10, int16_t)

static void uint8_float(const resize_row *row, const resize_place *x, void *out) {
  const float right = x->share;
  const float down = row->y->share;
  const float a = (1.0f - down) * (1.0f - right);
  const float b = (1.0f - down) * right;
  const float c = down * (1.0f - right);
  const float d = down * right;
  EDGE_CORNERS(uint8_t);
  for (int64_t i = 0; i < row->channels; i++) {
    const float ab = (float)tl[i] * a + (float)tr[i] * b;
    const float abc = ab + (float)bl[i] * c;
    const float sum = abc + (float)br[i] * d + 0.5f;
    to[i] = (uint8_t)(int32_t)fminf(fmaxf(sum, 0.0f), 255.0f);
  }
}

static void float_float(const resize_row *row, const resize_place *x, void *out) {
  EDGE_CORNERS(float);
  for (int64_t i = 0; i < row->channels; i++) {
    const float top = tl[i] + (tr[i] - tl[i]) * x->share;
    const float bottom = bl[i] + (br[i] - bl[i]) * x->share;
    to[i] = top + (bottom - top) * row->y->share;
  }
}

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status read_options(edge_compiler *c, const edge_node *node, uint32_t align,
                                uint32_t half, resize_params *p) {
  if (edge_table_bool(&node->options, align, false, &p->align_corners) &&
      edge_table_bool(&node->options, half, false, &p->half_pixels)) {
    return EDGE_OK;
  }
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                        "expected options within their table, got others");
}

static edge_status check_size(edge_compiler *c, const edge_node *node) {
  const edge_tensor *size = edge_node_input(c, node, 1);
  EDGE_TRY(edge_expect_type(c, node, size, "a size", EDGE_INT32));
  /* Files leave shapes of computed tensors open. */
  return size->data == NULL ? EDGE_OK : edge_expect_rank(c, node, size, "a size", 1);
}

/* What XNNPACK takes and builds: a constant size, and one quantization for both. */
static bool xnn_takes(edge_compiler *c, const edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  return edge_node_input(c, node, 1)->data != NULL && edge_xnn_activation(input) &&
         edge_xnn_activation(output) && edge_same_quantization(input, output) && input->rank == 4 &&
         output->rank == 4;
}

static edge_status choose(edge_compiler *c, const edge_node *node, resize_params *p) {
  const bool xnn = xnn_takes(c, node);
  switch (p->type) {
    case EDGE_INT8:
      p->rule = xnn ? RESIZE_11_BITS : RESIZE_10_BITS;
      p->pixel = xnn ? int8_11 : int8_10;
      return EDGE_OK;
    case EDGE_UINT8:
      p->rule = xnn ? RESIZE_11_BITS : RESIZE_FLOAT;
      p->pixel = xnn ? uint8_11 : uint8_float;
      return EDGE_OK;
    case EDGE_INT16:
      p->rule = RESIZE_10_BITS;
      p->pixel = int16_10;
      return EDGE_OK;
    case EDGE_FLOAT32:
      p->rule = RESIZE_11_BITS; /* the same places, with a float weight */
      p->pixel = float_float;
      return EDGE_OK;
    default:
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected an input of int8, uint8, int16 or float32, got %s (tensor "
                            "%lld)",
                            edge_type_name(p->type), (long long)node->inputs[0]);
  }
}

static edge_status bilinear_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  resize_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  p->type = input->type;
  EDGE_TRY(check_size(c, node));
  EDGE_TRY(edge_expect_movable(c, node, input, edge_node_output(c, node, 0)));
  EDGE_TRY(
      read_options(c, node, RESIZE_BILINEAR_ALIGN_CORNERS, RESIZE_BILINEAR_HALF_PIXEL_CENTERS, p));
  if (p->align_corners && p->half_pixels) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected aligned corners or half-pixel centers, got both");
  }
  return choose(c, node, p);
}

static edge_status nearest_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  resize_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  *p = (resize_params){.type = input->type, .rule = RESIZE_NEAREST, .pixel = nearest};
  EDGE_TRY(check_size(c, node));
  EDGE_TRY(edge_expect_movable(c, node, input, edge_node_output(c, node, 0)));
  return read_options(c, node, RESIZE_NEAREST_NEIGHBOR_ALIGN_CORNERS,
                      RESIZE_NEAREST_NEIGHBOR_HALF_PIXEL_CENTERS, p);
}

/* ---- shape: places ----------------------------------------------------------------------- */

/* Input cells for one output cell. */
static float ratio_of(const resize_params *p, int32_t input, int32_t output) {
  const int32_t less = p->align_corners && output > 1 ? 1 : 0;
  return (float)(input - less) / (float)(output - less);
}

static int32_t clamp_place(float place, int32_t input) {
  if (!(place > 0.0f)) return 0;
  return place < (float)(input - 1) ? (int32_t)place : input - 1;
}

static resize_place place_nearest(const resize_params *p, int32_t i, int32_t input,
                                  int32_t output) {
  if (edge_type_size(p->type) == 1 && !p->align_corners && !p->half_pixels) {
    /* LiteRT's kernel for bytes has a ratio of 16 bits, rounded up. */
    const int64_t ratio = ((int64_t)input << 16) / output + 1;
    return (resize_place){.low = (int32_t)edge_min((i * ratio) >> 16, input - 1)};
  }
  const float place = ((float)i + (p->half_pixels ? 0.5f : 0.0f)) * ratio_of(p, input, output);
  return (resize_place){.low =
                            clamp_place(p->align_corners ? roundf(place) : floorf(place), input)};
}

static resize_place place_11_bits(const resize_params *p, int32_t i, int32_t input,
                                  int32_t output) {
  const float ratio = ratio_of(p, input, output);
  const float offset = p->half_pixels ? 0.5f * ratio - 0.5f : 0.0f;
  const float scaled = (float)i * ratio;
  const float place = fminf(fmaxf(scaled + offset, 0.0f), (float)(input - 1));
  resize_place found = {.low = clamp_place(place, input)};
  found.high = found.low + 1 < input ? found.low + 1 : input - 1;
  found.share = place - (float)found.low;
  found.weight = edge_round_even(found.share * 2048.0f);
  return found;
}

static resize_place place_10_bits(const resize_params *p, int32_t i, int32_t input,
                                  int32_t output) {
  const int64_t less = p->align_corners && output > 1 ? 1 : 0;
  const int64_t ratio = (1024 * (input - less) + (output - less) / 2) / (output - less);
  const int64_t place = i * ratio + (p->half_pixels ? ratio / 2 - 512 : 0);
  const int64_t low = edge_min(edge_max(place / 1024, 0), input - 1);
  const int64_t high = edge_max(edge_min((place + 1023) / 1024, input - 1), low);
  /* Beyond the last cell both are that cell, whatever the weights. */
  return (resize_place){.low = (int32_t)low,
                        .high = (int32_t)high,
                        .weight = high == low ? 0 : (int32_t)(place - low * 1024)};
}

static resize_place place_float(const resize_params *p, int32_t i, int32_t input, int32_t output) {
  const float ratio = ratio_of(p, input, output);
  const float place = p->half_pixels ? ((float)i + 0.5f) * ratio - 0.5f : (float)i * ratio;
  resize_place found = {.low = clamp_place(floorf(place), input),
                        .high = clamp_place(ceilf(place), input)};
  found.share = place - (float)found.low;
  return found;
}

static const resize_place *plan_places(edge_planner *planner, const resize_params *p, int32_t input,
                                       int32_t output) {
  resize_place *places =
      edge_region_alloc(planner->memory, (uint64_t)output, sizeof *places, planner->error);
  if (places == NULL) return NULL;
  for (int32_t i = 0; i < output; i++) {
    switch (p->rule) {
      case RESIZE_NEAREST:
        places[i] = place_nearest(p, i, input, output);
        break;
      case RESIZE_11_BITS:
        places[i] = place_11_bits(p, i, input, output);
        break;
      case RESIZE_10_BITS:
        places[i] = place_10_bits(p, i, input, output);
        break;
      default:
        places[i] = place_float(p, i, input, output);
    }
  }
  return places;
}

/* ---- shape ------------------------------------------------------------------------------- */

static edge_status read_size(edge_planner *planner, const edge_step *step, int32_t *height,
                             int32_t *width) {
  int32_t size[2];
  EDGE_TRY(edge_exact_list_in(planner, step, 1, 2, size));
  *height = size[0];
  *width = size[1];
  if (*height > 0 && *width > 0) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected a size of at least 1 x 1, got %lld x %lld", (long long)*height,
                        (long long)*width);
}

static edge_status resize_shape(edge_planner *planner, edge_step *step) {
  const resize_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  const int32_t *in = input->shape;
  int32_t height;
  int32_t width;
  EDGE_TRY(edge_expect_image(planner, step, input, input->rank == 4 ? in[3] : 0));
  if (in[1] < 1 || in[2] < 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an image of at least 1 x 1, got %lld x %lld", (long long)in[1],
                          (long long)in[2]);
  }
  EDGE_TRY(read_size(planner, step, &height, &width));
  const int32_t shape[4] = {in[0], height, width, in[3]};
  EDGE_TRY(edge_set_shape(planner, step, 0, 4, shape));
  resize_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->height = height;
  s->width = width;
  s->channels = in[3];
  s->cell_bytes = in[3] * (int64_t)edge_type_size(p->type);
  s->row_bytes = s->cell_bytes * in[2];
  s->image_bytes = s->row_bytes * in[1];
  s->y = plan_places(planner, p, in[1], height);
  if (s->y == NULL) return edge_no_memory(planner->error);
  s->x = plan_places(planner, p, in[2], width);
  return s->x == NULL ? edge_no_memory(planner->error) : EDGE_OK;
}

/* ---- run --------------------------------------------------------------------------------- */

typedef struct resize_job {
  const edge_frame *frame;
  const edge_step *step;
} resize_job;

/* One row of output. */
static void resize_task(void *context, uint32_t task, uint32_t worker) {
  const resize_job *job = context;
  const resize_params *p = job->step->node->params;
  const resize_state *s = job->step->state;
  const int64_t batch = (int64_t)task / s->height;
  const resize_place *y = &s->y[(int64_t)task % s->height];
  const uint8_t *image =
      (const uint8_t *)edge_in(job->frame, job->step, 0) + batch * s->image_bytes;
  uint8_t *out =
      (uint8_t *)edge_out(job->frame, job->step, 0) + (int64_t)task * s->width * s->cell_bytes;
  const resize_row row = {.low = image + y->low * s->row_bytes,
                          .high = image + y->high * s->row_bytes,
                          .y = y,
                          .cell_bytes = s->cell_bytes,
                          .channels = s->channels};
  (void)worker;
  for (int32_t x = 0; x < s->width; x++) p->pixel(&row, &s->x[x], out + x * s->cell_bytes);
}

static void resize_run(const edge_frame *frame, const edge_step *step) {
  const resize_state *s = step->state;
  const int32_t batches = frame->views[step->node->inputs[0]].shape[0];
  resize_job job = {frame, step};
  edge_pool_run(frame->pool, resize_task, &job, (uint32_t)batches * (uint32_t)s->height);
}

const edge_operator edge_operator_resize_bilinear = {
    .code = 23,
    .name = "RESIZE_BILINEAR",
    .version_max = 4,
    .options_type = 15,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = bilinear_compile,
    .shape = resize_shape,
    .run = resize_run,
};

const edge_operator edge_operator_resize_nearest_neighbor = {
    .code = 97,
    .name = "RESIZE_NEAREST_NEIGHBOR",
    .version_max = 4,
    .options_type = 74,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = nearest_compile,
    .shape = resize_shape,
    .run = resize_run,
};
