/* Graph -> model: each operator checks itself and packs its weights, once. Also what the
 * operators' compile() functions share. */
#include <math.h>

#include "call.h"
#include "fold.h"
#include "internal.h"
#include "sparse.h"

/* Elements of a list of whole numbers that is always kept. */
enum { SHORT_LIST = 64 };

void *edge_node_params(edge_compiler *compiler, edge_node *node, size_t size) {
  node->params = edge_region_alloc(&compiler->model->region, 1, size, compiler->error);
  return node->params;
}

void *edge_pack_alloc(edge_compiler *compiler, uint64_t count, uint64_t size) {
  void *memory = edge_region_alloc(&compiler->model->region, count, size, compiler->error);
  if (memory != NULL) compiler->model->packed_bytes += count * size;
  return memory;
}

void *edge_fold_constant(edge_compiler *compiler, edge_node *node) {
  edge_tensor *tensor = edge_node_output(compiler, node, 0);
  const uint64_t size = edge_type_size(tensor->type);
  void *memory =
      edge_region_alloc(&compiler->temporary, edge_stored_count(tensor), size, compiler->error);
  if (memory == NULL) return NULL;
  tensor->data = memory;
  tensor->data_size = edge_stored_count(tensor) * size;
  tensor->is_constant = tensor->folded = true;
  node->folded = true;
  return memory;
}

edge_status edge_keep(edge_compiler *compiler, edge_tensor *tensor) {
  if (tensor->data == NULL || tensor->constant != NULL) return EDGE_OK;
  void *copy = edge_region_alloc(&compiler->model->region, tensor->data_size, 1, compiler->error);
  if (copy == NULL) return edge_no_memory(compiler->error);
  tensor->constant = memcpy(copy, tensor->data, tensor->data_size);
  return EDGE_OK;
}

static long long tensor_index(const edge_compiler *compiler, const edge_tensor *tensor) {
  return tensor - compiler->graph->tensors;
}

edge_status edge_expect_type(edge_compiler *compiler, const edge_node *node,
                             const edge_tensor *tensor, const char *what, edge_type type) {
  if (tensor->type == type) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected %s of type %s, got %s (tensor %lld)", what, edge_type_name(type),
                        edge_type_name(tensor->type), tensor_index(compiler, tensor));
}

edge_status edge_expect_rank(edge_compiler *compiler, const edge_node *node,
                             const edge_tensor *tensor, const char *what, int32_t rank) {
  if (tensor->rank == rank) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected %s of rank %lld, got %lld (tensor %lld)", what, (long long)rank,
                        (long long)tensor->rank, tensor_index(compiler, tensor));
}

static int64_t zero_point_at(const edge_tensor *tensor, int32_t i) {
  return edge_load_i64(edge_vector_data(&tensor->zero_point) + (int64_t)i * 8);
}

float edge_scale_at(const edge_tensor *tensor, int32_t i) {
  return edge_load_f32(edge_vector_data(&tensor->scale) +
                       (tensor->scale.count > 1 ? (int64_t)i * 4 : 0));
}

edge_status edge_expect_constant(edge_compiler *compiler, const edge_node *node,
                                 const edge_tensor *tensor, const char *what) {
  if (tensor->data != NULL) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected %s to be constant, got a tensor that is computed (tensor %lld)",
                        what, tensor_index(compiler, tensor));
}

edge_status edge_expect_constant_or_empty(edge_compiler *compiler, const edge_node *node,
                                          const edge_tensor *tensor, const char *what) {
  if (tensor->rank > 0 && edge_count(tensor->shape, 0, tensor->rank) == 0) return EDGE_OK;
  return edge_expect_constant(compiler, node, tensor, what);
}

edge_status edge_expect_movable(edge_compiler *compiler, const edge_node *node,
                                const edge_tensor *input, const edge_tensor *output) {
  EDGE_TRY(edge_expect_type(compiler, node, output, "an output", input->type));
  if (edge_type_size(input->type) != 0) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                        "expected elements of fixed size, got %s (tensor %lld)",
                        edge_type_name(input->type), tensor_index(compiler, input));
}

bool edge_same_quantization(const edge_tensor *a, const edge_tensor *b) {
  if (a->scale.count != b->scale.count) return false;
  if (a->scale.count == 0) return true;
  return a->scale.count == 1 && edge_scale_at(a, 0) == edge_scale_at(b, 0) &&
         zero_point_at(a, 0) == zero_point_at(b, 0);
}

static void type_range(edge_type type, int64_t *least, int64_t *most) {
  switch (type) {
    case EDGE_INT8:
      *least = INT8_MIN;
      *most = INT8_MAX;
      break;
    case EDGE_UINT8:
      *least = 0;
      *most = UINT8_MAX;
      break;
    case EDGE_INT16:
      *least = INT16_MIN;
      *most = INT16_MAX;
      break;
    default:
      *least = INT32_MIN;
      *most = INT32_MAX;
  }
}

/* A scale is a positive finite number. Denormal ones are allowed: they are odd, but they have a
 * meaning. */
static bool scale_ok(float scale) {
  return isfinite(scale) && scale > 0.0f;
}

edge_status edge_expect_quant(edge_compiler *compiler, const edge_node *node,
                              const edge_tensor *tensor, const char *what, edge_quant *quant) {
  int64_t least;
  int64_t most;
  const long long index = tensor_index(compiler, tensor);
  if (tensor->scale.count != 1) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s with one scale, got %lld (tensor %lld)", what,
                          (long long)tensor->scale.count, index);
  }
  const float scale = edge_scale_at(tensor, 0);
  const int64_t zero_point = zero_point_at(tensor, 0);
  type_range(tensor->type, &least, &most);
  if (!scale_ok(scale)) {
    return edge_node_fail(
        compiler, node, EDGE_MALFORMED_MODEL,
        "expected %s with a scale that is finite and above 0, got %g (tensor %lld)", what,
        (double)scale, index);
  }
  if (zero_point < least || zero_point > most) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s with a zero point in %lld ... %lld, got %lld (tensor %lld)",
                          what, (long long)least, (long long)most, (long long)zero_point, index);
  }
  *quant = (edge_quant){scale, (int32_t)zero_point};
  return EDGE_OK;
}

edge_status edge_expect_scales(edge_compiler *compiler, const edge_node *node,
                               const edge_tensor *tensor, const char *what, int32_t axis) {
  const long long index = tensor_index(compiler, tensor);
  if (tensor->scale.count == 0) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s with scales, got none (tensor %lld)", what, index);
  }
  if (tensor->scale.count > 1 && tensor->axis != axis) {
    return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected %s quantized along dimension %lld, got %lld (tensor %lld)",
                          what, (long long)axis, (long long)tensor->axis, index);
  }
  for (uint32_t i = 0; i < tensor->scale.count; i++) {
    const float scale = edge_scale_at(tensor, (int32_t)i);
    if (!scale_ok(scale)) {
      return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                            "expected %s with scales that are finite and above 0, got %g at %lld "
                            "(tensor %lld)",
                            what, (double)scale, (long long)i, index);
    }
    if (zero_point_at(tensor, (int32_t)i) != 0) {
      return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected %s with zero points of 0, got %lld at %lld (tensor %lld)",
                            what, (long long)zero_point_at(tensor, (int32_t)i), (long long)i,
                            index);
    }
  }
  return EDGE_OK;
}

edge_status edge_expect_weights(edge_compiler *compiler, const edge_node *node, int32_t rank) {
  const edge_tensor *weights = edge_node_input(compiler, node, 1);
  EDGE_TRY(edge_expect_rank(compiler, node, weights, "weights", rank));
  if (edge_count(weights->shape, 0, rank) > 0) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL, "expected weights, got none");
}

static edge_status check_node(edge_compiler *compiler, const edge_node *node) {
  const edge_operator *op = node->op;
  if (node->version < 1 || node->version > op->version_max) {
    return edge_node_fail(compiler, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected a version in 1 ... %lld, got %lld", (long long)op->version_max,
                          (long long)node->version);
  }
  if (node->input_count < op->inputs_min || node->input_count > op->inputs_max) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %lld ... %lld inputs, got %lld", (long long)op->inputs_min,
                          (long long)op->inputs_max, (long long)node->input_count);
  }
  for (int32_t i = 0; i < op->inputs_min; i++) {
    if (node->inputs[i] < 0) {
      return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                            "expected input %lld to be there, got none", (long long)i);
    }
  }
  const bool one = op->outputs_max == 0;
  const int32_t least = one ? 1 : op->outputs_min;
  const int32_t most = one ? 1 : (int32_t)edge_max(0, op->outputs_max);
  if (one && node->output_count != 1) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL, "expected 1 output, got %lld",
                          (long long)node->output_count);
  }
  if (node->output_count < least || node->output_count > most) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %lld ... %lld outputs, got %lld", (long long)least,
                          (long long)most, (long long)node->output_count);
  }
  return EDGE_OK;
}

/* Operators that only move bytes do not look at scales, but whoever reads the output does. None at
 * all is the way of raw bytes. */
static edge_status check_outputs(edge_compiler *compiler, const edge_node *node) {
  edge_quant unused;
  for (int32_t i = 0; i < node->output_count; i++) {
    if (node->outputs[i] < 0) continue;
    const edge_tensor *output = edge_node_output(compiler, node, i);
    const bool quantized =
        output->type == EDGE_INT8 || output->type == EDGE_UINT8 || output->type == EDGE_INT16;
    if (quantized && output->scale.count == 1) {
      EDGE_TRY(edge_expect_quant(compiler, node, output, "an output", &unused));
    }
  }
  return EDGE_OK;
}

/* Axes, shapes, begins and ends: what shape() functions ask for. */
static bool is_short_list(const edge_tensor *tensor) {
  const bool whole = tensor->type == EDGE_INT32 || tensor->type == EDGE_INT64;
  return whole && edge_stored_count(tensor) <= SHORT_LIST;
}

/* Operators read their inputs when they run, also those that are constants: the first one always,
 * the others where compile() asks for it. */
static edge_status compile_node(edge_compiler *compiler, edge_node *node) {
  node->kernel = "scalar";
  EDGE_TRY(check_node(compiler, node));
  EDGE_TRY(node->op->compile(compiler, node));
  EDGE_TRY(check_outputs(compiler, node));
  for (int32_t i = 0; i < node->input_count && !node->folded; i++) {
    if (node->inputs[i] < 0) continue;
    edge_tensor *tensor = &compiler->graph->tensors[node->inputs[i]];
    if (i == 0 || is_short_list(tensor)) EDGE_TRY(edge_keep(compiler, tensor));
  }
  node->options = (edge_table){0};
  node->custom = (edge_bytes){0};
  return EDGE_OK;
}

static edge_status expand_constants(edge_compiler *compiler) {
  for (int32_t i = 0; i < compiler->graph->tensor_count; i++) {
    edge_tensor *tensor = &compiler->graph->tensors[i];
    const bool sparse = tensor->sparsity.present && tensor->data != NULL;
    if (sparse) EDGE_TRY(edge_sparse_expand(compiler, tensor));
  }
  return EDGE_OK;
}

static edge_status compile_graph(edge_compiler *compiler) {
  edge_graph *graph = compiler->graph;
  EDGE_TRY(expand_constants(compiler));
  EDGE_TRY(edge_uses_read(graph, &compiler->temporary, &compiler->uses, compiler->error));
  for (int32_t i = 0; i < graph->node_count; i++) {
    EDGE_TRY(compile_node(compiler, &graph->nodes[i]));
  }
  for (int32_t i = 0; i < graph->output_count; i++) {
    EDGE_TRY(edge_keep(compiler, &graph->tensors[graph->outputs[i]]));
  }
  return EDGE_OK;
}

static void forget_folded(edge_graph *graph) {
  for (int32_t i = 0; i < graph->tensor_count; i++) {
    graph->tensors[i].sparsity = (edge_table){0};
    if (graph->tensors[i].folded) graph->tensors[i].data = NULL;
  }
}

edge_status edge_model_prepare(edge_model *model, edge_error *error) {
  edge_compiler compiler = {
      .model = model,
      .error = error,
      .temporary = {.limit = model->region.limit, .secret = model->region.secret}};
  edge_status status = EDGE_OK;
  for (int32_t i = 0; i < model->graph_count && status == EDGE_OK; i++) {
    compiler.graph = &model->graphs[i];
    status = compile_graph(&compiler);
    if (status != EDGE_OK) edge_report_subgraph(error, i);
    forget_folded(compiler.graph);
  }
  edge_region_release(&compiler.temporary);
  return status == EDGE_OK ? edge_calls_check(model, error) : status;
}
