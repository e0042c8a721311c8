/* Tensors of a .tflite file: names, shapes, types, quantization, and where constants lie. */
#include "graph.h"

enum {
  SCALES_MAX = 16 * 1024 * 1024,
  PADDING_MAX = 16, /* bytes behind a constant: what writers align buffers to */
};

static edge_status read_shape(edge_reader *r, const edge_vector *list, const char *what,
                              long long index, int32_t least, int32_t *rank, int32_t *shape) {
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
static edge_status shape_bytes(edge_reader *r, const edge_tensor *tensor, long long index,
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
static edge_status read_buffer(edge_reader *r, uint32_t buffer, long long index,
                               const uint8_t **data, uint64_t *size) {
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
    return edge_reader_malformed(r, "buffer", buffer, "a table with data");
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

static edge_status read_quantization(edge_reader *r, const edge_table *table, edge_tensor *tensor,
                                     long long index) {
  edge_table quantization;
  uint8_t details;
  if (!edge_table_table(table, TENSOR_QUANTIZATION, &quantization) ||
      !edge_table_vector(&quantization, QUANTIZATION_SCALE, 4, &tensor->scale) ||
      !edge_table_vector(&quantization, QUANTIZATION_ZERO_POINT, 8, &tensor->zero_point) ||
      !edge_table_u8(&quantization, QUANTIZATION_DETAILS_TYPE, 0, &details) ||
      !edge_table_i32(&quantization, QUANTIZATION_DIMENSION, 0, &tensor->axis)) {
    return edge_reader_malformed(r, "tensor", index, "quantization");
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

static edge_status read_constant(edge_reader *r, const edge_table *table, edge_tensor *tensor,
                                 long long index) {
  uint32_t buffer;
  uint64_t wanted = 0;
  if (!edge_table_u32(table, TENSOR_BUFFER, 0, &buffer)) {
    return edge_reader_malformed(r, "tensor", index, "a buffer index");
  }
  EDGE_TRY(shape_bytes(r, tensor, index, &wanted));
  EDGE_TRY(read_buffer(r, buffer, index, &tensor->data, &tensor->data_size));
  if (tensor->data == NULL) return EDGE_OK;
  if (tensor->variable) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected a variable without data, got %llu bytes", index,
                     (unsigned long long)tensor->data_size);
  }
  tensor->is_constant = true;
  if (tensor->sparsity.present) return EDGE_OK; /* sparse.c checks what it expands */
  const bool counted = edge_type_size(tensor->type) != 0 || tensor->type == EDGE_INT4;
  if (!counted) return EDGE_OK;
  /* LiteRT reads the first of however many bytes there are. Writers do pad; but with a value more
   * than padding holds, the shape is not that of the values: half the depth would be two groups. */
  if (tensor->data_size < wanted || tensor->data_size - wanted >= PADDING_MAX) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected %llu bytes of %s in buffer %lld, got %llu", index,
                     (unsigned long long)wanted, edge_type_name(tensor->type), (long long)buffer,
                     (unsigned long long)tensor->data_size);
  }
  tensor->data_size = wanted;
  return EDGE_OK;
}

static edge_status read_tensor(edge_reader *r, const edge_table *table, edge_tensor *tensor,
                               long long index) {
  edge_vector shape;
  edge_vector signature;
  int8_t type;
  if (!edge_table_vector(table, TENSOR_SHAPE, 4, &shape) ||
      !edge_table_vector(table, TENSOR_SHAPE_SIGNATURE, 4, &signature) ||
      !edge_table_table(table, TENSOR_SPARSITY, &tensor->sparsity) ||
      !edge_table_i8(table, TENSOR_TYPE, 0, &type) ||
      !edge_table_bool(table, TENSOR_IS_VARIABLE, false, &tensor->variable)) {
    return edge_reader_malformed(r, "tensor", index, "shape and type");
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
  tensor->type = (edge_type)type;
  EDGE_TRY(
      edge_read_name(r, table, TENSOR_NAME, "tensor", index, &tensor->name, &tensor->name_size));
  EDGE_TRY(read_quantization(r, table, tensor, index));
  return read_constant(r, table, tensor, index);
}

edge_status edge_read_tensors(edge_reader *r, const edge_table *subgraph) {
  const long long index = r->graph - r->model->graphs;
  edge_vector list;
  if (!edge_table_vector(subgraph, SUBGRAPH_TENSORS, 4, &list)) {
    return edge_reader_malformed(r, "subgraph", index, "tensors");
  }
  r->tensors += list.count;
  if (r->tensors > r->model->limits.tensors) {
    return edge_fail(r->error, EDGE_LIMIT_EXCEEDED,
                     "subgraph %lld: expected at most %lld tensors in all, got %lld", index,
                     (long long)r->model->limits.tensors, (long long)r->tensors);
  }
  if (list.count == 0 && index == 0) {
    return edge_fail(r->error, EDGE_MALFORMED_MODEL,
                     "subgraph 0: expected 1 or more tensors, got 0");
  }
  r->graph->tensors = edge_reader_array(r, list.count, sizeof *r->graph->tensors);
  if (r->graph->tensors == NULL) return edge_no_memory(r->error);
  r->graph->tensor_count = (int32_t)list.count;
  for (uint32_t i = 0; i < list.count; i++) {
    edge_table table;
    if (!edge_vector_table(&list, i, &table)) {
      return edge_reader_malformed(r, "tensor", i, "a table");
    }
    EDGE_TRY(read_tensor(r, &table, &r->graph->tensors[i], i));
  }
  return EDGE_OK;
}
