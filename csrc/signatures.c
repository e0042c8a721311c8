/* Signatures of a .tflite file: names for the inputs and outputs of a subgraph. */
#include "graph.h"

static edge_status read_signature_entries(edge_reader *r, const edge_vector *list, long long index,
                                          const edge_graph *graph, edge_signature_entry *entries) {
  for (uint32_t i = 0; i < list->count; i++) {
    edge_table table;
    uint32_t tensor;
    uint32_t size = 0;
    if (!edge_vector_table(list, i, &table) ||
        !edge_table_u32(&table, TENSOR_MAP_INDEX, 0, &tensor)) {
      return edge_reader_malformed(r, "signature", index, "a tensor map");
    }
    EDGE_TRY(
        edge_read_name(r, &table, TENSOR_MAP_NAME, "signature", index, &entries[i].name, &size));
    entries[i].name_size = size;
    if ((int64_t)tensor >= graph->tensor_count) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "signature %lld: expected tensor indices below %lld, got %lld", index,
                       (long long)graph->tensor_count, (long long)tensor);
    }
    entries[i].tensor = (int32_t)tensor;
  }
  return EDGE_OK;
}

static edge_status read_signature(edge_reader *r, const edge_table *table,
                                  edge_signature *signature, long long index) {
  edge_vector inputs;
  edge_vector outputs;
  if (!edge_table_vector(table, SIGNATURE_INPUTS, 4, &inputs) ||
      !edge_table_vector(table, SIGNATURE_OUTPUTS, 4, &outputs) ||
      !edge_table_u32(table, SIGNATURE_SUBGRAPH, 0, &signature->subgraph)) {
    return edge_reader_malformed(r, "signature", index, "a table");
  }
  EDGE_TRY(edge_reader_count(r, "signature", index, inputs.count));
  EDGE_TRY(edge_reader_count(r, "signature", index, outputs.count));
  if (signature->subgraph >= (uint32_t)r->model->graph_count) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "signature %lld: expected a subgraph below %lld, got %lld", index,
                     (long long)r->model->graph_count, (long long)signature->subgraph);
  }
  EDGE_TRY(edge_read_name(r, table, SIGNATURE_KEY, "signature", index, &signature->key,
                          &signature->key_size));
  signature->entries =
      edge_reader_array(r, (uint64_t)inputs.count + outputs.count, sizeof *signature->entries);
  if (signature->entries == NULL) return edge_no_memory(r->error);
  signature->input_count = (int32_t)inputs.count;
  signature->output_count = (int32_t)outputs.count;
  const edge_graph *graph = &r->model->graphs[signature->subgraph];
  EDGE_TRY(read_signature_entries(r, &inputs, index, graph, signature->entries));
  return read_signature_entries(r, &outputs, index, graph, signature->entries + inputs.count);
}

edge_status edge_read_signatures(edge_reader *r, const edge_table *root) {
  edge_vector list;
  if (!edge_table_vector(root, MODEL_SIGNATURE_DEFS, 4, &list)) {
    return edge_reader_malformed(r, "model", 0, "signatures");
  }
  if (list.count > EDGE_SIGNATURES_MAX) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED, "expected at most %lld signatures, got %lld",
                     (long long)EDGE_SIGNATURES_MAX, (long long)list.count);
  }
  r->model->signatures = edge_reader_array(r, list.count, sizeof *r->model->signatures);
  if (r->model->signatures == NULL) return edge_no_memory(r->error);
  r->model->signature_count = (int32_t)list.count;
  for (uint32_t i = 0; i < list.count; i++) {
    edge_table table;
    if (!edge_vector_table(&list, i, &table)) {
      return edge_reader_malformed(r, "signature", i, "a table");
    }
    EDGE_TRY(read_signature(r, &table, &r->model->signatures[i], i));
  }
  return EDGE_OK;
}
