/* .tflite bytes -> graph. Believes nothing: after it, indices are in range, constants have
 * their bytes, and every operator's inputs are written before it runs.
 *
 * Order: identifier and root; then of each subgraph: tensors; operators; graph inputs and outputs;
 * who writes what; then signatures.
 *
 * Not checked here: types, shapes and quantization against the operators that use them. That is
 * for each operator's compile() and shape().
 *
 * Source: tflite/converter/schema/schema.fbs, tflite/core/interpreter_builder.cc in LiteRT.
 */
#include <stdlib.h>

#include "graph.h"

enum { NAME_BYTES_MAX = 16 * 1024 * 1024, ENTRIES_MAX = 1 << 20, INPUTS_MAX = 4096 };

/* ---- what all readers use ---------------------------------------------------------------- */

edge_status edge_reader_malformed(edge_reader *r, const char *what, long long index,
                                  const char *expected) {
  return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                   "%s %lld: expected %s, got bytes outside of the file or of their table", what,
                   index, expected);
}

edge_status edge_read_name(edge_reader *r, const edge_table *table, uint32_t field,
                           const char *what, long long index, const char **name, uint32_t *size) {
  edge_vector text;
  if (!edge_table_vector(table, field, 1, &text)) {
    return edge_reader_malformed(r, what, index, "a name");
  }
  *name = "";
  *size = 0;
  if (text.count == 0) return EDGE_OK;
  r->name_bytes += text.count;
  if (r->name_bytes > NAME_BYTES_MAX) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                     "%s %lld: expected at most %lld bytes of names in all, got %llu", what, index,
                     (long long)NAME_BYTES_MAX, (unsigned long long)r->name_bytes);
  }
  *name = (const char *)edge_vector_data(&text);
  *size = text.count;
  if (r->model->transient) {
    char *copy = edge_region_alloc(&r->model->region, text.count, 1, r->error);
    if (copy == NULL) return edge_no_memory(r->error);
    memcpy(copy, *name, text.count);
    *name = copy;
  }
  return EDGE_OK;
}

void *edge_reader_array(edge_reader *r, uint64_t count, uint64_t size) {
  return edge_region_alloc(&r->model->region, count ? count : 1, size, r->error);
}

edge_status edge_reader_count(edge_reader *r, const char *what, long long index, uint32_t count) {
  if (count > INPUTS_MAX) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                     "%s %lld: expected at most %lld tensors, got %lld", what, index,
                     (long long)INPUTS_MAX, (long long)count);
  }
  r->entries += count;
  if (r->entries <= ENTRIES_MAX) return EDGE_OK;
  return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                   "%s %lld: expected lists of at most %lld tensors in all, got %llu", what, index,
                   (long long)ENTRIES_MAX, (unsigned long long)r->entries);
}

/* Tensor indices, each in least ... tensor_count - 1. */
static edge_status read_indices(edge_reader *r, const edge_table *table, uint32_t field,
                                const char *what, long long index, int32_t least,
                                const int32_t **indices, int32_t *count) {
  edge_vector list;
  if (!edge_table_vector(table, field, 4, &list)) {
    return edge_reader_malformed(r, what, index, "indices");
  }
  EDGE_TRY(edge_reader_count(r, what, index, list.count));
  int32_t *copy = edge_reader_array(r, list.count, sizeof *copy);
  if (copy == NULL) return edge_no_memory(r->error);
  for (uint32_t i = 0; i < list.count; i++) {
    copy[i] = edge_vector_i32(&list, i);
    if (copy[i] < least || copy[i] >= r->graph->tensor_count) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "%s %lld: expected tensor indices in %lld ... %lld, got %lld", what, index,
                       (long long)least, (long long)r->graph->tensor_count - 1, (long long)copy[i]);
    }
  }
  *indices = copy;
  *count = (int32_t)list.count;
  return EDGE_OK;
}

/* ---- operators --------------------------------------------------------------------------- */

static edge_status read_code(edge_reader *r, uint32_t code_index, long long index,
                             edge_node *node) {
  edge_table table;
  edge_vector custom;
  int8_t old;
  int32_t code;
  if (code_index >= r->codes.count) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "operator %lld: expected an operator code below %lld, got %lld", index,
                     (long long)r->codes.count, (long long)code_index);
  }
  if (!edge_vector_table(&r->codes, code_index, &table) ||
      !edge_table_i8(&table, OPERATOR_CODE_DEPRECATED, 0, &old) ||
      !edge_table_i32(&table, OPERATOR_CODE_BUILTIN, 0, &code) ||
      !edge_table_vector(&table, OPERATOR_CODE_CUSTOM, 1, &custom) ||
      !edge_table_i32(&table, OPERATOR_CODE_VERSION, 1, &node->version)) {
    return edge_reader_malformed(r, "operator code", code_index, "a table");
  }
  /* The old field is a byte and holds 127 for all newer codes. */
  if (code < old) code = old;
  if (code < 0) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "operator %lld: expected an operator code of at least 0, got %lld", index,
                     (long long)code);
  }
  node->op = code == OPERATOR_CUSTOM && custom.count > 0
                 ? edge_operator_custom((const char *)edge_vector_data(&custom), custom.count)
                 : edge_operator_find(code);
  if (node->op != NULL) return EDGE_OK;
  char text[64] = "custom operator ";
  const char *name = edge_operator_name(code);
  if (code == OPERATOR_CUSTOM) {
    /* The name is the file's: cut to what is printable, so that it cannot play with a terminal. */
    size_t length = strlen(text);
    for (uint32_t i = 0; i < custom.count && length + 1 < sizeof text; i++) {
      const uint8_t c = edge_vector_data(&custom)[i];
      text[length++] = (char)(c > 0x20 && c < 0x7F ? c : '?');
    }
    text[length] = '\0';
    name = text;
  }
  return edge_fail(r->error, EDGE_UNSUPPORTED_OPERATOR,
                   "operator %lld: expected an operator that the core runs, got %s (code %lld) "
                   "version %lld",
                   index, name ? name : "an unknown one", (long long)code,
                   (long long)node->version);
}

static edge_status read_operator(edge_reader *r, const edge_table *table, edge_node *node,
                                 long long index) {
  edge_vector custom;
  uint32_t code;
  uint8_t options;
  if (!edge_table_u32(table, OPERATOR_OPCODE_INDEX, 0, &code) ||
      !edge_table_vector(table, OPERATOR_CUSTOM_OPTIONS, 1, &custom) ||
      !edge_table_u8(table, OPERATOR_OPTIONS_TYPE, 0, &options) ||
      !edge_table_table(table, OPERATOR_OPTIONS, &node->options)) {
    return edge_reader_malformed(r, "operator", index, "a table");
  }
  EDGE_TRY(read_code(r, code, index, node));
  /* Newer operators have their options in a second union, whose kinds count from 1 again. */
  if (node->op->options_2 && (!edge_table_u8(table, OPERATOR_OPTIONS_2_TYPE, 0, &options) ||
                              !edge_table_table(table, OPERATOR_OPTIONS_2, &node->options))) {
    return edge_reader_malformed(r, "operator", index, "a table");
  }
  node->custom = (edge_bytes){edge_vector_data(&custom), custom.count};
  EDGE_TRY(read_indices(r, table, OPERATOR_INPUTS, "operator", index, -1, &node->inputs,
                        &node->input_count));
  EDGE_TRY(read_indices(r, table, OPERATOR_OUTPUTS, "operator", index, 0, &node->outputs,
                        &node->output_count));
  EDGE_TRY(read_indices(r, table, OPERATOR_INTERMEDIATES, "operator", index, -1,
                        &node->intermediates, &node->intermediate_count));
  if (node->options.present && options != node->op->options_type) {
    /* Reading one options table as another would give numbers that mean something else. */
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "operator %lld (%s): expected options of kind %lld, got %lld", index,
                     node->op->name, (long long)node->op->options_type, (long long)options);
  }
  return EDGE_OK;
}

static edge_status read_operators(edge_reader *r, const edge_table *subgraph) {
  edge_graph *graph = r->graph;
  const long long index = graph - r->model->graphs;
  edge_vector list;
  if (!edge_table_vector(subgraph, SUBGRAPH_OPERATORS, 4, &list)) {
    return edge_reader_malformed(r, "subgraph", index, "operators");
  }
  r->operators += list.count;
  if (r->operators > r->model->limits.operators) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                     "subgraph %lld: expected at most %lld operators in all, got %lld", index,
                     (long long)r->model->limits.operators, (long long)r->operators);
  }
  graph->nodes = edge_reader_array(r, list.count, sizeof *graph->nodes);
  if (graph->nodes == NULL) return edge_no_memory(r->error);
  graph->node_count = (int32_t)list.count;
  for (uint32_t i = 0; i < list.count; i++) {
    edge_table table;
    if (!edge_vector_table(&list, i, &table)) {
      return edge_reader_malformed(r, "operator", i, "a table");
    }
    EDGE_TRY(read_operator(r, &table, &graph->nodes[i], i));
  }
  return EDGE_OK;
}

/* ---- who writes what --------------------------------------------------------------------- */

/* What provides a tensor, while the operators are walked in order. */
enum { NOTHING = 0, THE_FILE, A_WRITER };

/* An empty constant has no bytes either, and reading it reads nothing. */
static bool is_empty(const edge_tensor *tensor) {
  return tensor->rank > 0 && edge_count(tensor->shape, 0, tensor->rank) == 0;
}

static edge_status check_operator_order(edge_reader *r, const edge_node *node, uint8_t *provider) {
  const long long index = node - r->graph->nodes;
  for (int32_t i = 0; i < node->input_count; i++) {
    const int32_t t = node->inputs[i];
    if (t < 0 || provider[t] != NOTHING) continue;
    /* Empty, and so it stays: an operator behind this one may not give it elements. */
    provider[t] = THE_FILE;
    if (!is_empty(&r->graph->tensors[t])) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "operator %lld (%s): expected inputs that are written before it runs, got "
                       "tensor %lld, which is not",
                       index, node->op->name, (long long)t);
    }
  }
  for (int32_t i = 0; i < node->output_count; i++) {
    const int32_t t = node->outputs[i];
    if (provider[t] != NOTHING) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "operator %lld (%s): expected outputs that nothing else provides, got "
                       "tensor %lld, which is %s",
                       index, node->op->name, (long long)t,
                       provider[t] == THE_FILE ? "a constant or a variable"
                                               : "a graph input or another operator's output");
    }
    provider[t] = A_WRITER;
  }
  return EDGE_OK;
}

static edge_status walk_order(edge_reader *r, uint8_t *provider) {
  const edge_graph *graph = r->graph;
  for (int32_t i = 0; i < graph->tensor_count; i++) {
    const edge_tensor *tensor = &graph->tensors[i];
    if (tensor->data != NULL || tensor->variable) provider[i] = THE_FILE;
  }
  for (int32_t i = 0; i < graph->input_count; i++) provider[graph->inputs[i]] = A_WRITER;
  for (int32_t i = 0; i < graph->node_count; i++) {
    EDGE_TRY(check_operator_order(r, &graph->nodes[i], provider));
  }
  for (int32_t i = 0; i < graph->output_count; i++) {
    if (provider[graph->outputs[i]] == NOTHING) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "graph output %lld: expected a tensor that some operator writes, got "
                       "tensor %lld, which none does",
                       (long long)i, (long long)graph->outputs[i]);
    }
  }
  return EDGE_OK;
}

static edge_status check_order(edge_reader *r) {
  uint8_t *provider = calloc((size_t)r->graph->tensor_count + 1, sizeof *provider);
  if (provider == NULL) {
    return edge_fail(r->error, EDGE_OUT_OF_MEMORY, "expected memory for the graph, got none");
  }
  const edge_status status = walk_order(r, provider);
  free(provider);
  return status;
}

static edge_status read_graph_lists(edge_reader *r, const edge_table *subgraph) {
  edge_graph *graph = r->graph;
  EDGE_TRY(read_indices(r, subgraph, SUBGRAPH_INPUTS, "inputs of subgraph",
                        graph - r->model->graphs, 0, &graph->inputs, &graph->input_count));
  EDGE_TRY(read_indices(r, subgraph, SUBGRAPH_OUTPUTS, "outputs of subgraph",
                        graph - r->model->graphs, 0, &graph->outputs, &graph->output_count));
  graph->roles = edge_reader_array(r, (uint64_t)graph->tensor_count, sizeof *graph->roles);
  if (graph->roles == NULL) return edge_no_memory(r->error);
  for (int32_t i = 0; i < graph->input_count; i++) {
    graph->repeats_input |= graph->roles[graph->inputs[i]] != 0;
    graph->roles[graph->inputs[i]] = 1;
  }
  for (int32_t i = 0; i < graph->output_count; i++) graph->roles[graph->outputs[i]] = 1;
  for (int32_t i = 0; i < graph->input_count; i++) {
    if (graph->tensors[graph->inputs[i]].data != NULL) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "graph input %lld: expected a tensor that the caller writes, got tensor "
                       "%lld, which is a constant",
                       (long long)i, (long long)graph->inputs[i]);
    }
  }
  return EDGE_OK;
}

/* ---- the whole --------------------------------------------------------------------------- */

static edge_status read_root(edge_reader *r, edge_table *root, edge_vector *subgraphs) {
  int32_t version;
  if (r->file.size < 8 || memcmp(r->file.data + 4, "TFL3", 4) != 0) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "expected a .tflite file, with TFL3 at byte 4, got %llu other bytes",
                     (unsigned long long)r->file.size);
  }
  if (!edge_table_open(r->file, edge_load_u32(r->file.data), root) ||
      !edge_table_i32(root, MODEL_VERSION, 0, &version) ||
      !edge_table_vector(root, MODEL_OPERATOR_CODES, 4, &r->codes) ||
      !edge_table_vector(root, MODEL_BUFFERS, 4, &r->buffers) ||
      !edge_table_vector(root, MODEL_SUBGRAPHS, 4, subgraphs)) {
    return edge_reader_malformed(r, "model", 0, "a root table");
  }
  if (version != 3) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL, "expected schema version 3, got %lld",
                     (long long)version);
  }
  if (subgraphs->count > 0 && subgraphs->count <= EDGE_SUBGRAPHS_MAX) return EDGE_OK;
  return edge_fail(r->error, EDGE_MALFORMED_MODEL, "expected 1 ... %lld subgraphs, got %lld",
                   (long long)EDGE_SUBGRAPHS_MAX, (long long)subgraphs->count);
}

static edge_status read_subgraph(edge_reader *r, const edge_vector *subgraphs, uint32_t index) {
  edge_table table;
  r->graph = &r->model->graphs[index];
  if (!edge_vector_table(subgraphs, index, &table)) {
    return edge_reader_malformed(r, "subgraph", index, "a table");
  }
  EDGE_TRY(edge_read_tensors(r, &table));
  EDGE_TRY(read_operators(r, &table));
  EDGE_TRY(read_graph_lists(r, &table));
  return check_order(r);
}

edge_status edge_graph_read(edge_model *model, edge_bytes file, edge_error *error) {
  edge_reader r = {.model = model, .file = file, .error = error};
  edge_table root = {0};
  edge_vector subgraphs = {0};
  EDGE_TRY(read_root(&r, &root, &subgraphs));
  model->graphs = edge_reader_array(&r, subgraphs.count, sizeof *model->graphs);
  if (model->graphs == NULL) return edge_no_memory(error);
  model->graph_count = (int32_t)subgraphs.count;
  for (uint32_t i = 0; i < subgraphs.count; i++) {
    const edge_status status = read_subgraph(&r, &subgraphs, i);
    if (status != EDGE_OK) {
      edge_report_subgraph(error, i);
      return status;
    }
  }
  return edge_read_signatures(&r, &root);
}
