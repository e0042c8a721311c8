#include "binary.h"

#include <math.h>

#include "fold.h"

edge_status edge_binary_operands(edge_compiler *compiler, const edge_node *node) {
  edge_tensor *a = edge_node_input(compiler, node, 0);
  edge_tensor *b = edge_node_input(compiler, node, 1);
  EDGE_TRY(edge_expect_type(compiler, node, b, "a second operand", a->type));
  EDGE_TRY(edge_keep(compiler, a));
  return edge_keep(compiler, b);
}

edge_status edge_binary_refuse(edge_compiler *compiler, const edge_node *node, const char *known) {
  return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected operands of type %s, got %s (tensor %lld)", known,
                        edge_type_name(edge_node_input(compiler, node, 0)->type),
                        (long long)node->inputs[0]);
}

edge_status edge_binary_find(edge_compiler *compiler, const edge_node *node,
                             const edge_binary_type *types, edge_binary *binary) {
  binary->type = edge_node_input(compiler, node, 0)->type;
  binary->run = NULL;
  for (int32_t i = 0; types[i].run != NULL; i++) {
    if (types[i].type == binary->type) binary->run = types[i].run;
  }
  return edge_binary_operands(compiler, node);
}

edge_status edge_binary_types(edge_compiler *compiler, const edge_node *node,
                              const edge_binary_type *types, const char *known,
                              edge_binary *binary) {
  EDGE_TRY(edge_binary_find(compiler, node, types, binary));
  if (binary->run == NULL) return edge_binary_refuse(compiler, node, known);
  const edge_tensor *output = edge_node_output(compiler, node, 0);
  return edge_expect_type(compiler, node, output, "an output", binary->type);
}

edge_status edge_binary_plain(edge_compiler *compiler, edge_node *node,
                              const edge_binary_type *types, const char *known) {
  edge_binary *binary = edge_node_params(compiler, node, sizeof *binary);
  if (binary == NULL) return edge_no_memory(compiler->error);
  return edge_binary_types(compiler, node, types, known, binary);
}

edge_status edge_operands_read(edge_compiler *compiler, const edge_node *node,
                               edge_operands *operands) {
  const edge_tensor *a = edge_node_input(compiler, node, 0);
  const edge_tensor *b = edge_node_input(compiler, node, 1);
  const edge_tensor *output = edge_node_output(compiler, node, 0);
  EDGE_TRY(edge_expect_type(compiler, node, output, "an output", a->type));
  EDGE_TRY(edge_expect_quant(compiler, node, a, "a first operand", &operands->a));
  EDGE_TRY(edge_expect_quant(compiler, node, b, "a second operand", &operands->b));
  EDGE_TRY(edge_expect_quant(compiler, node, output, "an output", &operands->output));
  operands->xnn = a->type != EDGE_INT16 && edge_xnn_activation(a) && edge_xnn_activation(b) &&
                  edge_xnn_activation(output);
  const bool shifted = operands->a.zero_point != 0 || operands->output.zero_point != 0 ||
                       (b->type == EDGE_INT16 && operands->b.zero_point != 0);
  if (a->type != EDGE_INT16 || !shifted) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected int16 tensors with zero points of 0, got %lld, %lld and %lld",
                        (long long)operands->a.zero_point, (long long)operands->b.zero_point,
                        (long long)operands->output.zero_point);
}

static void whole_bounds(edge_type type, int64_t *low, int64_t *high) {
  switch (type) {
    case EDGE_INT16:
      *low = INT16_MIN;
      *high = INT16_MAX;
      break;
    case EDGE_INT32:
      *low = INT32_MIN;
      *high = INT32_MAX;
      break;
    case EDGE_UINT32:
      *low = 0;
      *high = UINT32_MAX;
      break;
    default:
      *low = INT64_MIN;
      *high = INT64_MAX;
  }
}

edge_status edge_bounds_read(edge_compiler *compiler, const edge_node *node, edge_type type,
                             edge_bounds *bounds) {
  EDGE_TRY(edge_read_float_range(compiler, node, BINARY_ACTIVATION, &bounds->real));
  whole_bounds(type, &bounds->low, &bounds->high);
  if (isfinite(bounds->real.min)) bounds->low = edge_max(bounds->low, (int64_t)bounds->real.min);
  if (isfinite(bounds->real.max)) bounds->high = (int64_t)bounds->real.max;
  return EDGE_OK;
}

void edge_binary_chain(edge_compiler *compiler, edge_node *node, const edge_bounds *bounds) {
  const edge_tensor *a = edge_node_input(compiler, node, 0);
  if (a->type != EDGE_FLOAT32 || !edge_xnn_shape(a)) return;
  if (!edge_xnn_shape(edge_node_input(compiler, node, 1))) return;
  const bool activated =
      bounds != NULL && (isfinite(bounds->real.min) || isfinite(bounds->real.max));
  (void)edge_fold_binary(compiler, node, activated);
}

void edge_binary_run(const edge_frame *frame, const edge_step *step) {
  const edge_broadcast *broadcast = step->state;
  const edge_binary *binary = step->node->params;
  edge_binary_job job = {.params = binary,
                         .kernels = frame->model->kernels,
                         .a = edge_in(frame, step, 0),
                         .b = edge_in(frame, step, 1),
                         .out = edge_out(frame, step, 0),
                         .by_runs = edge_broadcast_five_fold(broadcast),
                         .broadcast = broadcast};
  edge_broadcast_walk(broadcast, binary->run, &job);
}
