/* LOCAL_RESPONSE_NORMALIZATION: float32 [N][H][W][C]. Each element times
 * (bias + alpha * the sum of squares of the channels at most `radius` away) ^ -beta.
 *
 * Source: tflite/kernels/local_response_norm.cc, internal/optimized/optimized_ops.h.
 */
#include <math.h>

#include "../functions.h"
#include "../operators.h"

typedef struct norm_params {
  int32_t radius;
  float bias, alpha, beta;
} norm_params;

static edge_status norm_compile(edge_compiler *c, edge_node *node) {
  norm_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "an input", EDGE_FLOAT32));
  EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, 0), "an output", EDGE_FLOAT32));
  const edge_table *options = &node->options;
  if (!edge_table_i32(options, LOCAL_RESPONSE_NORMALIZATION_RADIUS, 0, &p->radius) ||
      !edge_table_f32(options, LOCAL_RESPONSE_NORMALIZATION_BIAS, 0.0f, &p->bias) ||
      !edge_table_f32(options, LOCAL_RESPONSE_NORMALIZATION_ALPHA, 0.0f, &p->alpha) ||
      !edge_table_f32(options, LOCAL_RESPONSE_NORMALIZATION_BETA, 0.0f, &p->beta)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (p->radius >= 0) return EDGE_OK;
  return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected a radius of at least 0, got %lld",
                        (long long)p->radius);
}

static edge_status norm_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  if (input->rank != 4) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input of rank 4, got %lld", (long long)input->rank);
  }
  const norm_params *p = step->node->params;
  step->effort = (uint64_t)edge_min(input->shape[3], 2 * (int64_t)p->radius + 1);
  return edge_set_shape(planner, step, 0, 4, input->shape);
}

static float power(float base, float beta) {
  if (beta == 1.0f) return 1.0f / base;
  if (beta == 0.5f) return 1.0f / sqrtf(base);
  return (float)edge_exp(-(double)beta * edge_log((double)base));
}

/* One cell. float64 bears adding what comes in and subtracting what goes out. */
static void normalize(const norm_params *p, const float *in, int64_t channels, float *out) {
  double sum = 0.0;
  for (int64_t i = 0; i < edge_min(p->radius, channels); i++) sum += (double)in[i] * (double)in[i];
  for (int64_t i = 0; i < channels; i++) {
    const int64_t enters = i + p->radius;
    const int64_t leaves = i - p->radius - 1;
    if (enters < channels) sum += (double)in[enters] * (double)in[enters];
    if (leaves >= 0) sum -= (double)in[leaves] * (double)in[leaves];
    const float base = (float)((double)p->bias + (double)p->alpha * sum);
    out[i] = in[i] * power(base, p->beta);
  }
}

static void norm_run(const edge_frame *frame, const edge_step *step) {
  const edge_view *view = &frame->views[step->node->inputs[0]];
  const int64_t cells = edge_count(view->shape, 0, 3);
  const int64_t channels = view->shape[3];
  const float *in = edge_in(frame, step, 0);
  float *out = edge_out(frame, step, 0);
  for (int64_t i = 0; i < cells; i++) {
    normalize(step->node->params, in + i * channels, channels, out + i * channels);
  }
}

const edge_operator edge_operator_local_response_normalization = {
    .code = 13,
    .name = "LOCAL_RESPONSE_NORMALIZATION",
    .version_max = 1,
    .options_type = 13,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = norm_compile,
    .shape = norm_shape,
    .run = norm_run,
};
