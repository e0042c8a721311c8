/* One line of execution over a model: create, resize, allocate, read tensors. */
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

bool edge_is_graph_tensor(const edge_graph *graph, int32_t tensor) {
  return graph->roles[tensor] != 0;
}

/* ---- creation ---------------------------------------------------------------------------- */

static void views_from_file(edge_frame *frame) {
  const edge_graph *graph = frame->graph;
  for (int32_t i = 0; i < graph->tensor_count; i++) {
    const edge_tensor *tensor = &graph->tensors[i];
    edge_view *view = &frame->views[i];
    view->alias = -1;
    view->rank = tensor->rank;
    memcpy(view->shape, tensor->shape, sizeof view->shape);
    view->bytes =
        edge_type_size(tensor->type) * (uint64_t)edge_count(tensor->shape, 0, tensor->rank);
    /* Constants are never written: operators take their inputs as const. */
    view->data = tensor->constant;
    view->known = tensor->is_constant;
  }
}

static edge_status frame_fill(edge_interpreter *interpreter, edge_frame *frame,
                              const edge_graph *graph, edge_error *error) {
  edge_region *region = &interpreter->region;
  *frame = (edge_frame){.interpreter = interpreter,
                        .model = interpreter->model,
                        .graph = graph,
                        .pool = interpreter->pool,
                        .threads = interpreter->threads};
  frame->views =
      edge_region_alloc(region, (uint64_t)graph->tensor_count, sizeof *frame->views, error);
  if (frame->views == NULL) return edge_no_memory(error);
  frame->steps =
      edge_region_alloc(region, (uint64_t)graph->node_count + 1, sizeof *frame->steps, error);
  if (frame->steps == NULL) return edge_no_memory(error);
  for (int32_t i = 0; i < graph->node_count; i++) frame->steps[i].node = &graph->nodes[i];
  views_from_file(frame);
  return EDGE_OK;
}

static edge_status interpreter_fill(edge_interpreter *interpreter, edge_error *error) {
  edge_model *model = interpreter->model;
  edge_region *region = &interpreter->region;
  const uint64_t graphs = (uint64_t)model->graph_count;
  EDGE_TRY(edge_pool_create(interpreter->threads, &interpreter->pool, error));
  interpreter->frames = edge_region_alloc(region, graphs, sizeof *interpreter->frames, error);
  interpreter->initialized = edge_region_alloc(region, graphs, 1, error);
  interpreter->variables = edge_region_alloc(region, (uint64_t)model->variable_count + 1,
                                             sizeof *interpreter->variables, error);
  if (interpreter->frames == NULL || interpreter->initialized == NULL ||
      interpreter->variables == NULL) {
    return edge_no_memory(error);
  }
  for (int32_t i = 0; i < model->graph_count; i++) {
    EDGE_TRY(frame_fill(interpreter, &interpreter->frames[i], &model->graphs[i], error));
  }
  return EDGE_OK;
}

edge_status edge_interpreter_create(edge_model *model, const edge_interpreter_options *options,
                                    edge_interpreter **interpreter, edge_error *error) {
  const edge_interpreter_options none = {0};
  edge_error unheard;
  if (error == NULL) error = &unheard;
  if (options == NULL) options = &none;
  EDGE_TRY(edge_check_owner(model->owner, error));
  edge_interpreter *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for an interpreter, got none");
  }
  const int32_t most = edge_cpu_threads();
  const int32_t threads = options->threads;
  atomic_fetch_add(&model->references, 1);
  made->model = model;
  made->owner = getpid();
  made->preserve = options->preserve_all_tensors;
  made->threads = threads < 1 ? 1 : threads > most ? most : threads;
  atomic_init(&made->busy, false);
  const edge_status status = interpreter_fill(made, error);
  if (status != EDGE_OK) {
    edge_interpreter_release(made);
    return status;
  }
  *interpreter = made;
  return EDGE_OK;
}

static void release_variables(edge_interpreter *interpreter) {
  for (int32_t i = 0; interpreter->variables && i < interpreter->model->variable_count; i++) {
    edge_region_release(&interpreter->variables[i].region);
    interpreter->variables[i] = (edge_variable){0};
  }
}

void edge_interpreter_release(edge_interpreter *interpreter) {
  if (interpreter == NULL) return;
  /* A forked child has the pool's memory but not its threads: there is nobody to join. */
  if (interpreter->owner == getpid()) edge_pool_release(interpreter->pool);
  for (int32_t i = 0; interpreter->frames && i < interpreter->model->graph_count; i++) {
    if (interpreter->frames[i].graph != NULL) edge_plan_drop(&interpreter->frames[i]);
  }
  release_variables(interpreter);
  edge_region_release(&interpreter->region);
  edge_model_release(interpreter->model);
  free(interpreter);
}

/* ---- who may use it ---------------------------------------------------------------------- */

edge_status edge_check_owner(pid_t owner, edge_error *error) {
  if (owner == getpid()) return EDGE_OK;
  return edge_fail(error, EDGE_FORKED,
                   "expected the process that loaded the model, got a child of it: load again in "
                   "the child");
}

static edge_status fail_busy(edge_error *error) {
  return edge_fail(error, EDGE_BUSY, "expected one thread at a time, got a second one");
}

edge_status edge_interpreter_enter(edge_interpreter *interpreter, edge_error *error) {
  EDGE_TRY(edge_check_owner(interpreter->owner, error));
  return atomic_exchange(&interpreter->busy, true) ? fail_busy(error) : EDGE_OK;
}

void edge_interpreter_leave(edge_interpreter *interpreter) {
  atomic_store(&interpreter->busy, false);
}

edge_status edge_interpreter_frame(edge_interpreter *interpreter, int32_t subgraph,
                                   edge_frame **frame, edge_error *error) {
  if (subgraph < 0 || subgraph >= interpreter->model->graph_count) {
    return edge_fail(error, EDGE_INVALID_ARGUMENT, "expected a subgraph below %lld, got %lld",
                     (long long)interpreter->model->graph_count, (long long)subgraph);
  }
  *frame = &interpreter->frames[subgraph];
  return EDGE_OK;
}

/* ---- shapes ------------------------------------------------------------------------------ */

static edge_status check_resize(const edge_frame *frame, int32_t tensor, const int32_t *shape,
                                int32_t rank, uint64_t *bytes, edge_error *error) {
  const edge_graph *graph = frame->graph;
  bool is_input = false;
  for (int32_t i = 0; i < graph->input_count; i++) is_input |= graph->inputs[i] == tensor;
  if (!is_input) {
    return edge_fail(error, EDGE_INVALID_ARGUMENT, "expected a graph input, got tensor %lld",
                     (long long)tensor);
  }
  if (rank < 0 || rank > EDGE_MAX_RANK) {
    return edge_fail(error, EDGE_INVALID_ARGUMENT, "expected a rank in 0 ... %lld, got %lld",
                     (long long)EDGE_MAX_RANK, (long long)rank);
  }
  for (int32_t i = 0; i < rank; i++) {
    if (shape[i] < 0) {
      return edge_fail(error, EDGE_INVALID_ARGUMENT, "expected dimensions of at least 0, got %lld",
                       (long long)shape[i]);
    }
  }
  const uint64_t most = frame->model->limits.tensor_bytes;
  const uint64_t size = edge_type_size(graph->tensors[tensor].type);
  if (edge_shape_bytes(shape, rank, size, most, bytes)) return EDGE_OK;
  return edge_fail(error, EDGE_LIMIT_EXCEEDED, "expected a tensor of at most %llu bytes, got more",
                   (unsigned long long)most);
}

edge_status edge_frame_resize(edge_frame *frame, int32_t tensor, const int32_t *shape, int32_t rank,
                              edge_error *error) {
  uint64_t bytes = 0;
  EDGE_TRY(check_resize(frame, tensor, shape, rank, &bytes, error));
  edge_view *view = &frame->views[tensor];
  /* As in LiteRT: the same shape once more leaves the plan, and with it the variables. */
  if (frame->allocated && view->rank == rank &&
      (rank == 0 || memcmp(view->shape, shape, (size_t)rank * sizeof *shape) == 0)) {
    return EDGE_OK;
  }
  edge_plan_drop(frame);
  view->rank = rank;
  memset(view->shape, 0, sizeof view->shape);
  if (rank > 0) memcpy(view->shape, shape, (size_t)rank * sizeof *shape);
  view->bytes = edge_type_size(frame->graph->tensors[tensor].type) ? bytes : 0;
  return EDGE_OK;
}

edge_status edge_interpreter_resize(edge_interpreter *interpreter, int32_t subgraph, int32_t tensor,
                                    const int32_t *shape, int32_t rank, edge_error *error) {
  edge_error unheard;
  edge_frame *frame = NULL;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_interpreter_enter(interpreter, error));
  edge_status status = edge_interpreter_frame(interpreter, subgraph, &frame, error);
  if (status == EDGE_OK) status = edge_frame_resize(frame, tensor, shape, rank, error);
  edge_interpreter_leave(interpreter);
  return status;
}

edge_status edge_interpreter_allocate(edge_interpreter *interpreter, int32_t subgraph,
                                      edge_error *error) {
  edge_error unheard;
  edge_frame *frame = NULL;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_interpreter_enter(interpreter, error));
  edge_status status = edge_interpreter_frame(interpreter, subgraph, &frame, error);
  interpreter->calls_left = interpreter->model->limits.calls;
  interpreter->work_left = interpreter->model->limits.work;
  if (status == EDGE_OK && !frame->allocated) status = edge_plan_make(frame, error);
  edge_interpreter_leave(interpreter);
  return status;
}

/* ---- variables --------------------------------------------------------------------------- */

/* A variable tensor begins at the quantized value of 0, and others at 0. Source: LiteRT
 * tflite/core/subgraph.cc, ResetVariableTensors. */
void edge_frame_reset_variables(edge_frame *frame) {
  const edge_graph *graph = frame->graph;
  for (int32_t i = 0; i < graph->tensor_count; i++) {
    const edge_tensor *tensor = &graph->tensors[i];
    const edge_view *view = &frame->views[i];
    if (!tensor->variable || view->data == NULL) continue;
    const bool zero_point = tensor->type == EDGE_INT8 && tensor->scale.count > 0;
    const int value =
        zero_point ? (int)edge_load_i64(edge_vector_data(&tensor->zero_point)) & 255 : 0;
    memset(view->data, value, view->bytes);
  }
}

edge_status edge_interpreter_reset(edge_interpreter *interpreter, edge_error *error) {
  edge_error unheard;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_interpreter_enter(interpreter, error));
  for (int32_t i = 0; i < interpreter->model->graph_count; i++) {
    edge_frame_reset_variables(&interpreter->frames[i]);
  }
  edge_interpreter_leave(interpreter);
  return EDGE_OK;
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* What has been computed while planning has been relied upon. */
static bool is_writable(const edge_graph *graph, const edge_view *views, int32_t index) {
  const edge_tensor *tensor = &graph->tensors[index];
  if (tensor->is_constant || views[index].known) return false;
  return tensor->variable || edge_is_graph_tensor(graph, index);
}

edge_status edge_interpreter_tensor(const edge_interpreter *interpreter, int32_t subgraph,
                                    int32_t index, edge_tensor_info *info, edge_error *error) {
  edge_error unheard;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_check_owner(interpreter->owner, error));
  if (atomic_load(&interpreter->busy)) return fail_busy(error);
  if (subgraph < 0 || subgraph >= interpreter->model->graph_count || index < 0 ||
      index >= interpreter->model->graphs[subgraph].tensor_count) {
    return edge_fail(error, EDGE_INVALID_ARGUMENT,
                     "expected a tensor of the model, got %lld of subgraph %lld", (long long)index,
                     (long long)subgraph);
  }
  const edge_tensor *tensor = &interpreter->model->graphs[subgraph].tensors[index];
  const edge_view *view = &interpreter->frames[subgraph].views[index];
  *info = (edge_tensor_info){.name = tensor->name,
                             .name_size = tensor->name_size,
                             .type = tensor->type,
                             .rank = view->rank,
                             .signature_rank = tensor->signature_rank,
                             .quantization = {.count = tensor->scale.count,
                                              .scale = edge_vector_data(&tensor->scale),
                                              .zero_point = edge_vector_data(&tensor->zero_point),
                                              .axis = tensor->axis},
                             .bytes = view->bytes,
                             .writable = is_writable(&interpreter->model->graphs[subgraph],
                                                     interpreter->frames[subgraph].views, index)};
  memcpy(info->shape, view->shape, sizeof info->shape);
  memcpy(info->signature, tensor->signature, sizeof info->signature);
  if (tensor->data != NULL) {
    info->data = (void *)tensor->data;
    info->bytes = tensor->data_size;
  } else {
    info->data = view->data;
  }
  return EDGE_OK;
}
