/* Sparse constants -> dense ones.
 *
 * The tensor's dimensions are walked in traversal order, blocks last: such an expanded dimension is
 * a level. A dense level has all of its indices; of a sparse one the nodes of the level above each
 * have a segment of a list. So levels make a tree whose leaves are the elements in the data.
 *
 * Everything is checked level by level before the walk. Indices ascend in their segment, so that a
 * level has no more nodes than the tensor has elements, and the work is that of the dense tensor.
 *
 * Source: SparsityParameters in tflite/converter/schema/schema.fbs; tflite/kernels/internal/utils/
 * sparsity_format_converter.cc.
 */
#include "sparse.h"

enum { LEVELS_MAX = 2 * EDGE_MAX_RANK, DENSE = 0, SPARSE_CSR = 1 };
enum { INT32_VECTOR = 1, UINT16_VECTOR = 2, UINT8_VECTOR = 3 };

typedef struct sparse_list {
  edge_vector values;
  uint8_t kind;
} sparse_list;

typedef struct sparse_level {
  int32_t dimension; /* expanded: the tensor's, then the blocks' */
  bool sparse;
  int32_t size;   /* of the dimension */
  int64_t stride; /* elements of the dense tensor */
  sparse_list segments, indices;
} sparse_level;

typedef struct sparse_tree {
  edge_compiler *compiler;
  const edge_tensor *tensor;
  long long index;
  int32_t levels, blocks;
  int32_t block_map[EDGE_MAX_RANK];
  sparse_level level[LEVELS_MAX];
} sparse_tree;

#define sparse_fail(tree, format, ...)                                                      \
  edge_fail((tree)->compiler->error, EDGE_MALFORMED_MODEL, "tensor %lld: expected " format, \
            (tree)->index, __VA_ARGS__)

static edge_status outside(const sparse_tree *tree, const char *what) {
  return sparse_fail(tree, "%s of its sparsity, got bytes outside of the file or of their table",
                     what);
}

static int64_t list_at(const sparse_list *list, int64_t i) {
  const uint8_t *data = edge_vector_data(&list->values);
  if (list->kind == INT32_VECTOR) return edge_load_i32(data + i * 4);
  return list->kind == UINT16_VECTOR ? edge_load_u16(data + i * 2) : data[i];
}

/* ---- reading ----------------------------------------------------------------------------- */

static edge_status read_list(const sparse_tree *tree, const edge_table *metadata, uint32_t type,
                             sparse_list *list) {
  edge_table table;
  if (!edge_table_u8(metadata, type, 0, &list->kind) ||
      !edge_table_table(metadata, type + 1, &table)) {
    return outside(tree, "a list");
  }
  if (list->kind < INT32_VECTOR || list->kind > UINT8_VECTOR) {
    return sparse_fail(tree, "lists of kind 1 ... 3 in its sparsity, got %lld",
                       (long long)list->kind);
  }
  const uint32_t element = list->kind == INT32_VECTOR ? 4 : list->kind == UINT16_VECTOR ? 2 : 1;
  return edge_table_vector(&table, 0, element, &list->values) ? EDGE_OK : outside(tree, "a list");
}

static edge_status read_level(const sparse_tree *tree, const edge_vector *list, uint32_t i,
                              sparse_level *level) {
  edge_table table;
  int8_t format;
  if (!edge_vector_table(list, i, &table) ||
      !edge_table_i8(&table, DIMENSION_FORMAT, DENSE, &format) ||
      !edge_table_i32(&table, DIMENSION_DENSE_SIZE, 0, &level->size)) {
    return outside(tree, "a dimension");
  }
  if (format != DENSE && format != SPARSE_CSR) {
    return sparse_fail(tree, "dimensions of format 0 or 1 in its sparsity, got %lld",
                       (long long)format);
  }
  level->sparse = format == SPARSE_CSR;
  if (!level->sparse) return EDGE_OK;
  EDGE_TRY(read_list(tree, &table, DIMENSION_SEGMENTS_TYPE, &level->segments));
  return read_list(tree, &table, DIMENSION_INDICES_TYPE, &level->indices);
}

/* Dimensions of the tensor that are cut into blocks, ascending. */
static edge_status read_blocks(sparse_tree *tree, const edge_vector *list) {
  tree->blocks = (int32_t)list->count;
  for (int32_t b = 0; b < tree->blocks; b++) {
    const int32_t least = b > 0 ? tree->block_map[b - 1] + 1 : 0;
    tree->block_map[b] = edge_vector_i32(list, (uint32_t)b);
    if (tree->block_map[b] < least || tree->block_map[b] >= tree->tensor->rank) {
      return sparse_fail(tree, "blocks of dimension %lld ... %lld in its sparsity, got %lld",
                         (long long)least, (long long)tree->tensor->rank - 1,
                         (long long)tree->block_map[b]);
    }
  }
  return EDGE_OK;
}

/* A permutation of the tensor's dimensions, then one of the blocks'. */
static edge_status read_order(sparse_tree *tree, const edge_vector *order) {
  bool seen[LEVELS_MAX] = {false};
  for (int32_t i = 0; i < tree->levels; i++) {
    const bool block = i >= tree->tensor->rank;
    const int32_t least = block ? tree->tensor->rank : 0;
    const int32_t most = block ? tree->levels - 1 : tree->tensor->rank - 1;
    const int32_t d = edge_vector_i32(order, (uint32_t)i);
    if (d < least || d > most || seen[d]) {
      return sparse_fail(tree, "each of %lld ... %lld once in its traversal order, got %lld",
                         (long long)least, (long long)most, (long long)d);
    }
    seen[d] = true;
    tree->level[i].dimension = d;
  }
  return EDGE_OK;
}

static edge_status read_tree(sparse_tree *tree) {
  const edge_table *sparsity = &tree->tensor->sparsity;
  edge_vector order;
  edge_vector blocks;
  edge_vector levels;
  if (!edge_table_vector(sparsity, SPARSITY_TRAVERSAL_ORDER, 4, &order) ||
      !edge_table_vector(sparsity, SPARSITY_BLOCK_MAP, 4, &blocks) ||
      !edge_table_vector(sparsity, SPARSITY_DIM_METADATA, 4, &levels)) {
    return outside(tree, "lists");
  }
  const uint64_t wanted = (uint64_t)tree->tensor->rank + blocks.count;
  if (blocks.count > EDGE_MAX_RANK || order.count != wanted || levels.count != wanted) {
    return sparse_fail(tree,
                       "%lld dimensions and as many as there are blocks, %lld, in its sparsity, "
                       "got %lld in order, %lld described",
                       (long long)tree->tensor->rank, (long long)blocks.count,
                       (long long)order.count, (long long)levels.count);
  }
  tree->levels = (int32_t)wanted;
  EDGE_TRY(read_blocks(tree, &blocks));
  EDGE_TRY(read_order(tree, &order));
  for (int32_t i = 0; i < tree->levels; i++) {
    EDGE_TRY(read_level(tree, &levels, (uint32_t)i, &tree->level[i]));
  }
  return EDGE_OK;
}

/* ---- checking ---------------------------------------------------------------------------- */

/* Sizes and strides of the expanded dimensions: a dimension in blocks counts blocks. */
static edge_status find_dimensions(const sparse_tree *tree, int32_t *sizes, int64_t *strides) {
  const edge_tensor *tensor = tree->tensor;
  for (int32_t d = 0; d < tensor->rank; d++) {
    sizes[d] = tensor->shape[d];
    strides[d] = edge_count(tensor->shape, d + 1, tensor->rank);
  }
  for (int32_t i = tensor->rank; i < tree->levels; i++) {
    const sparse_level *level = &tree->level[i];
    const int32_t d = tree->block_map[level->dimension - tensor->rank];
    if (level->sparse || level->size < 1 || sizes[d] % level->size != 0) {
      return sparse_fail(tree, "dense blocks that divide dimension %lld of %lld, got %s of %lld",
                         (long long)d, (long long)sizes[d], level->sparse ? "sparse ones" : "some",
                         (long long)level->size);
    }
    sizes[level->dimension] = level->size;
    strides[level->dimension] = strides[d];
    sizes[d] /= level->size;
    strides[d] *= level->size;
  }
  return EDGE_OK;
}

/* Indices of one node ascend within the dimension. */
static edge_status check_segment(const sparse_tree *tree, const sparse_level *level, int64_t from,
                                 int64_t to) {
  int64_t least = 0;
  for (int64_t i = from; i < to; i++) {
    const int64_t index = list_at(&level->indices, i);
    if (index < least || index >= level->size) {
      return sparse_fail(tree, "indices in its sparsity of %lld ... %lld here, got %lld",
                         (long long)least, (long long)level->size - 1, (long long)index);
    }
    least = index + 1;
  }
  return EDGE_OK;
}

static edge_status check_lists(const sparse_tree *tree, const sparse_level *level, int64_t nodes) {
  const int64_t count = level->indices.values.count;
  if (level->segments.values.count != nodes + 1) {
    return sparse_fail(tree, "%lld segments' ends in its sparsity, got %lld", (long long)nodes + 1,
                       (long long)level->segments.values.count);
  }
  int64_t from = 0;
  for (int64_t i = 0; i <= nodes; i++) {
    const int64_t to = list_at(&level->segments, i);
    const bool fits = i == 0 ? to == 0 : i == nodes ? to == count : to <= count;
    if (to < from || !fits) {
      return sparse_fail(tree, "segments' ends that ascend from 0 to %lld, got %lld at %lld",
                         (long long)count, (long long)to, (long long)i);
    }
    EDGE_TRY(check_segment(tree, level, from, to));
    from = to;
  }
  return EDGE_OK;
}

static edge_status check_levels(sparse_tree *tree, int64_t *leaves) {
  int32_t sizes[LEVELS_MAX];
  int64_t strides[LEVELS_MAX];
  EDGE_TRY(find_dimensions(tree, sizes, strides));
  *leaves = 1;
  for (int32_t i = 0; i < tree->levels; i++) {
    sparse_level *level = &tree->level[i];
    const int32_t size = sizes[level->dimension];
    if (!level->sparse && level->size != size) {
      return sparse_fail(tree, "a dense dimension of %lld in its sparsity, got %lld",
                         (long long)size, (long long)level->size);
    }
    level->size = size;
    level->stride = strides[level->dimension];
    if (level->sparse) EDGE_TRY(check_lists(tree, level, *leaves));
    *leaves = level->sparse ? (int64_t)level->indices.values.count : *leaves * size;
  }
  return EDGE_OK;
}

static edge_status check_data(const sparse_tree *tree, int64_t leaves) {
  const edge_tensor *tensor = tree->tensor;
  const uint64_t wanted = (uint64_t)leaves * edge_type_size(tensor->type);
  if (tensor->data_size >= wanted) return EDGE_OK;
  return sparse_fail(tree, "%llu bytes of sparse %s, got %llu", (unsigned long long)wanted,
                     edge_type_name(tensor->type), (unsigned long long)tensor->data_size);
}

/* ---- expanding --------------------------------------------------------------------------- */

typedef struct sparse_walk {
  const sparse_tree *tree;
  uint64_t size; /* of an element */
  const uint8_t *from;
  uint8_t *to;
} sparse_walk;

/* Leaves below one node, in order; `place` is the node's place in the dense tensor. */
static void walk(sparse_walk *w, int32_t depth, int64_t node, int64_t place) {
  const sparse_level *level = &w->tree->level[depth];
  if (depth == w->tree->levels) {
    memcpy(w->to + (uint64_t)place * w->size, w->from, w->size);
    w->from += w->size;
    return;
  }
  const int64_t from = level->sparse ? list_at(&level->segments, node) : node * level->size;
  const int64_t to = level->sparse ? list_at(&level->segments, node + 1) : from + level->size;
  for (int64_t i = from; i < to; i++) {
    const int64_t index = level->sparse ? list_at(&level->indices, i) : i - from;
    walk(w, depth + 1, i, place + index * level->stride);
  }
}

edge_status edge_sparse_expand(edge_compiler *compiler, edge_tensor *tensor) {
  const uint64_t size = edge_type_size(tensor->type);
  const uint64_t count = edge_stored_count(tensor);
  const long long index = tensor - compiler->graph->tensors;
  sparse_tree tree = {.compiler = compiler, .tensor = tensor, .index = index};
  int64_t leaves = 0;
  if (tensor->type != EDGE_FLOAT32 && tensor->type != EDGE_FLOAT16 && tensor->type != EDGE_INT8) {
    return edge_fail(compiler->error, EDGE_UNSUPPORTED_OPERATOR,
                     "tensor %lld: expected sparse data of float32, float16 or int8, got %s", index,
                     edge_type_name(tensor->type));
  }
  if (count == 0) {
    return edge_fail(compiler->error, EDGE_MALFORMED_MODEL,
                     "tensor %lld: expected sparse data with elements, got an empty shape", index);
  }
  EDGE_TRY(read_tree(&tree));
  EDGE_TRY(check_levels(&tree, &leaves));
  EDGE_TRY(check_data(&tree, leaves));
  uint8_t *dense = edge_region_alloc(&compiler->temporary, count, size, compiler->error);
  if (dense == NULL) return edge_no_memory(compiler->error);
  sparse_walk w = {.tree = &tree, .size = size, .from = tensor->data, .to = dense};
  walk(&w, 0, 0, 0);
  tensor->data = dense;
  tensor->data_size = count * size;
  tensor->folded = true;
  return EDGE_OK;
}
