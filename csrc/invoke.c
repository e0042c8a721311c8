/* The run: walks the plan. Nothing here allocates, and nothing can fail once it has begun. */
#include "internal.h"

edge_status edge_interpreter_invoke(edge_interpreter *interpreter, edge_error *error) {
  edge_error unheard;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_interpreter_enter(interpreter, error));
  edge_status status = EDGE_OK;
  if (!interpreter->allocated) {
    status = edge_fail(error, EDGE_NOT_ALLOCATED, "expected allocated tensors, got none yet");
  } else {
    const int32_t count = interpreter->model->node_count;
    for (int32_t i = 0; i < count; i++) {
      const edge_step *step = &interpreter->steps[i];
      if (step->runs) step->node->op->run(interpreter, step);
    }
  }
  edge_interpreter_leave(interpreter);
  return status;
}
