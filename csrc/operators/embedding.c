/* EMBEDDING_LOOKUP: rows of a table, copied, or of an int8 table as float32, with one scale or one
 * for each row.
 *
 * Source: tflite/kernels/embedding_lookup.cc.
 */
#include "../movement.h"
#include "../operators.h"

typedef struct embedding_params {
  bool hybrid;
  uint32_t scale_count;
  float scales[];
} embedding_params;

static edge_status read_scales(edge_compiler *c, edge_node *node) {
  const edge_tensor *table = edge_node_input(c, node, 1);
  const uint32_t count = table->scale.count;
  const bool hybrid =
      table->type == EDGE_INT8 && edge_node_output(c, node, 0)->type == EDGE_FLOAT32;
  embedding_params *p =
      edge_node_params(c, node, sizeof *p + (hybrid ? count * sizeof *p->scales : 0));
  if (p == NULL) return edge_no_memory(c->error);
  p->hybrid = hybrid;
  if (!hybrid) return EDGE_OK;
  EDGE_TRY(edge_expect_scales(c, node, table, "a table", 0));
  if (count != 1 && (table->rank == 0 || count != (uint32_t)table->shape[0])) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected one scale or one for each row, got %lld", (long long)count);
  }
  p->scale_count = count;
  for (uint32_t i = 0; i < count; i++) p->scales[i] = edge_scale_at(table, (int32_t)i);
  return EDGE_OK;
}

static edge_status embedding_compile(edge_compiler *c, edge_node *node) {
  edge_tensor *table = edge_node_input(c, node, 1);
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "indices", EDGE_INT32));
  EDGE_TRY(read_scales(c, node));
  const embedding_params *p = node->params;
  node->kernel = p->hybrid ? "int8 to f32" : "copy";
  if (!p->hybrid) EDGE_TRY(edge_expect_movable(c, node, table, edge_node_output(c, node, 0)));
  return edge_keep(c, table);
}

static edge_status embedding_shape(edge_planner *planner, edge_step *step) {
  const embedding_params *p = step->node->params;
  const edge_view *indices = edge_view_in(planner, step, 0);
  const edge_view *table = edge_view_in(planner, step, 1);
  int32_t shape[EDGE_MAX_RANK];
  bool ok = indices->rank == 1 && table->rank >= 2;
  ok = ok && (p->scale_count <= 1 || p->scale_count == (uint32_t)table->shape[0]);
  if (!ok) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a list of indices and a table of rows, got ranks %lld and %lld",
                          (long long)indices->rank, (long long)table->rank);
  }
  memcpy(shape, table->shape, sizeof shape);
  shape[0] = indices->shape[0];
  return edge_set_shape(planner, step, 0, table->rank, shape);
}

static edge_status embedding_perform(edge_planner *planner, edge_step *step) {
  const embedding_params *p = step->node->params;
  const edge_view *table = edge_view_in(planner, step, 1);
  const int32_t *indices = edge_in(planner->frame, step, 0);
  const int64_t row = edge_count(table->shape, 1, table->rank);
  const int64_t bytes = row * edge_element_in(planner, step, 1);
  uint8_t *out = edge_out(planner->frame, step, 0);
  for (int32_t i = 0; i < edge_view_in(planner, step, 0)->shape[0]; i++) {
    const int32_t index = indices[i];
    if (index < 0 || index >= table->shape[0]) {
      return edge_step_fail(planner, step, edge_value_status(planner),
                            "expected indices in 0 ... %lld, got %lld",
                            (long long)table->shape[0] - 1, (long long)index);
    }
    const uint8_t *from = (const uint8_t *)table->data + index * bytes;
    if (!p->hybrid) {
      memcpy(out + i * bytes, from, (size_t)bytes);
      continue;
    }
    const float scale = p->scales[p->scale_count > 1 ? index : 0];
    float *to = (float *)(void *)out + i * row;
    for (int64_t k = 0; k < row; k++) to[k] = (float)((const int8_t *)from)[k] * scale;
  }
  return EDGE_OK;
}

const edge_operator edge_operator_embedding_lookup = {
    .code = 7,
    .name = "EMBEDDING_LOOKUP",
    .version_max = 5,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = embedding_compile,
    .shape = embedding_shape,
    .perform = embedding_perform,
};
