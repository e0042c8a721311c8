/* PAD and PADV2: constant cells around a tensor. The cells hold the zero point of the output, or
 * the value of PADV2's third input. Elements are moved as bytes, so that every type of fixed size
 * does.
 *
 * Source: tflite/kernels/pad.cc; docs/numerics.md.
 */
#include "../movement.h"
#include "../operators.h"
#include "../rules.h"

typedef struct pad_params {
  uint32_t size;     /* bytes of an element */
  uint8_t value[16]; /* the largest element; unless input 2 gives it */
} pad_params;

typedef struct pad_state {
  uint32_t size;
  uint8_t value[16];
  int32_t before[EDGE_MAX_RANK], after[EDGE_MAX_RANK];
} pad_state;

/* Zero is the zero point of a quantized tensor. */
static edge_status read_zero(edge_compiler *c, const edge_node *node, pad_params *p) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  edge_quant quant;
  const bool whole = output->type == EDGE_INT8 || output->type == EDGE_UINT8 ||
                     output->type == EDGE_INT16 || output->type == EDGE_INT32 ||
                     output->type == EDGE_INT64;
  if (!whole || output->scale.count != 1) return EDGE_OK;
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &quant));
  const int64_t value = quant.zero_point;
  memcpy(p->value, &value, p->size < 8 ? p->size : 8);
  return EDGE_OK;
}

static edge_status read_value(edge_compiler *c, const edge_node *node, pad_params *p) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  edge_tensor *value = edge_node_optional(c, node, 2);
  if (value == NULL) return read_zero(c, node, p);
  EDGE_TRY(edge_expect_type(c, node, value, "a pad value", output->type));
  EDGE_TRY(edge_expect_moved(c, node, value, output));
  return edge_keep(c, value);
}

static edge_status pad_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  pad_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_movable(c, node, input, edge_node_output(c, node, 0)));
  EDGE_TRY(edge_expect_whole(c, node, 1, "paddings"));
  p->size = (uint32_t)edge_type_size(input->type);
  node->kernel = "copy";
  return read_value(c, node, p);
}

static edge_status read_paddings(edge_planner *planner, const edge_step *step, pad_state *s) {
  const int32_t rank = edge_view_in(planner, step, 0)->rank;
  int32_t list[2 * EDGE_MAX_RANK];
  EDGE_TRY(edge_exact_list_in(planner, step, 1, 2 * rank, list));
  for (int64_t d = 0; d < rank; d++) {
    s->before[d] = list[2 * d];
    s->after[d] = list[2 * d + 1];
    if (s->before[d] < 0 || s->after[d] < 0 || s->before[d] > INT32_MAX / 2 ||
        s->after[d] > INT32_MAX / 2) {
      return edge_step_fail(
          planner, step, EDGE_MALFORMED_MODEL, "expected paddings in 0 ... %lld, got %lld and %lld",
          (long long)INT32_MAX / 2, (long long)s->before[d], (long long)s->after[d]);
    }
  }
  return EDGE_OK;
}

static edge_status expect_one_value(edge_planner *planner, const edge_step *step) {
  if (edge_tensor_in(planner, step, 2) == NULL) return EDGE_OK;
  const edge_view *value = edge_view_in(planner, step, 2);
  const int64_t count = edge_count(value->shape, 0, value->rank);
  if (count == 1) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                        "expected one pad value, got %lld", (long long)count);
}

static edge_status pad_shape(edge_planner *planner, edge_step *step) {
  const pad_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  pad_state s = {.size = p->size};
  EDGE_TRY(read_paddings(planner, step, &s));
  EDGE_TRY(expect_one_value(planner, step));
  for (int32_t d = 0; d < input->rank; d++) {
    const int64_t size = (int64_t)input->shape[d] + s.before[d] + s.after[d];
    if (size > INT32_MAX) {
      return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                            "expected dimensions that fit int32, got %lld", (long long)size);
    }
    shape[d] = (int32_t)size;
  }
  pad_state *state = edge_step_state(planner, step, sizeof *state);
  if (state == NULL) return edge_no_memory(planner->error);
  memcpy(s.value, p->value, sizeof s.value);
  *state = s;
  return edge_set_shape(planner, step, 0, input->rank, shape);
}

static void fill(const pad_state *s, uint8_t *out, int64_t elements) {
  edge_copy_blocks(s->value, 0, out, s->size, s->size, elements);
}

/* One dimension and all below it. Recursion goes as deep as the rank, at most EDGE_MAX_RANK. */
static void pad_dimension(const pad_state *s, const edge_view *in, const edge_view *out, int32_t d,
                          const uint8_t **from, uint8_t **to) {
  const int64_t inner = edge_count(out->shape, d + 1, out->rank);
  fill(s, *to, s->before[d] * inner);
  *to += s->before[d] * inner * s->size;
  if (d + 1 == in->rank) {
    const size_t bytes = (size_t)in->shape[d] * s->size;
    if (bytes > 0) memcpy(*to, *from, bytes);
    *to += bytes;
    *from += bytes;
  } else {
    for (int32_t i = 0; i < in->shape[d]; i++) pad_dimension(s, in, out, d + 1, from, to);
  }
  fill(s, *to, s->after[d] * inner);
  *to += s->after[d] * inner * s->size;
}

static void pad_run(const edge_frame *frame, const edge_step *step) {
  pad_state s = *(const pad_state *)step->state;
  const edge_view *input = &frame->views[step->node->inputs[0]];
  const uint8_t *from = input->data;
  uint8_t *to = edge_out(frame, step, 0);
  if (step->node->input_count > 2 && step->node->inputs[2] >= 0) {
    memcpy(s.value, edge_in(frame, step, 2), s.size);
  }
  if (input->rank == 0) {
    memcpy(to, from, s.size);
    return;
  }
  pad_dimension(&s, input, &frame->views[step->node->outputs[0]], 0, &from, &to);
}

const edge_operator edge_operator_pad = {
    .code = 34,
    .name = "PAD",
    .version_max = 6,
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
    .version_max = 6,
    .options_type = 43,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = pad_compile,
    .shape = pad_shape,
    .run = pad_run,
};
