/* SVDF: a dense layer whose outputs are filtered over time. Each filter multiplies the input by its
 * features, keeps the last `memory` products in the state, and sums them by its time weights; a
 * unit adds `rank` filters and a bias.
 *
 *   input [batch][depth], features [units * rank][depth], time weights [units * rank][memory]
 *   state [batch][units * rank][memory], oldest first; output [batch][units]
 *
 * int8 with a state of int16 (LiteRT) or of int8 (TensorFlow Lite Micro; LiteRT reads such a state
 * as int16, beyond its end); float32; and float32 with weights of int8.
 * Source: tflite/kernels/svdf.cc, internal/reference/svdf.h; tensorflow/lite/micro/kernels/
 * svdf_common.cc in tflite-micro.
 */
#include "../operators.h"
#include "../recurrent.h"
#include "../requantize.h"
#include "../rules.h"

enum { INPUT, FEATURES, TIME_WEIGHTS, BIAS, STATE, INPUTS };

typedef struct svdf_params {
  int32_t filters, rank, units, depth, memory;
  edge_rows features;
  const float *bias;
  const float *time; /* [filters][memory], also where the file has int8 */
  int8_t activation;
  bool asymmetric;
  /* int8 */
  bool integer, wide; /* wide: the state and time weights are int16 */
  const void *time_weights;
  const int32_t *feature_bias; /* [filters], the zero point's share */
  const int32_t *integer_bias; /* [units] or NULL */
  edge_fixed state_scale, output_scale;
  int32_t state_zero_point, output_zero_point;
} svdf_params;

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status read_options(edge_compiler *c, const edge_node *node, svdf_params *p) {
  if (!edge_table_i32(&node->options, SVDF_RANK, 0, &p->rank) ||
      !edge_table_bool(&node->options, SVDF_ASYMMETRIC_QUANTIZE_INPUTS, false, &p->asymmetric)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  return edge_read_cell_activation(c, node, SVDF_FUSED_ACTIVATION_FUNCTION, true, &p->activation);
}

static edge_status read_sizes(edge_compiler *c, const edge_node *node, svdf_params *p) {
  const edge_tensor *features = edge_node_input(c, node, FEATURES);
  const edge_tensor *time = edge_node_input(c, node, TIME_WEIGHTS);
  EDGE_TRY(edge_expect_rank(c, node, features, "features", 2));
  EDGE_TRY(edge_expect_rank(c, node, time, "time weights", 2));
  p->filters = features->shape[0];
  p->depth = features->shape[1];
  p->memory = time->shape[1];
  if (p->filters < 1 || p->depth < 1 || p->memory < 1) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected weights, got none");
  }
  if (p->rank < 1 || p->filters % p->rank != 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a rank that divides %lld filters, got %lld",
                          (long long)p->filters, (long long)p->rank);
  }
  p->units = p->filters / p->rank;
  return EDGE_OK;
}

static edge_status dequantize_time(edge_compiler *c, const edge_node *node, svdf_params *p) {
  edge_tensor *tensor = edge_node_input(c, node, TIME_WEIGHTS);
  edge_quant quant;
  const uint64_t count = (uint64_t)p->filters * (uint64_t)p->memory;
  EDGE_TRY(
      edge_expect_parameter(c, node, tensor, "time weights", tensor->type, p->filters, p->memory));
  EDGE_TRY(edge_expect_quant(c, node, tensor, "time weights", &quant));
  float *made = edge_pack_alloc(c, count, sizeof *made);
  if (made == NULL) return edge_no_memory(c->error);
  const int8_t *bytes = tensor->constant;
  for (uint64_t i = 0; i < count; i++) made[i] = (float)bytes[i] * quant.scale;
  p->time = made;
  return EDGE_OK;
}

static edge_status compile_float(edge_compiler *c, edge_node *node, svdf_params *p) {
  edge_tensor *features = edge_node_input(c, node, FEATURES);
  edge_tensor *time = edge_node_input(c, node, TIME_WEIGHTS);
  edge_tensor *bias = edge_node_optional(c, node, BIAS);
  EDGE_TRY(edge_rows_compile(c, node, features, "features", p->filters, p->depth, p->asymmetric,
                             &p->features));
  if (p->features.bytes == NULL) {
    EDGE_TRY(
        edge_expect_parameter(c, node, time, "time weights", EDGE_FLOAT32, p->filters, p->memory));
    p->time = time->constant;
  } else if (edge_is_byte(time->type)) {
    EDGE_TRY(dequantize_time(c, node, p));
  } else {
    return edge_expect_type(c, node, time, "time weights", EDGE_INT8);
  }
  if (bias != NULL) {
    EDGE_TRY(edge_expect_parameter(c, node, bias, "a bias", EDGE_FLOAT32, p->units, 0));
    p->bias = bias->constant;
  }
  node->kernel = p->features.bytes ? "svdf, float32 by int8" : "svdf, float32";
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_FLOAT32));
  return edge_expect_state(c, node, STATE, "a state", EDGE_FLOAT32);
}

static edge_status compile_scales(edge_compiler *c, const edge_node *node, svdf_params *p,
                                  int32_t *input_zero_point) {
  edge_quant input;
  edge_quant features;
  edge_quant time;
  edge_quant state;
  edge_quant output;
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, INPUT), "an input", &input));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, FEATURES), "features", &features));
  EDGE_TRY(
      edge_expect_quant(c, node, edge_node_input(c, node, TIME_WEIGHTS), "time weights", &time));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_input(c, node, STATE), "a state", &state));
  EDGE_TRY(edge_expect_quant(c, node, edge_node_output(c, node, 0), "an output", &output));
  const float first = input.scale * features.scale;
  const float second = state.scale * time.scale;
  EDGE_TRY(edge_expect_fixed(c, node, (double)(first / state.scale), true, &p->state_scale));
  EDGE_TRY(edge_expect_fixed(c, node, (double)(second / output.scale), true, &p->output_scale));
  *input_zero_point = input.zero_point;
  p->state_zero_point = state.zero_point;
  p->output_zero_point = output.zero_point;
  return EDGE_OK;
}

static edge_status fold_features(edge_compiler *c, svdf_params *p, int32_t zero_point) {
  int32_t *made = edge_pack_alloc(c, (uint64_t)p->filters, sizeof *made);
  if (made == NULL) return edge_no_memory(c->error);
  for (int32_t r = 0; r < p->filters; r++) {
    int64_t sum = 0;
    for (int32_t k = 0; k < p->depth; k++) sum += p->features.bytes[(int64_t)r * p->depth + k];
    made[r] = edge_wrap(-zero_point * sum);
  }
  p->feature_bias = made;
  return EDGE_OK;
}

static edge_status compile_integer(edge_compiler *c, edge_node *node, svdf_params *p) {
  edge_tensor *features = edge_node_input(c, node, FEATURES);
  edge_tensor *time = edge_node_input(c, node, TIME_WEIGHTS);
  edge_tensor *bias = edge_node_optional(c, node, BIAS);
  int32_t zero_point;
  p->integer = true;
  p->wide = time->type == EDGE_INT16;
  if (p->activation != ACTIVATION_RELU) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected the activation RELU, got %lld", (long long)p->activation);
  }
  const edge_type type = p->wide ? EDGE_INT16 : EDGE_INT8;
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_INT8));
  EDGE_TRY(edge_expect_parameter(c, node, features, "features", EDGE_INT8, p->filters, p->depth));
  EDGE_TRY(edge_expect_parameter(c, node, time, "time weights", type, p->filters, p->memory));
  EDGE_TRY(edge_expect_state(c, node, STATE, "a state", type));
  EDGE_TRY(compile_scales(c, node, p, &zero_point));
  if (bias != NULL) {
    EDGE_TRY(edge_expect_parameter(c, node, bias, "a bias", EDGE_INT32, p->units, 0));
    p->integer_bias = bias->constant;
  }
  p->features.bytes = features->constant;
  p->time_weights = time->constant;
  node->kernel = p->wide ? "svdf, int8 with a 16-bit state" : "svdf, int8";
  return fold_features(c, p, zero_point);
}

static edge_status svdf_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, INPUT);
  svdf_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (node->input_count != INPUTS) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected %lld inputs, got %lld",
                          (long long)INPUTS, (long long)node->input_count);
  }
  EDGE_TRY(read_options(c, node, p));
  EDGE_TRY(read_sizes(c, node, p));
  node->effort = (uint64_t)p->rank * ((uint64_t)p->depth + (uint64_t)p->memory);
  node->macs = edge_stored_count(input) / (uint64_t)p->depth * (uint64_t)p->filters *
               ((uint64_t)p->depth + (uint64_t)p->memory);
  if (input->type == EDGE_INT8) return compile_integer(c, node, p);
  EDGE_TRY(edge_expect_type(c, node, input, "an input", EDGE_FLOAT32));
  return compile_float(c, node, p);
}

/* ---- shape ------------------------------------------------------------------------------- */

static edge_status svdf_shape(edge_planner *planner, edge_step *step) {
  const svdf_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, INPUT);
  if (input->rank != 2 || input->shape[1] != p->depth) {
    return edge_step_fail(
        planner, step, EDGE_MALFORMED_MODEL,
        "expected an input of rank 2 in rows of %lld elements, got rank %lld with "
        "%lld",
        (long long)p->depth, (long long)input->rank,
        (long long)(input->rank > 0 ? input->shape[input->rank - 1] : 0));
  }
  int64_t *batch = edge_step_state(planner, step, sizeof *batch);
  if (batch == NULL) return edge_no_memory(planner->error);
  *batch = input->shape[0];
  const int64_t size = (int64_t)p->filters * p->memory;
  EDGE_TRY(edge_expect_state_size(planner, step, STATE, "a state", *batch * size));
  if (p->features.bytes != NULL && !p->integer) step->scratch_size = (uint64_t)p->depth;
  return edge_set_shape(planner, step, 0, 2, (const int32_t[]){input->shape[0], p->units});
}

/* ---- run --------------------------------------------------------------------------------- */

static void run_float(const svdf_params *p, const float *x, float *state, float *out,
                      int8_t *scratch) {
  const edge_column column = edge_column_of(x, p->depth, scratch, p->asymmetric);
  for (int32_t unit = 0; unit < p->units; unit++) {
    float sum = 0.0f;
    for (int32_t f = unit * p->rank; f < (unit + 1) * p->rank; f++) {
      float *memory = state + (int64_t)f * p->memory;
      memmove(memory, memory + 1, (size_t)(p->memory - 1) * sizeof *memory);
      memory[p->memory - 1] = edge_rows_dot(&p->features, f, &column);
      sum += edge_dot_f32(p->time + (int64_t)f * p->memory, memory, p->memory);
    }
    out[unit] = sum + (p->bias ? p->bias[unit] : 0.0f);
  }
  edge_activate(out, p->units, p->activation);
}

/* The newest product of filter `f`, within the range of the state. */
static int32_t newest(const svdf_params *p, const int8_t *x, int32_t f, int32_t least,
                      int32_t most) {
  const int8_t *features = p->features.bytes + (int64_t)f * p->depth;
  const int64_t sum = (int64_t)edge_dot_s8(features, x, p->depth) + p->feature_bias[f];
  return edge_clamp(edge_multiply(edge_wrap(sum), p->state_scale), least, most);
}

static uint32_t filter_wide(const svdf_params *p, const int8_t *x, int32_t f, int16_t *memory) {
  const int16_t *weights = (const int16_t *)p->time_weights + (int64_t)f * p->memory;
  uint32_t sum = 0;
  memmove(memory, memory + 1, (size_t)(p->memory - 1) * sizeof *memory);
  memory[p->memory - 1] = (int16_t)newest(p, x, f, INT16_MIN, INT16_MAX);
  for (int32_t i = 0; i < p->memory; i++) sum += (uint32_t)(weights[i] * memory[i]);
  return sum;
}

static uint32_t filter_narrow(const svdf_params *p, const int8_t *x, int32_t f, int8_t *memory) {
  const int8_t *weights = (const int8_t *)p->time_weights + (int64_t)f * p->memory;
  uint32_t sum = 0;
  memmove(memory, memory + 1, (size_t)(p->memory - 1));
  const int32_t value = newest(p, x, f, INT8_MIN, INT8_MAX) + p->state_zero_point;
  memory[p->memory - 1] = (int8_t)edge_clamp(value, INT8_MIN, INT8_MAX);
  for (int32_t i = 0; i < p->memory; i++) {
    sum += (uint32_t)(weights[i] * (memory[i] - p->state_zero_point));
  }
  return sum;
}

static void run_integer(const svdf_params *p, const int8_t *x, void *state, int8_t *out) {
  for (int32_t unit = 0; unit < p->units; unit++) {
    uint32_t sum = p->integer_bias ? (uint32_t)p->integer_bias[unit] : 0;
    for (int32_t f = unit * p->rank; f < (unit + 1) * p->rank; f++) {
      const int64_t first = (int64_t)f * p->memory;
      sum += p->wide ? filter_wide(p, x, f, (int16_t *)state + first)
                     : filter_narrow(p, x, f, (int8_t *)state + first);
    }
    const int32_t scaled = edge_multiply(edge_wrap((int64_t)sum), p->output_scale);
    out[unit] = (int8_t)edge_clamp((int64_t)scaled + p->output_zero_point, INT8_MIN, INT8_MAX);
  }
}

static void svdf_run(const edge_frame *frame, const edge_step *step) {
  const svdf_params *p = step->node->params;
  const int64_t batch = *(const int64_t *)step->state;
  const int64_t size = (int64_t)p->filters * p->memory;
  for (int64_t b = 0; b < batch; b++) {
    if (p->integer) {
      uint8_t *state = edge_in(frame, step, STATE);
      run_integer(p, (const int8_t *)edge_in(frame, step, INPUT) + b * p->depth,
                  state + b * size * (p->wide ? 2 : 1),
                  (int8_t *)edge_out(frame, step, 0) + b * p->units);
    } else {
      int8_t *bytes = p->features.bytes ? (int8_t *)edge_scratch(frame, step, 0) : NULL;
      run_float(p, (const float *)edge_in(frame, step, INPUT) + b * p->depth,
                (float *)edge_in(frame, step, STATE) + b * size,
                (float *)edge_out(frame, step, 0) + b * p->units, bytes);
    }
  }
}

const edge_operator edge_operator_svdf = {
    .code = 27,
    .name = "SVDF",
    .version_max = 4,
    .options_type = 6,
    .inputs_min = 3,
    .inputs_max = INPUTS,
    .compile = svdf_compile,
    .shape = svdf_shape,
    .run = svdf_run,
};
