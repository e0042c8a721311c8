#include "recurrent.h"

#include <math.h>

#include "functions.h"
#include "requantize.h"

/* ---- compile ----------------------------------------------------------------------------- */

edge_status edge_expect_state(edge_compiler *compiler, const edge_node *node, int32_t i,
                              const char *what, edge_type type) {
  const edge_tensor *tensor = edge_node_optional(compiler, node, i);
  if (tensor == NULL) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s as input %lld, got none", what, (long long)i);
  }
  const long long index = tensor - compiler->graph->tensors;
  EDGE_TRY(edge_expect_type(compiler, node, tensor, what, type));
  if (!tensor->variable) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s in a variable tensor, got one that is not (tensor %lld)",
                          what, index);
  }
  for (int32_t k = 0; k < node->input_count; k++) {
    if (k == i || node->inputs[k] != node->inputs[i]) continue;
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s in a tensor of its own, got it as input %lld too (tensor "
                          "%lld)",
                          what, (long long)k, index);
  }
  return EDGE_OK;
}

edge_status edge_expect_parameter(edge_compiler *compiler, const edge_node *node,
                                  edge_tensor *tensor, const char *what, edge_type type,
                                  int32_t rows, int32_t columns) {
  const long long index = tensor == NULL ? -1 : tensor - compiler->graph->tensors;
  if (tensor == NULL) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL, "expected %s, got none", what);
  }
  EDGE_TRY(edge_expect_type(compiler, node, tensor, what, type));
  EDGE_TRY(edge_expect_constant(compiler, node, tensor, what));
  EDGE_TRY(edge_expect_rank(compiler, node, tensor, what, columns > 0 ? 2 : 1));
  const int32_t across = columns > 0 ? tensor->shape[1] : 0;
  if (tensor->shape[0] != rows || across != columns) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s of %lld x %lld elements, got %lld x %lld (tensor %lld)",
                          what, (long long)rows, (long long)edge_max(columns, 1),
                          (long long)tensor->shape[0], (long long)edge_max(across, 1), index);
  }
  return edge_keep(compiler, tensor);
}

bool edge_is_byte(edge_type type) {
  return type == EDGE_INT8 || type == EDGE_UINT8;
}

edge_status edge_rows_compile(edge_compiler *compiler, const edge_node *node, edge_tensor *tensor,
                              const char *what, int32_t count, int32_t depth, bool asymmetric,
                              edge_rows *rows) {
  edge_type type = EDGE_FLOAT32;
  /* uint8 weights of old files hold int8 values. */
  if (tensor != NULL && edge_is_byte(tensor->type)) type = tensor->type;
  EDGE_TRY(edge_expect_parameter(compiler, node, tensor, what, type, count, depth));
  *rows = (edge_rows){.count = count, .depth = depth};
  if (type == EDGE_FLOAT32) {
    rows->values = tensor->constant;
    return EDGE_OK;
  }
  edge_quant quant;
  EDGE_TRY(edge_expect_quant(compiler, node, tensor, what, &quant));
  rows->bytes = tensor->constant;
  rows->scale = quant.scale;
  if (!asymmetric) return EDGE_OK;
  int32_t *sums = edge_pack_alloc(compiler, (uint64_t)count, sizeof *sums);
  if (sums == NULL) return edge_no_memory(compiler->error);
  for (int32_t r = 0; r < count; r++) {
    int64_t sum = 0;
    for (int32_t k = 0; k < depth; k++) sum += rows->bytes[(int64_t)r * depth + k];
    sums[r] = edge_wrap(sum);
  }
  rows->sums = sums;
  return EDGE_OK;
}

edge_status edge_read_cell_activation(edge_compiler *compiler, const edge_node *node,
                                      uint32_t field, bool none, int8_t *activation) {
  if (!edge_table_i8(&node->options, field, ACTIVATION_NONE, activation)) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  const int8_t least = none ? ACTIVATION_NONE : ACTIVATION_RELU;
  if (*activation >= least && *activation <= ACTIVATION_TANH) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected an activation in %lld ... %lld, got %lld", (long long)least,
                        (long long)ACTIVATION_TANH, (long long)*activation);
}

/* ---- shape ------------------------------------------------------------------------------- */

edge_status edge_expect_state_size(edge_planner *planner, const edge_step *step, int32_t i,
                                   const char *what, int64_t elements) {
  const edge_view *view = edge_view_in(planner, step, i);
  const int64_t count = edge_count(view->shape, 0, view->rank);
  if (count == elements) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected %s of %lld elements, as the input's batch wants it, got %lld",
                        what, (long long)elements, (long long)count);
}

/* ---- vectors that are quantized as they come --------------------------------------------- */

/* Towards zero; what does not fit is the least number, as x86 has it. */
static int32_t truncate(float value) {
  return value > -2147483648.0f && value < 2147483648.0f ? (int32_t)value : INT32_MIN;
}

/* LiteRT's vector loop, for whole groups of 8, adds a half and truncates; the rest is rounded. */
static int32_t round_at(float value, int32_t i, int32_t depth) {
  if (i < depth - depth % 8) return truncate(value + (value < 0.0f ? -0.5f : 0.5f));
  return truncate(roundf(value));
}

static void quantize(const float *values, int32_t depth, float inverse, int32_t least,
                     edge_column *column, int8_t *bytes) {
  for (int32_t i = 0; i < depth; i++) {
    const int64_t value = (int64_t)round_at(values[i] * inverse, i, depth) + column->offset;
    bytes[i] = (int8_t)edge_clamp(value, least, 127);
  }
}

static void ends_of(const float *values, int32_t depth, float *least, float *most) {
  *least = *most = 0.0f;
  for (int32_t i = 0; i < depth; i++) {
    *least = values[i] < *least ? values[i] : *least;
    *most = values[i] > *most ? values[i] : *most;
  }
}

/* The offset at which 0 is exact, from the end whose error is the smaller one. */
static int32_t offset_of(double scale, double least, double most) {
  const double from_least = -128.0 - least / scale;
  const double from_most = 127.0 - most / scale;
  const bool first = 128.0 + fabs(least / scale) < 127.0 + fabs(most / scale);
  const double offset = first ? from_least : from_most;
  if (!(offset > -128.0)) return -128;
  return offset >= 127.0 ? 127 : (int32_t)round(offset);
}

edge_column edge_column_of(const float *values, int32_t depth, int8_t *bytes, bool asymmetric) {
  edge_column column = {.values = values, .bytes = bytes, .scale = 1.0f, .zero = true};
  float least;
  float most;
  for (int32_t i = 0; i < depth && column.zero; i++) column.zero = values[i] == 0.0f;
  if (bytes == NULL || column.zero) return column;
  ends_of(values, depth, &least, &most);
  if (asymmetric) {
    const float range = most - least;
    const double scale = (double)range / 255.0;
    column.scale = (float)scale;
    column.offset = offset_of(scale, (double)least, (double)most);
    const float inverse = column.scale == 0.0f ? 0.0f : (float)(1.0 / (double)column.scale);
    quantize(values, depth, inverse, -128, &column, bytes);
  } else {
    const float range = -least > most ? -least : most;
    column.scale = range / 127.0f;
    quantize(values, depth, 127.0f / range, -127, &column, bytes);
  }
  return column;
}

/* ---- products ---------------------------------------------------------------------------- */

float edge_dot_f32(const float *a, const float *b, int32_t count) {
  enum { LANES = 8 };
  float lanes[LANES] = {0};
  int32_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    for (int32_t k = 0; k < LANES; k++) {
      const float product = a[i + k] * b[i + k];
      lanes[k] += product;
    }
  }
  float sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
              ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  for (; i < count; i++) {
    const float product = a[i] * b[i];
    sum += product;
  }
  return sum;
}

int32_t edge_dot_s8(const int8_t *a, const int8_t *b, int32_t count) {
  uint32_t sum = 0;
  for (int32_t i = 0; i < count; i++) sum += (uint32_t)(a[i] * b[i]);
  return edge_wrap((int64_t)sum);
}

float edge_rows_dot(const edge_rows *rows, int32_t r, const edge_column *column) {
  const int64_t first = (int64_t)r * rows->depth;
  if (column->zero) return 0.0f;
  if (rows->values != NULL) return edge_dot_f32(rows->values + first, column->values, rows->depth);
  int32_t sum = edge_dot_s8(rows->bytes + first, column->bytes, rows->depth);
  if (rows->sums != NULL) sum = edge_wrap(sum - (int64_t)column->offset * rows->sums[r]);
  const float scale = column->scale * rows->scale;
  return (float)sum * scale;
}

/* ---- activations ------------------------------------------------------------------------- */

void edge_logistic(float *values, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    values[i] = (float)(1.0 / (1.0 + edge_exp(-(double)values[i])));
  }
}

static void clamp_to(float *values, int32_t count, float least, float most) {
  for (int32_t i = 0; i < count; i++) {
    values[i] = values[i] < least ? least : values[i] > most ? most : values[i];
  }
}

void edge_activate(float *values, int32_t count, int8_t activation) {
  switch (activation) {
    case ACTIVATION_RELU:
      clamp_to(values, count, 0.0f, INFINITY);
      break;
    case ACTIVATION_RELU_N1_TO_1:
      clamp_to(values, count, -1.0f, 1.0f);
      break;
    case ACTIVATION_RELU6:
      clamp_to(values, count, 0.0f, 6.0f);
      break;
    case ACTIVATION_TANH:
      for (int32_t i = 0; i < count; i++) values[i] = edge_tanhf(values[i]);
      break;
    default:
      break;
  }
}
