/* PAD and PADV2: constant cells around a tensor. The cells hold the zero point of the output, or
 * the value of PADV2's third input. Elements are moved as bytes, so that every type of fixed size
 * does.
 *
 * Source: tflite/kernels/pad.cc; docs/numerics.md.
 */
#include "../operators.h"
#include "../rules.h"

typedef struct pad_params {
  uint32_t size; /* bytes of an element */
  int32_t rank;
  int32_t before[EDGE_MAX_RANK], after[EDGE_MAX_RANK];
  uint8_t value[16]; /* the largest element */
} pad_params;

/* `paddings` is a constant: edge_expect_constant() has seen to it. */
static int64_t padding_at(const edge_tensor *paddings, int32_t i) {
  return paddings->type == EDGE_INT64 ? edge_load_i64(paddings->data + (size_t)i * 8)
                                      : edge_load_i32(paddings->data + (size_t)i * 4);
}

static edge_status read_paddings(edge_compiler *c, const edge_node *node, pad_params *p) {
  const edge_tensor *paddings = edge_node_input(c, node, 1);
  if (paddings->type != EDGE_INT64) {
    EDGE_TRY(edge_expect_type(c, node, paddings, "paddings", EDGE_INT32));
  }
  EDGE_TRY(edge_expect_constant(c, node, paddings, "paddings"));
  if (edge_count(paddings->shape, 0, paddings->rank) != 2 * (int64_t)p->rank) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected two paddings for each of %lld dimensions, got %lld",
                          (long long)p->rank,
                          (long long)edge_count(paddings->shape, 0, paddings->rank));
  }
  for (int32_t d = 0; d < p->rank; d++) {
    const int64_t before = padding_at(paddings, 2 * d);
    const int64_t after = padding_at(paddings, 2 * d + 1);
    if (before < 0 || after < 0 || before > INT32_MAX / 2 || after > INT32_MAX / 2) {
      return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                            "expected paddings in 0 ... %lld, got %lld and %lld",
                            (long long)INT32_MAX / 2, (long long)before, (long long)after);
    }
    p->before[d] = (int32_t)before;
    p->after[d] = (int32_t)after;
  }
  return EDGE_OK;
}

static edge_status read_value(edge_compiler *c, const edge_node *node, pad_params *p) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  const edge_tensor *value = edge_node_optional(c, node, 2);
  if (value != NULL) {
    EDGE_TRY(edge_expect_type(c, node, value, "a pad value", output->type));
    EDGE_TRY(edge_expect_constant(c, node, value, "a pad value"));
    if (edge_count(value->shape, 0, value->rank) != 1 || !edge_same_quantization(value, output)) {
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected one pad value with the output's quantization, got another");
    }
    memcpy(p->value, value->data, p->size);
    return EDGE_OK;
  }
  if (output->scale.count == 1) { /* NOLINT(clang-analyzer-core.NullDereference): it is there */
    edge_quant quant;
    EDGE_TRY(edge_expect_quant(c, node, output, "an output", &quant));
    memcpy(p->value, &quant.zero_point, p->size < 4 ? p->size : 4);
  }
  return EDGE_OK;
}

static edge_status pad_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  pad_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_movable(c, node, input, output));
  p->rank = input->rank;
  p->size = (uint32_t)edge_type_size(input->type);
  node->kernel = "copy";
  EDGE_TRY(read_paddings(c, node, p));
  return read_value(c, node, p);
}

static edge_status pad_shape(edge_planner *planner, edge_step *step) {
  const pad_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  if (input->rank != p->rank) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input of rank %lld, got %lld", (long long)p->rank,
                          (long long)input->rank);
  }
  for (int32_t d = 0; d < p->rank; d++) {
    const int64_t size = (int64_t)input->shape[d] + p->before[d] + p->after[d];
    if (size > INT32_MAX) {
      return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                            "expected dimensions that fit int32, got %lld", (long long)size);
    }
    shape[d] = (int32_t)size;
  }
  return edge_set_shape(planner, step, 0, p->rank, shape);
}

static void fill(const pad_params *p, uint8_t *out, int64_t elements) {
  if (p->size == 1) {
    memset(out, p->value[0], (size_t)elements);
    return;
  }
  for (int64_t i = 0; i < elements; i++) memcpy(out + i * p->size, p->value, p->size);
}

/* One dimension and all below it. Recursion goes as deep as the rank, at most EDGE_MAX_RANK. */
static void pad_dimension(const pad_params *p, const edge_view *in, const edge_view *out, int32_t d,
                          const uint8_t **from, uint8_t **to) {
  const int64_t inner = edge_count(out->shape, d + 1, out->rank);
  fill(p, *to, p->before[d] * inner);
  *to += p->before[d] * inner * p->size;
  if (d + 1 == p->rank) {
    const size_t bytes = (size_t)in->shape[d] * p->size;
    memcpy(*to, *from, bytes);
    *to += bytes;
    *from += bytes;
  } else {
    for (int32_t i = 0; i < in->shape[d]; i++) pad_dimension(p, in, out, d + 1, from, to);
  }
  fill(p, *to, p->after[d] * inner);
  *to += p->after[d] * inner * p->size;
}

static void pad_run(const edge_frame *frame, const edge_step *step) {
  const pad_params *p = step->node->params;
  const uint8_t *from = edge_in(frame, step, 0);
  uint8_t *to = edge_out(frame, step, 0);
  if (p->rank == 0) {
    memcpy(to, from, p->size);
    return;
  }
  pad_dimension(p, &frame->views[step->node->inputs[0]], &frame->views[step->node->outputs[0]], 0,
                &from, &to);
}

const edge_operator edge_operator_pad = {
    .code = 34,
    .name = "PAD",
    .version_max = 4,
    .options_type = 22,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = pad_compile,
    .shape = pad_shape,
    .run = pad_run,
};

const edge_operator edge_operator_padv2 = {
    .code = 60,
    .name = "PADV2",
    .version_max = 4,
    .options_type = 43,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = pad_compile,
    .shape = pad_shape,
    .run = pad_run,
};
