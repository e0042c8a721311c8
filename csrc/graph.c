/* .tflite bytes -> graph. Believes nothing: after this file, indices are in range, constants have
 * their bytes, and every operator's inputs are written before it runs.
 *
 * Order: identifier and root; operator codes; tensors; operators; graph inputs and outputs; who
 * writes what; signatures. Only subgraph 0 is read; the others are counted.
 *
 * Not checked here: types, shapes and quantization against the operators that use them. That is
 * for each operator's compile() and shape().
 *
 * Source: tflite/converter/schema/schema.fbs, tflite/core/interpreter_builder.cc in LiteRT.
 */
#include <stdlib.h>

#include "internal.h"

/* Names, scales and lists of tensors are read once for each table that names them: a file may make
 * many tables share one long list, so the sum is bounded and not only each one. */
enum { NAME_BYTES_MAX = 16 * 1024 * 1024, SCALES_MAX = 16 * 1024 * 1024, ENTRIES_MAX = 1 << 20 };
enum { INPUTS_MAX = 4096, SIGNATURES_MAX = 1024 };

typedef struct reader {
  edge_model *model;
  edge_bytes file;
  edge_error *error;
  edge_vector codes;
  edge_vector buffers;
  uint64_t name_bytes;
  uint64_t scales;
  uint64_t entries;
} reader;

static edge_status malformed(reader *r, const char *what, long long index, const char *expected) {
  return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                   "%s %lld: expected %s, got bytes outside of the file or of their table", what,
                   index, expected);
}

/* A name as bytes; copied when the file's bytes will go. */
static edge_status read_name(reader *r, const edge_table *table, uint32_t field, const char *what,
                             long long index, const char **name, uint32_t *size) {
  edge_vector text;
  if (!edge_table_vector(table, field, 1, &text)) return malformed(r, what, index, "a name");
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

/* ---- tensors ----------------------------------------------------------------------------- */

static edge_status read_shape(reader *r, const edge_vector *list, const char *what, long long index,
                              int32_t least, int32_t *rank, int32_t *shape) {
  if (list->count > EDGE_MAX_RANK) {
    return edge_fail(r->error, EDGE_UNSUPPORTED_OPERATOR,
                     "tensor %lld: expected a %s of rank at most %lld, got %lld", index, what,
                     (long long)EDGE_MAX_RANK, (long long)list->count);
  }
  *rank = (int32_t)list->count;
  for (uint32_t i = 0; i < list->count; i++) {
    shape[i] = edge_vector_i32(list, i);
    if (shape[i] < least) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "tensor %lld: expected %s entries of at least %lld, got %lld", index, what,
                       (long long)least, (long long)shape[i]);
    }
  }
  return EDGE_OK;
}

/* The bytes of a shape, or an error; types without a fixed size give 0. */
static edge_status shape_bytes(reader *r, const edge_tensor *tensor, long long index,
                               uint64_t *bytes) {
  const uint64_t size = edge_type_size(tensor->type);
  if (!edge_shape_bytes(tensor->shape, tensor->rank, size, r->model->limits.tensor_bytes, bytes)) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                     "tensor %lld: expected at most %llu bytes, got a shape for more", index,
                     (unsigned long long)r->model->limits.tensor_bytes);
  }
  if (size == 0) *bytes = tensor->type == EDGE_INT4 ? (*bytes + 1) / 2 : 0;
  return EDGE_OK;
}

/* Where a buffer's bytes lie: in its table, or, by `offset` and `size`, anywhere in the file. */
static edge_status read_buffer(reader *r, uint32_t buffer, long long index, const uint8_t **data,
                               uint64_t *size) {
  edge_table table;
  edge_vector bytes;
  uint64_t offset;
  uint64_t length;
  *data = NULL;
  *size = 0;
  if (buffer >= r->buffers.count) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected a buffer index below %lld, got %lld", index,
                     (long long)r->buffers.count, (long long)buffer);
  }
  if (!edge_vector_table(&r->buffers, buffer, &table) ||
      !edge_table_vector(&table, BUFFER_DATA, 1, &bytes) ||
      !edge_table_u64(&table, BUFFER_OFFSET, 0, &offset) ||
      !edge_table_u64(&table, BUFFER_SIZE, 0, &length)) {
    return malformed(r, "buffer", buffer, "a table with data");
  }
  if (bytes.count > 0) {
    *data = edge_vector_data(&bytes);
    *size = bytes.count;
  } else if (offset > 1) { /* 0 and 1 mean that there is none */
    if (!edge_inside(r->file, offset, length)) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "buffer %lld: expected external data within %llu bytes, got offset %llu "
                       "and size %llu",
                       (long long)buffer, (unsigned long long)r->file.size,
                       (unsigned long long)offset, (unsigned long long)length);
    }
    *data = length > 0 ? r->file.data + offset : NULL;
    *size = length;
  }
  return EDGE_OK;
}

static edge_status read_quantization(reader *r, const edge_table *table, edge_tensor *tensor,
                                     long long index) {
  edge_table quantization;
  uint8_t details;
  if (!edge_table_table(table, TENSOR_QUANTIZATION, &quantization) ||
      !edge_table_vector(&quantization, QUANTIZATION_SCALE, 4, &tensor->scale) ||
      !edge_table_vector(&quantization, QUANTIZATION_ZERO_POINT, 8, &tensor->zero_point) ||
      !edge_table_u8(&quantization, QUANTIZATION_DETAILS_TYPE, 0, &details) ||
      !edge_table_i32(&quantization, QUANTIZATION_DIMENSION, 0, &tensor->axis)) {
    return malformed(r, "tensor", index, "quantization");
  }
  if (details > 1) { /* 1, CustomQuantization, is a note for tools; blockwise changes the meaning */
    return edge_fail(r->error, EDGE_UNSUPPORTED_OPERATOR,
                     "tensor %lld: expected affine quantization, got details of kind %lld", index,
                     (long long)details);
  }
  r->scales += tensor->scale.count;
  if (r->scales > SCALES_MAX) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                     "tensor %lld: expected at most %lld scales in all, got %llu", index,
                     (long long)SCALES_MAX, (unsigned long long)r->scales);
  }
  if (tensor->scale.count != tensor->zero_point.count) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected as many zero points as scales, %lld, got %lld", index,
                     (long long)tensor->scale.count, (long long)tensor->zero_point.count);
  }
  const uint32_t scales = tensor->scale.count;
  if (scales <= 1) return EDGE_OK; /* one scale has no axis, whatever the file says */
  if (tensor->axis < 0 || tensor->axis >= tensor->rank) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected a quantized dimension in 0 ... %lld, got %lld", index,
                     (long long)tensor->rank - 1, (long long)tensor->axis);
  }
  if (tensor->shape[tensor->axis] != (int64_t)scales) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected %lld scales for dimension %lld, got %lld", index,
                     (long long)tensor->shape[tensor->axis], (long long)tensor->axis,
                     (long long)scales);
  }
  return EDGE_OK;
}

static edge_status read_constant(reader *r, const edge_table *table, edge_tensor *tensor,
                                 long long index) {
  uint32_t buffer;
  uint64_t wanted = 0;
  if (!edge_table_u32(table, TENSOR_BUFFER, 0, &buffer)) {
    return malformed(r, "tensor", index, "a buffer index");
  }
  EDGE_TRY(shape_bytes(r, tensor, index, &wanted));
  EDGE_TRY(read_buffer(r, buffer, index, &tensor->data, &tensor->data_size));
  if (tensor->data == NULL) return EDGE_OK;
  if (tensor->variable) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected a variable without data, got %llu bytes", index,
                     (unsigned long long)tensor->data_size);
  }
  if (tensor->data_size < wanted) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected %llu bytes of %s in buffer %lld, got %llu", index,
                     (unsigned long long)wanted, edge_type_name(tensor->type), (long long)buffer,
                     (unsigned long long)tensor->data_size);
  }
  tensor->is_constant = true;
  if (edge_type_size(tensor->type) != 0) tensor->data_size = wanted;
  return EDGE_OK;
}

static edge_status read_tensor(reader *r, const edge_table *table, edge_tensor *tensor,
                               long long index) {
  edge_vector shape;
  edge_vector signature;
  edge_table sparsity;
  int8_t type;
  if (!edge_table_vector(table, TENSOR_SHAPE, 4, &shape) ||
      !edge_table_vector(table, TENSOR_SHAPE_SIGNATURE, 4, &signature) ||
      !edge_table_table(table, TENSOR_SPARSITY, &sparsity) ||
      !edge_table_i8(table, TENSOR_TYPE, 0, &type) ||
      !edge_table_bool(table, TENSOR_IS_VARIABLE, false, &tensor->variable)) {
    return malformed(r, "tensor", index, "shape and type");
  }
  EDGE_TRY(read_shape(r, &shape, "shape", index, 0, &tensor->rank, tensor->shape));
  EDGE_TRY(read_shape(r, &signature, "shape signature", index, -1, &tensor->signature_rank,
                      tensor->signature));
  if (tensor->signature_rank != 0 && tensor->signature_rank != tensor->rank) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected a shape signature of rank %lld, got %lld", index,
                     (long long)tensor->rank, (long long)tensor->signature_rank);
  }
  if (type < 0 || type > EDGE_INT4) {
    return edge_fail(r->error, EDGE_UNSUPPORTED_OPERATOR,
                     "tensor %lld: expected a type in 0 ... %lld, got %lld", index,
                     (long long)EDGE_INT4, (long long)type);
  }
  if (sparsity.present) {
    return edge_fail(r->error, EDGE_UNSUPPORTED_OPERATOR,
                     "tensor %lld: expected dense data, got a sparse tensor", index);
  }
  tensor->type = (edge_type)type;
  EDGE_TRY(read_name(r, table, TENSOR_NAME, "tensor", index, &tensor->name, &tensor->name_size));
  EDGE_TRY(read_quantization(r, table, tensor, index));
  return read_constant(r, table, tensor, index);
}

/* ---- lists ------------------------------------------------------------------------------- */

static void *model_array(reader *r, uint64_t count, uint64_t size) {
  return edge_region_alloc(&r->model->region, count ? count : 1, size, r->error);
}

/* Counts a list of tensors. */
static edge_status count_entries(reader *r, const char *what, long long index, uint32_t count) {
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
static edge_status read_indices(reader *r, const edge_table *table, uint32_t field,
                                const char *what, long long index, int32_t least,
                                const int32_t **indices, int32_t *count) {
  edge_vector list;
  if (!edge_table_vector(table, field, 4, &list)) return malformed(r, what, index, "indices");
  EDGE_TRY(count_entries(r, what, index, list.count));
  int32_t *copy = model_array(r, list.count, sizeof *copy);
  if (copy == NULL) return edge_no_memory(r->error);
  for (uint32_t i = 0; i < list.count; i++) {
    copy[i] = edge_vector_i32(&list, i);
    if (copy[i] < least || copy[i] >= r->model->tensor_count) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "%s %lld: expected tensor indices in %lld ... %lld, got %lld", what, index,
                       (long long)least, (long long)r->model->tensor_count - 1, (long long)copy[i]);
    }
  }
  *indices = copy;
  *count = (int32_t)list.count;
  return EDGE_OK;
}

static edge_status read_tensors(reader *r, const edge_table *subgraph) {
  edge_vector list;
  if (!edge_table_vector(subgraph, SUBGRAPH_TENSORS, 4, &list)) {
    return malformed(r, "subgraph", 0, "tensors");
  }
  if (list.count == 0 || list.count > r->model->limits.tensors) {
    return edge_fail(r->error, list.count ? EDGE_LIMIT_EXCEEDED : EDGE_MALFORMED_MODEL,
                     "subgraph 0: expected 1 ... %lld tensors, got %lld",
                     (long long)r->model->limits.tensors, (long long)list.count);
  }
  r->model->tensors = model_array(r, list.count, sizeof *r->model->tensors);
  if (r->model->tensors == NULL) return edge_no_memory(r->error);
  r->model->tensor_count = (int32_t)list.count;
  for (uint32_t i = 0; i < list.count; i++) {
    edge_table table;
    if (!edge_vector_table(&list, i, &table)) return malformed(r, "tensor", i, "a table");
    EDGE_TRY(read_tensor(r, &table, &r->model->tensors[i], i));
  }
  return EDGE_OK;
}

/* ---- operators --------------------------------------------------------------------------- */

static edge_status read_code(reader *r, uint32_t code_index, long long index, edge_node *node) {
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
    return malformed(r, "operator code", code_index, "a table");
  }
  /* The old field is a byte and holds 127 for all newer codes. */
  if (code < old) code = old;
  if (code < 0) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "operator %lld: expected an operator code of at least 0, got %lld", index,
                     (long long)code);
  }
  node->op = edge_operator_find(code);
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

static edge_status read_operator(reader *r, const edge_table *table, edge_node *node,
                                 long long index) {
  uint32_t code;
  uint8_t options;
  if (!edge_table_u32(table, OPERATOR_OPCODE_INDEX, 0, &code) ||
      !edge_table_u8(table, OPERATOR_OPTIONS_TYPE, 0, &options) ||
      !edge_table_table(table, OPERATOR_OPTIONS, &node->options)) {
    return malformed(r, "operator", index, "a table");
  }
  EDGE_TRY(read_code(r, code, index, node));
  EDGE_TRY(read_indices(r, table, OPERATOR_INPUTS, "operator", index, -1, &node->inputs,
                        &node->input_count));
  EDGE_TRY(read_indices(r, table, OPERATOR_OUTPUTS, "operator", index, 0, &node->outputs,
                        &node->output_count));
  if (node->options.present && options != node->op->options_type) {
    /* Reading one options table as another would give numbers that mean something else. */
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "operator %lld (%s): expected options of kind %lld, got %lld", index,
                     node->op->name, (long long)node->op->options_type, (long long)options);
  }
  return EDGE_OK;
}

static edge_status read_operators(reader *r, const edge_table *subgraph) {
  edge_vector list;
  if (!edge_table_vector(subgraph, SUBGRAPH_OPERATORS, 4, &list)) {
    return malformed(r, "subgraph", 0, "operators");
  }
  if (list.count > r->model->limits.operators) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                     "subgraph 0: expected at most %lld operators, got %lld",
                     (long long)r->model->limits.operators, (long long)list.count);
  }
  r->model->nodes = model_array(r, list.count, sizeof *r->model->nodes);
  if (r->model->nodes == NULL) return edge_no_memory(r->error);
  r->model->node_count = (int32_t)list.count;
  for (uint32_t i = 0; i < list.count; i++) {
    edge_table table;
    if (!edge_vector_table(&list, i, &table)) return malformed(r, "operator", i, "a table");
    EDGE_TRY(read_operator(r, &table, &r->model->nodes[i], i));
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

static edge_status check_operator_order(reader *r, const edge_node *node, uint8_t *provider) {
  const long long index = node - r->model->nodes;
  for (int32_t i = 0; i < node->input_count; i++) {
    const int32_t t = node->inputs[i];
    if (t < 0 || provider[t] != NOTHING) continue;
    /* Empty, and so it stays: an operator behind this one may not give it elements. */
    provider[t] = THE_FILE;
    if (!is_empty(&r->model->tensors[t])) {
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

static edge_status walk_order(reader *r, uint8_t *provider) {
  const edge_model *model = r->model;
  for (int32_t i = 0; i < model->tensor_count; i++) {
    const edge_tensor *tensor = &model->tensors[i];
    if (tensor->data != NULL || tensor->variable) provider[i] = THE_FILE;
  }
  for (int32_t i = 0; i < model->input_count; i++) provider[model->inputs[i]] = A_WRITER;
  for (int32_t i = 0; i < model->node_count; i++) {
    EDGE_TRY(check_operator_order(r, &model->nodes[i], provider));
  }
  for (int32_t i = 0; i < model->output_count; i++) {
    if (provider[model->outputs[i]] == NOTHING) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "graph output %lld: expected a tensor that some operator writes, got "
                       "tensor %lld, which none does",
                       (long long)i, (long long)model->outputs[i]);
    }
  }
  return EDGE_OK;
}

static edge_status check_order(reader *r) {
  uint8_t *provider = calloc((size_t)r->model->tensor_count, sizeof *provider);
  if (provider == NULL) {
    return edge_fail(r->error, EDGE_OUT_OF_MEMORY, "expected memory for the graph, got none");
  }
  const edge_status status = walk_order(r, provider);
  free(provider);
  return status;
}

static edge_status read_graph_lists(reader *r, const edge_table *subgraph) {
  edge_model *model = r->model;
  EDGE_TRY(read_indices(r, subgraph, SUBGRAPH_INPUTS, "inputs of subgraph", 0, 0, &model->inputs,
                        &model->input_count));
  EDGE_TRY(read_indices(r, subgraph, SUBGRAPH_OUTPUTS, "outputs of subgraph", 0, 0, &model->outputs,
                        &model->output_count));
  model->roles = model_array(r, (uint64_t)model->tensor_count, sizeof *model->roles);
  if (model->roles == NULL) return edge_no_memory(r->error);
  for (int32_t i = 0; i < model->input_count; i++) model->roles[model->inputs[i]] = 1;
  for (int32_t i = 0; i < model->output_count; i++) model->roles[model->outputs[i]] = 1;
  for (int32_t i = 0; i < model->input_count; i++) {
    if (model->tensors[model->inputs[i]].data != NULL) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "graph input %lld: expected a tensor that the caller writes, got tensor "
                       "%lld, which is a constant",
                       (long long)i, (long long)model->inputs[i]);
    }
  }
  return EDGE_OK;
}

/* ---- signatures -------------------------------------------------------------------------- */

static edge_status read_signature_entries(reader *r, const edge_vector *list, long long index,
                                          bool main, edge_signature_entry *entries) {
  for (uint32_t i = 0; i < list->count; i++) {
    edge_table table;
    uint32_t tensor;
    uint32_t size = 0;
    if (!edge_vector_table(list, i, &table) ||
        !edge_table_u32(&table, TENSOR_MAP_INDEX, 0, &tensor)) {
      return malformed(r, "signature", index, "a tensor map");
    }
    EDGE_TRY(read_name(r, &table, TENSOR_MAP_NAME, "signature", index, &entries[i].name, &size));
    entries[i].name_size = size;
    if (tensor > INT32_MAX || (main && (int64_t)tensor >= r->model->tensor_count)) {
      return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                       "signature %lld: expected tensor indices below %lld, got %lld", index,
                       (long long)r->model->tensor_count, (long long)tensor);
    }
    entries[i].tensor = (int32_t)tensor;
  }
  return EDGE_OK;
}

static edge_status read_signature(reader *r, const edge_table *table, edge_signature *signature,
                                  long long index) {
  edge_vector inputs;
  edge_vector outputs;
  if (!edge_table_vector(table, SIGNATURE_INPUTS, 4, &inputs) ||
      !edge_table_vector(table, SIGNATURE_OUTPUTS, 4, &outputs) ||
      !edge_table_u32(table, SIGNATURE_SUBGRAPH, 0, &signature->subgraph)) {
    return malformed(r, "signature", index, "a table");
  }
  EDGE_TRY(count_entries(r, "signature", index, inputs.count));
  EDGE_TRY(count_entries(r, "signature", index, outputs.count));
  if (signature->subgraph >= (uint32_t)r->model->subgraph_count) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "signature %lld: expected a subgraph below %lld, got %lld", index,
                     (long long)r->model->subgraph_count, (long long)signature->subgraph);
  }
  EDGE_TRY(read_name(r, table, SIGNATURE_KEY, "signature", index, &signature->key,
                     &signature->key_size));
  signature->entries =
      model_array(r, (uint64_t)inputs.count + outputs.count, sizeof *signature->entries);
  if (signature->entries == NULL) return edge_no_memory(r->error);
  signature->input_count = (int32_t)inputs.count;
  signature->output_count = (int32_t)outputs.count;
  const bool main = signature->subgraph == 0;
  EDGE_TRY(read_signature_entries(r, &inputs, index, main, signature->entries));
  return read_signature_entries(r, &outputs, index, main, signature->entries + inputs.count);
}

static edge_status read_signatures(reader *r, const edge_table *root) {
  edge_vector list;
  if (!edge_table_vector(root, MODEL_SIGNATURE_DEFS, 4, &list)) {
    return malformed(r, "model", 0, "signatures");
  }
  if (list.count > SIGNATURES_MAX) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED, "expected at most %lld signatures, got %lld",
                     (long long)SIGNATURES_MAX, (long long)list.count);
  }
  r->model->signatures = model_array(r, list.count, sizeof *r->model->signatures);
  if (r->model->signatures == NULL) return edge_no_memory(r->error);
  r->model->signature_count = (int32_t)list.count;
  for (uint32_t i = 0; i < list.count; i++) {
    edge_table table;
    if (!edge_vector_table(&list, i, &table)) return malformed(r, "signature", i, "a table");
    EDGE_TRY(read_signature(r, &table, &r->model->signatures[i], i));
  }
  return EDGE_OK;
}

/* ---- the whole --------------------------------------------------------------------------- */

static edge_status read_root(reader *r, edge_table *root, edge_table *subgraph) {
  edge_vector subgraphs;
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
      !edge_table_vector(root, MODEL_SUBGRAPHS, 4, &subgraphs)) {
    return malformed(r, "model", 0, "a root table");
  }
  if (version != 3) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL, "expected schema version 3, got %lld",
                     (long long)version);
  }
  if (subgraphs.count == 0 || subgraphs.count > SIGNATURES_MAX) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL, "expected 1 ... %lld subgraphs, got %lld",
                     (long long)SIGNATURES_MAX, (long long)subgraphs.count);
  }
  r->model->subgraph_count = (int32_t)subgraphs.count;
  if (!edge_vector_table(&subgraphs, 0, subgraph)) return malformed(r, "subgraph", 0, "a table");
  return EDGE_OK;
}

edge_status edge_graph_read(edge_model *model, edge_bytes file, edge_error *error) {
  reader r = {.model = model, .file = file, .error = error};
  edge_table root = {0};
  edge_table subgraph = {0};
  EDGE_TRY(read_root(&r, &root, &subgraph));
  EDGE_TRY(read_tensors(&r, &subgraph));
  EDGE_TRY(read_operators(&r, &subgraph));
  EDGE_TRY(read_graph_lists(&r, &subgraph));
  EDGE_TRY(check_order(&r));
  return read_signatures(&r, &root);
}
