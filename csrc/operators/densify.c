/* DENSIFY: a sparse constant -> the dense one, when the model is compiled; it never runs. The
 * compiler has expanded the data already, as for any operator (sparse.h).
 *
 * Source: tflite/kernels/densify.cc.
 */
#include "../operators.h"

static edge_status densify_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *input = edge_node_input(c, node, 0);
  const edge_tensor *output = edge_node_output(c, node, 0);
  node->kernel = "none";
  EDGE_TRY(edge_expect_constant(c, node, input, "an input"));
  EDGE_TRY(edge_expect_type(c, node, output, "an output", input->type));
  if (!input->sparsity.present) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a sparse input, got dense data (tensor %lld)",
                          (long long)node->inputs[0]);
  }
  const size_t shape = (size_t)input->rank * sizeof *input->shape;
  if (output->rank != input->rank || memcmp(output->shape, input->shape, shape) != 0) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected an output of the input's shape, got another (tensor %lld)",
                          (long long)node->outputs[0]);
  }
  void *dense = edge_fold_constant(c, node);
  if (dense == NULL) return edge_no_memory(c->error);
  memcpy(dense, input->data, input->data_size);
  return EDGE_OK;
}

const edge_operator edge_operator_densify = {
    .code = 124,
    .name = "DENSIFY",
    .version_max = 1,
    .options_type = 99,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = densify_compile,
};
