/* The model as its callers see it: made from bytes, shared by reference, described. */
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

static edge_limits limits_or_defaults(const edge_limits *limits) {
  const edge_limits most = {.model_bytes = INT32_MAX,
                            .tensors = 65536,
                            .operators = 65536,
                            .tensor_bytes = INT32_MAX,
                            .arena_bytes = INT32_MAX,
                            .packed_bytes = UINT64_C(1) << 32,
                            .calls = UINT64_C(1) << 20,
                            .work = UINT64_C(1) << 42};
  edge_limits l = *limits;
  /* Dimensions and counts of elements are int32 in many places; sums of all are uint64. */
  if (l.tensor_bytes > most.tensor_bytes) l.tensor_bytes = most.tensor_bytes;
  if (l.arena_bytes > INT64_MAX / 2) l.arena_bytes = INT64_MAX / 2;
  if (l.packed_bytes > INT64_MAX / 2) l.packed_bytes = INT64_MAX / 2;
  if (l.model_bytes == 0) l.model_bytes = most.model_bytes;
  if (l.tensors == 0) l.tensors = most.tensors;
  if (l.operators == 0) l.operators = most.operators;
  if (l.tensor_bytes == 0) l.tensor_bytes = most.tensor_bytes;
  if (l.arena_bytes == 0) l.arena_bytes = most.arena_bytes;
  if (l.packed_bytes == 0) l.packed_bytes = most.packed_bytes;
  if (l.calls == 0) l.calls = most.calls;
  if (l.work == 0) l.work = most.work;
  return l;
}

/* The quantization of a graph input or output stays known, in memory of the model. */
static edge_status keep_quantization(edge_model *model, edge_tensor *tensor, edge_error *error) {
  enum { SCALE = 4, ZERO_POINT = 8 };
  const uint32_t count = tensor->scale.count;
  if (count == 0) return EDGE_OK;
  uint8_t *copy = edge_region_alloc(&model->region, count, SCALE + ZERO_POINT, error);
  if (copy == NULL) return edge_no_memory(error);
  memcpy(copy, edge_vector_data(&tensor->zero_point), (size_t)count * ZERO_POINT);
  memcpy(copy + (size_t)count * ZERO_POINT, edge_vector_data(&tensor->scale),
         (size_t)count * SCALE);
  const edge_bytes memory = {copy, (uint64_t)count * (SCALE + ZERO_POINT)};
  tensor->zero_point = (edge_vector){memory, 0, count, true};
  tensor->scale = (edge_vector){memory, (uint64_t)count * ZERO_POINT, count, true};
  return EDGE_OK;
}

/* Nothing may point into bytes that are about to go. */
static edge_status forget_source(edge_model *model, edge_graph *graph, edge_error *error) {
  for (int32_t i = 0; i < graph->tensor_count; i++) {
    edge_tensor *tensor = &graph->tensors[i];
    tensor->data = NULL;
    if (edge_is_graph_tensor(graph, i) || tensor->variable) {
      EDGE_TRY(keep_quantization(model, tensor, error));
    } else {
      tensor->scale = (edge_vector){0};
      tensor->zero_point = (edge_vector){0};
    }
  }
  return EDGE_OK;
}

static edge_status model_fill(edge_model *model, edge_bytes file, edge_error *error) {
  if (file.size > model->limits.model_bytes || file.size > INT32_MAX) {
    return edge_fail(error, EDGE_LIMIT_EXCEEDED, "expected a model of at most %llu bytes, got %llu",
                     (unsigned long long)model->limits.model_bytes, (unsigned long long)file.size);
  }
  EDGE_TRY(edge_graph_read(model, file, error));
  EDGE_TRY(edge_model_prepare(model, error));
  for (int32_t i = 0; model->transient && i < model->graph_count; i++) {
    EDGE_TRY(forget_source(model, &model->graphs[i], error));
  }
  return EDGE_OK;
}

edge_status edge_model_create(const void *bytes, size_t size, const edge_model_options *options,
                              edge_model **model, edge_error *error) {
  edge_error unheard;
  if (error == NULL) error = &unheard;
  const edge_model_options none = {0};
  if (options == NULL) options = &none;
  const edge_kernels *kernels = edge_kernels_find(options->isa);
  if (kernels == NULL) {
    return edge_fail(error, EDGE_ISA_MISSING, "expected a kernel table of this machine, got %s",
                     options->isa);
  }
  edge_model *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for a model, got none");
  }
  made->limits = limits_or_defaults(&options->limits);
  made->region = (edge_region){.limit = made->limits.packed_bytes,
                               .secret = options->secret,
                               .require_locked = options->secret && options->require_locked};
  made->kernels = kernels;
  made->transient = options->transient;
  atomic_init(&made->references, 1);
  made->owner = getpid();
  const edge_status status = model_fill(made, (edge_bytes){bytes, size}, error);
  if (status != EDGE_OK) {
    edge_model_release(made);
    return status;
  }
  *model = made;
  return EDGE_OK;
}

void edge_model_release(edge_model *model) {
  if (model == NULL || atomic_fetch_sub(&model->references, 1) != 1) return;
  edge_region_release(&model->region);
  free(model);
}

static edge_status check_index(const edge_model *model, const char *what, int32_t index,
                               int32_t count, edge_error *error) {
  EDGE_TRY(edge_check_owner(model->owner, error));
  if (index >= 0 && index < count) return EDGE_OK;
  return edge_fail(error, EDGE_INVALID_ARGUMENT, "expected %s below %lld, got %lld", what,
                   (long long)count, (long long)index);
}

edge_status edge_model_describe(const edge_model *model, int32_t subgraph, edge_model_info *info,
                                edge_error *error) {
  EDGE_TRY(check_index(model, "a subgraph", subgraph, model->graph_count, error));
  const edge_graph *graph = &model->graphs[subgraph];
  *info = (edge_model_info){.tensor_count = graph->tensor_count,
                            .operator_count = graph->node_count,
                            .subgraph_count = model->graph_count,
                            .signature_count = model->signature_count,
                            .input_count = graph->input_count,
                            .output_count = graph->output_count,
                            .inputs = graph->inputs,
                            .outputs = graph->outputs,
                            .isa = model->kernels->isa,
                            .packed_bytes = model->packed_bytes,
                            .mapped_bytes = model->region.mapped,
                            .locked_bytes = model->region.locked};
  return EDGE_OK;
}

edge_status edge_model_operator(const edge_model *model, int32_t subgraph, int32_t index,
                                edge_operator_info *info, edge_error *error) {
  EDGE_TRY(check_index(model, "a subgraph", subgraph, model->graph_count, error));
  const edge_graph *graph = &model->graphs[subgraph];
  EDGE_TRY(check_index(model, "an operator", index, graph->node_count, error));
  const edge_node *node = &graph->nodes[index];
  *info = (edge_operator_info){.name = node->op->name,
                               .version = node->version,
                               .kernel = node->kernel,
                               .macs = node->macs,
                               .inputs = node->inputs,
                               .outputs = node->outputs,
                               .input_count = node->input_count,
                               .output_count = node->output_count};
  return EDGE_OK;
}

edge_status edge_model_signature(const edge_model *model, int32_t index, int32_t i,
                                 edge_signature_info *info, edge_signature_entry *entry,
                                 edge_error *error) {
  EDGE_TRY(check_index(model, "a signature", index, model->signature_count, error));
  const edge_signature *signature = &model->signatures[index];
  *info = (edge_signature_info){.key = signature->key,
                                .key_size = signature->key_size,
                                .subgraph = signature->subgraph,
                                .input_count = signature->input_count,
                                .output_count = signature->output_count};
  if (entry == NULL) return EDGE_OK;
  EDGE_TRY(
      check_index(model, "an entry", i, signature->input_count + signature->output_count, error));
  *entry = signature->entries[i];
  return EDGE_OK;
}
