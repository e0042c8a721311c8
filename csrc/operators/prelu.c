/* PRELU: x where it is at least 0, else x * alpha; float32, and int8, uint8 and int16, quantized.
 * alpha broadcasts to the input's shape.
 *
 * Quantized: two fixed-point multipliers, halves away from zero, of scales that are divided in
 * float32. XNNPACK takes float32 only.
 *
 * Source: tflite/kernels/activations.cc (PreluPrepare), internal/reference/prelu.h.
 */
#include "../binary.h"
#include "../operators.h"

typedef struct prelu_params {
  edge_binary binary;
  edge_operands of; /* b: alpha */
  edge_fixed positive, negative;
  edge_range range;
} prelu_params;

static inline int32_t fixed_prelu(const prelu_params *p, int32_t x, int32_t y) {
  const int32_t input = x - p->of.a.zero_point;
  const int32_t scaled = input >= 0 ? edge_multiply(input, p->positive)
                                    : edge_multiply(input * (y - p->of.b.zero_point), p->negative);
  return edge_clamp((int64_t)scaled + p->of.output.zero_point, p->range.min, p->range.max);
}

#define PARAMS const prelu_params *p = job->params
EDGE_BINARY_LOOP(prelu_f32, float, float, , x < 0.0f ? x * y : x)
EDGE_BINARY_LOOP(prelu_s8, int8_t, int8_t, PARAMS, fixed_prelu(p, x, y))
EDGE_BINARY_LOOP(prelu_u8, uint8_t, uint8_t, PARAMS, fixed_prelu(p, x, y))
/* LiteRT's alpha of int16 tensors is int8. */
EDGE_BINARY_LOOP_OF(prelu_s16, int16_t, int8_t, int16_t, PARAMS, fixed_prelu(p, x, y))

static edge_status prepare(edge_compiler *c, const edge_node *node, prelu_params *p) {
  EDGE_TRY(edge_operands_read(c, node, &p->of));
  const float product = p->of.a.scale * p->of.b.scale;
  const float ratio = p->of.a.scale / p->of.output.scale;
  p->range = edge_type_range(p->binary.type);
  EDGE_TRY(edge_expect_fixed(c, node, (double)ratio, true, &p->positive));
  return edge_expect_fixed(c, node, (double)(product / p->of.output.scale), true, &p->negative);
}

static edge_status prelu_compile(edge_compiler *c, edge_node *node) {
  static const edge_binary_type types[] = {{EDGE_FLOAT32, prelu_f32},
                                           {EDGE_INT8, prelu_s8},
                                           {EDGE_UINT8, prelu_u8},
                                           {EDGE_FLOAT32, NULL}};
  prelu_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  edge_tensor *alpha = edge_node_input(c, node, 1);
  if (edge_node_input(c, node, 0)->type == EDGE_INT16) {
    p->binary = (edge_binary){prelu_s16, EDGE_INT16};
    EDGE_TRY(edge_expect_type(c, node, alpha, "an alpha", EDGE_INT8));
    EDGE_TRY(edge_keep(c, alpha));
    return prepare(c, node, p);
  }
  EDGE_TRY(edge_binary_types(c, node, types, "float32, int8, uint8 or int16", &p->binary));
  if (alpha->data != NULL) edge_binary_chain(c, node, NULL);
  return p->binary.type == EDGE_FLOAT32 ? EDGE_OK : prepare(c, node, p);
}

static edge_status prelu_shape(edge_planner *planner, edge_step *step) {
  EDGE_TRY(edge_broadcast_shape(planner, step));
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *output = &planner->frame->views[step->node->outputs[0]];
  if (output->rank == input->rank &&
      memcmp(output->shape, input->shape, (size_t)input->rank * sizeof *input->shape) == 0) {
    return EDGE_OK;
  }
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an alpha that broadcasts to the input's shape, got a larger one");
}

const edge_operator edge_operator_prelu = {.code = 54,
                                           .name = "PRELU",
                                           .version_max = 1,
                                           .inputs_min = 2,
                                           .inputs_max = 2,
                                           .compile = prelu_compile,
                                           .shape = prelu_shape,
                                           .run = edge_binary_run};
