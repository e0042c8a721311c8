/* Shapes -> places in the arena.
 *
 * Every tensor lives from the step that writes it to the last step that reads it; graph inputs and
 * outputs live from start to end; scratch lives for its own step. Tensors that share memory
 * (RESHAPE) live as one. Placing is greedy by size: the largest first, each at the lowest
 * offset at which it meets nobody who lives at the same time. This is the method that TensorFlow
 * Lite Micro and XNNPACK found good enough: within a few percent of the largest sum of live
 * tensors. It looks at every pair; where a file makes too many pairs of that, the smallest, which
 * come last, are put behind all others and share nothing.
 */
#include <stdlib.h>

#include "internal.h"

/* One thing that needs a place. */
typedef struct lodger {
  uint64_t size;
  uint64_t offset;
  int32_t first, last; /* steps, inclusive */
} lodger;

/* ---- what shape() functions call --------------------------------------------------------- */

edge_status edge_set_shape(edge_planner *planner, const edge_step *step, int32_t i, int32_t rank,
                           const int32_t *shape) {
  edge_interpreter *interpreter = planner->interpreter;
  const int32_t index = step->node->outputs[i];
  const edge_tensor *tensor = &interpreter->model->tensors[index];
  edge_view *view = &interpreter->views[index];
  const uint64_t most = interpreter->model->limits.tensor_bytes;
  view->rank = rank;
  for (int32_t d = 0; d < rank; d++) {
    if (shape[d] < 0) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected an output shape of entries of at least 0, got %lld",
                            (long long)shape[d]);
    }
    view->shape[d] = shape[d];
  }
  if (edge_shape_bytes(shape, rank, edge_type_size(tensor->type), most, &view->bytes)) {
    return EDGE_OK;
  }
  return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                        "expected an output of at most %llu bytes, got more",
                        (unsigned long long)most);
}

edge_status edge_expect_image(edge_planner *planner, const edge_step *step, const edge_view *input,
                              int32_t channels) {
  if (input->rank == 4 && input->shape[0] > 0 && input->shape[3] == channels) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an image of rank 4 with %lld channels, got rank %lld with %lld",
                        (long long)channels, (long long)input->rank,
                        (long long)(input->rank > 0 ? input->shape[input->rank - 1] : 0));
}

void *edge_step_state(edge_planner *planner, edge_step *step, size_t size) {
  step->state = edge_region_alloc(&planner->interpreter->plan, 1, size, planner->error);
  return step->state;
}

/* The tensor whose memory this one uses. */
static int32_t root_of(const edge_interpreter *interpreter, int32_t tensor) {
  while (interpreter->views[tensor].alias >= 0) tensor = interpreter->views[tensor].alias;
  return tensor;
}

void edge_share(edge_planner *planner, const edge_step *step) {
  edge_interpreter *interpreter = planner->interpreter;
  const int32_t root = root_of(interpreter, step->node->inputs[0]);
  const int32_t output = step->node->outputs[0];
  const edge_tensor *source = &interpreter->model->tensors[root];
  /* Callers write graph inputs and read graph outputs when they like, and constants stay as they
   * are: none of these may be somebody else's memory as well. */
  if (source->is_constant || source->variable) return;
  if (edge_is_graph_tensor(interpreter->model, root)) return;
  if (edge_is_graph_tensor(interpreter->model, output)) return;
  interpreter->views[output].alias = root;
}

/* ---- lives ------------------------------------------------------------------------------- */

static void touch(lodger *l, int32_t step) {
  if (l->first < 0) l->first = step;
  if (step < l->first) l->first = step;
  if (step > l->last) l->last = step;
}

static bool has_own_place(const edge_interpreter *interpreter, int32_t tensor) {
  return !interpreter->model->tensors[tensor].is_constant;
}

/* Fills lodgers[0 ... tensor_count) for tensors and [tensor_count ... ) for the steps' scratch. */
static void find_lives(const edge_interpreter *interpreter, lodger *lodgers) {
  const edge_model *model = interpreter->model;
  const int32_t end = model->node_count;
  for (int32_t i = 0; i < model->tensor_count; i++) {
    lodgers[i] = (lodger){.first = -1, .last = -1};
  }
  for (int32_t s = 0; s < model->node_count; s++) {
    const edge_node *node = &model->nodes[s];
    for (int32_t i = 0; i < node->input_count; i++) {
      if (node->inputs[i] >= 0) touch(&lodgers[root_of(interpreter, node->inputs[i])], s);
    }
    for (int32_t i = 0; i < node->output_count; i++) {
      touch(&lodgers[root_of(interpreter, node->outputs[i])], s);
    }
    const edge_step *step = &interpreter->steps[s];
    lodgers[model->tensor_count + s] = (lodger){
        .size = step->scratch_size * (uint64_t)interpreter->threads, .first = s, .last = s};
  }
  for (int32_t i = 0; i < model->tensor_count; i++) {
    lodger *l = &lodgers[i];
    if (edge_is_graph_tensor(model, i) || model->tensors[i].variable) {
      touch(l, 0);
      touch(l, end);
    }
    const bool placed =
        l->first >= 0 && interpreter->views[i].alias < 0 && has_own_place(interpreter, i);
    l->size = placed ? edge_round_up(interpreter->views[i].bytes + EDGE_SLACK, EDGE_ALIGN) : 0;
  }
}

/* ---- places ------------------------------------------------------------------------------ */

/* Larger first; of equal ones the earlier, so that a plan does not depend on the sort. */
static int by_size(const void *a, const void *b) {
  const lodger *x = *(lodger *const *)a;
  const lodger *y = *(lodger *const *)b;
  if (x->size != y->size) return x->size < y->size ? 1 : -1;
  return (x > y) - (x < y);
}

static bool meet(const lodger *a, const lodger *b) {
  return a->first <= b->last && b->first <= a->last;
}

/* Pairs that are looked at: a fifth of a second. */
static const uint64_t PAIRS_MAX = UINT64_C(1) << 27;

/* placed[] is ordered by offset; finds the lowest gap for `l` and keeps the order. Returns how many
 * pairs it has looked at. */
static uint64_t place(lodger *l, lodger **placed, size_t count) {
  uint64_t offset = 0;
  size_t i = 0;
  for (; i < count; i++) {
    if (!meet(l, placed[i])) continue;
    if (placed[i]->offset >= offset + l->size) break;
    const uint64_t after = placed[i]->offset + placed[i]->size;
    if (after > offset) offset = after;
  }
  l->offset = offset;
  size_t at = count;
  while (at > 0 && placed[at - 1]->offset > offset) {
    placed[at] = placed[at - 1];
    at--;
  }
  placed[at] = l;
  return i + (count - at);
}

/* Returns the arena's size. */
static uint64_t place_all(lodger *lodgers, size_t count, lodger **order, lodger **placed) {
  uint64_t size = 0;
  uint64_t pairs = 0;
  size_t wanted = 0;
  for (size_t i = 0; i < count; i++) {
    if (lodgers[i].size > 0) order[wanted++] = &lodgers[i];
  }
  qsort((void *)order, wanted, sizeof *order, by_size);
  for (size_t i = 0; i < wanted; i++) {
    if (pairs < PAIRS_MAX) {
      pairs += place(order[i], placed, i);
    } else {
      order[i]->offset = size;
    }
    if (order[i]->offset + order[i]->size > size) size = order[i]->offset + order[i]->size;
  }
  return size;
}

/* ---- the whole --------------------------------------------------------------------------- */

static void bind(edge_interpreter *interpreter, const lodger *lodgers) {
  const edge_model *model = interpreter->model;
  for (int32_t i = 0; i < model->tensor_count; i++) {
    const edge_tensor *tensor = &model->tensors[i];
    const int32_t root = root_of(interpreter, i);
    edge_view *view = &interpreter->views[i];
    if (!has_own_place(interpreter, i)) {
      /* Constants are never written: operators take their inputs as const. */
      view->data = tensor->constant;
    } else {
      view->data = lodgers[root].size > 0 ? interpreter->arena + lodgers[root].offset : NULL;
    }
  }
  for (int32_t s = 0; s < model->node_count; s++) {
    interpreter->steps[s].scratch = lodgers[model->tensor_count + s].offset;
  }
}

static edge_status infer_shapes(edge_interpreter *interpreter, edge_error *error) {
  edge_planner planner = {interpreter, error};
  const edge_model *model = interpreter->model;
  for (int32_t s = 0; s < model->node_count; s++) {
    edge_step *step = &interpreter->steps[s];
    *step = (edge_step){.node = &model->nodes[s]};
    interpreter->views[step->node->outputs[0]].alias = -1;
    EDGE_TRY(step->node->op->shape(&planner, step));
    if (step->scratch_size > model->limits.arena_bytes / (uint64_t)interpreter->threads) {
      return edge_step_fail(
          &planner, step, EDGE_LIMIT_EXCEEDED,
          "expected scratch of at most %llu bytes for each thread, got %llu",
          (unsigned long long)model->limits.arena_bytes / (unsigned long long)interpreter->threads,
          (unsigned long long)step->scratch_size);
    }
    step->scratch_size = edge_round_up(step->scratch_size, EDGE_ALIGN);
    /* Loops over the other dimensions of an empty output may be long. */
    step->runs = interpreter->views[step->node->outputs[0]].bytes > 0;
  }
  return EDGE_OK;
}

edge_status edge_plan_make(edge_interpreter *interpreter, edge_error *error) {
  const edge_model *model = interpreter->model;
  const size_t count = (size_t)model->tensor_count + (size_t)model->node_count;
  EDGE_TRY(infer_shapes(interpreter, error));
  lodger *lodgers = calloc(count, sizeof *lodgers);
  lodger **lists = (lodger **)calloc(2 * count, sizeof(lodger *));
  if (lodgers == NULL || lists == NULL) {
    free(lodgers);
    free((void *)lists);
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for a plan, got none");
  }
  find_lives(interpreter, lodgers);
  const uint64_t size = place_all(lodgers, count, lists, lists + count);
  interpreter->arena = edge_region_alloc(&interpreter->arena_region, size, 1, error);
  edge_status status = EDGE_OK;
  if (interpreter->arena == NULL) {
    status = edge_no_memory(error);
  } else {
    bind(interpreter, lodgers);
  }
  free(lodgers);
  free((void *)lists);
  return status;
}
