/* One line of execution over a model: create, resize, allocate, read tensors. */
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

bool edge_is_graph_tensor(const edge_model *model, int32_t tensor) {
  return model->roles[tensor] != 0;
}

static void views_from_file(edge_interpreter *interpreter) {
  const edge_model *model = interpreter->model;
  for (int32_t i = 0; i < model->tensor_count; i++) {
    const edge_tensor *tensor = &model->tensors[i];
    edge_view *view = &interpreter->views[i];
    view->alias = -1;
    view->rank = tensor->rank;
    memcpy(view->shape, tensor->shape, sizeof view->shape);
    view->bytes =
        edge_type_size(tensor->type) * (uint64_t)edge_count(tensor->shape, 0, tensor->rank);
  }
}

static edge_status interpreter_fill(edge_interpreter *interpreter, int32_t threads,
                                    edge_error *error) {
  edge_model *model = interpreter->model;
  interpreter->views = edge_region_alloc(&interpreter->region, (uint64_t)model->tensor_count,
                                         sizeof *interpreter->views, error);
  if (interpreter->views == NULL) return edge_no_memory(error);
  interpreter->steps = edge_region_alloc(&interpreter->region, (uint64_t)model->node_count + 1,
                                         sizeof *interpreter->steps, error);
  if (interpreter->steps == NULL) return edge_no_memory(error);
  views_from_file(interpreter);
  const int32_t most = edge_cpu_threads();
  interpreter->threads = threads < 1 ? 1 : threads > most ? most : threads;
  return edge_pool_create(interpreter->threads, &interpreter->pool, error);
}

edge_status edge_interpreter_create(edge_model *model, int32_t threads,
                                    edge_interpreter **interpreter, edge_error *error) {
  edge_error unheard;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_check_owner(model->owner, error));
  edge_interpreter *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for an interpreter, got none");
  }
  atomic_fetch_add(&model->references, 1);
  made->model = model;
  made->owner = getpid();
  made->arena_region = (edge_region){.limit = model->limits.arena_bytes,
                                     .secret = model->region.secret,
                                     .require_locked = model->region.require_locked};
  /* Every step has a state of some hundred bytes; tables that follow from shapes are for the limit
   * of the arena. */
  made->plan.limit = model->limits.arena_bytes + (uint64_t)model->node_count * 1024;
  atomic_init(&made->busy, false);
  const edge_status status = interpreter_fill(made, threads, error);
  if (status != EDGE_OK) {
    edge_interpreter_release(made);
    return status;
  }
  *interpreter = made;
  return EDGE_OK;
}

void edge_interpreter_release(edge_interpreter *interpreter) {
  if (interpreter == NULL) return;
  /* A forked child has the pool's memory but not its threads: there is nobody to join. */
  if (interpreter->owner == getpid()) edge_pool_release(interpreter->pool);
  edge_region_release(&interpreter->arena_region);
  edge_region_release(&interpreter->plan);
  edge_region_release(&interpreter->region);
  edge_model_release(interpreter->model);
  free(interpreter);
}

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

static edge_status check_resize(const edge_interpreter *interpreter, int32_t tensor,
                                const int32_t *shape, int32_t rank, edge_error *error) {
  const edge_model *model = interpreter->model;
  bool is_input = false;
  for (int32_t i = 0; i < model->input_count; i++) is_input |= model->inputs[i] == tensor;
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
  uint64_t bytes;
  const uint64_t size = edge_type_size(model->tensors[tensor].type);
  if (edge_shape_bytes(shape, rank, size, model->limits.tensor_bytes, &bytes)) return EDGE_OK;
  return edge_fail(error, EDGE_LIMIT_EXCEEDED, "expected a tensor of at most %llu bytes, got more",
                   (unsigned long long)model->limits.tensor_bytes);
}

static void drop_plan(edge_interpreter *interpreter) {
  interpreter->allocated = false;
  interpreter->arena = NULL;
  edge_region_release(&interpreter->arena_region);
  edge_region_release(&interpreter->plan);
  for (int32_t i = 0; i < interpreter->model->tensor_count; i++) interpreter->views[i].data = NULL;
}

edge_status edge_interpreter_resize(edge_interpreter *interpreter, int32_t tensor,
                                    const int32_t *shape, int32_t rank, edge_error *error) {
  edge_error unheard;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_interpreter_enter(interpreter, error));
  const edge_status status = check_resize(interpreter, tensor, shape, rank, error);
  if (status == EDGE_OK) {
    edge_view *view = &interpreter->views[tensor];
    drop_plan(interpreter);
    view->rank = rank;
    if (rank > 0) memcpy(view->shape, shape, (size_t)rank * sizeof *shape);
    view->bytes = edge_type_size(interpreter->model->tensors[tensor].type) *
                  (uint64_t)edge_count(view->shape, 0, rank);
  }
  edge_interpreter_leave(interpreter);
  return status;
}

edge_status edge_interpreter_allocate(edge_interpreter *interpreter, edge_error *error) {
  edge_error unheard;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_interpreter_enter(interpreter, error));
  edge_status status = EDGE_OK;
  if (!interpreter->allocated) {
    status = edge_plan_make(interpreter, error);
    if (status == EDGE_OK) {
      interpreter->allocated = true;
    } else {
      drop_plan(interpreter);
    }
  }
  edge_interpreter_leave(interpreter);
  return status;
}

edge_status edge_interpreter_tensor(const edge_interpreter *interpreter, int32_t index,
                                    edge_tensor_info *info, edge_error *error) {
  const edge_model *model = interpreter->model;
  EDGE_TRY(edge_check_owner(interpreter->owner, error));
  if (atomic_load(&interpreter->busy)) return fail_busy(error);
  if (index < 0 || index >= model->tensor_count) {
    return edge_fail(error, EDGE_INVALID_ARGUMENT, "expected a tensor below %lld, got %lld",
                     (long long)model->tensor_count, (long long)index);
  }
  const edge_tensor *tensor = &model->tensors[index];
  const edge_view *view = &interpreter->views[index];
  *info = (edge_tensor_info){.name = tensor->name,
                             .name_size = tensor->name_size,
                             .type = tensor->type,
                             .rank = view->rank,
                             .signature_rank = tensor->signature_rank,
                             .quantization = {.count = tensor->scale.count,
                                              .scale = edge_vector_data(&tensor->scale),
                                              .zero_point = edge_vector_data(&tensor->zero_point),
                                              .axis = tensor->axis},
                             .bytes = view->bytes};
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
