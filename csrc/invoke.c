/* The run: walks the plan. Where shapes do not depend on values, nothing here allocates, and
 * nothing can fail once it has begun. */
#include "internal.h"

static edge_status fail_work(edge_frame *frame, const edge_step *step, edge_error *error) {
  edge_planner planner = {.frame = frame, .error = error};
  return edge_step_fail(&planner, step, EDGE_LIMIT_EXCEEDED,
                        "expected at most %llu multiply-accumulates and bytes moved, got more",
                        (unsigned long long)frame->model->limits.work);
}

static edge_status perform(edge_frame *frame, edge_step *step, edge_error *error) {
  edge_planner planner = {.frame = frame, .error = error, .turn = step};
  edge_status status = step->node->op->perform(&planner, step);
  if (status != EDGE_DEFERRED) return status;
  EDGE_TRY(edge_plan_from(frame, (int32_t)(step - frame->steps), error));
  status = step->node->op->perform(&planner, step);
  if (status != EDGE_DEFERRED) return status;
  return edge_step_fail(&planner, step, EDGE_MALFORMED_MODEL,
                        "expected an output whose shape stays, got one that does not");
}

edge_status edge_frame_run(edge_frame *frame, edge_error *error) {
  const int32_t count = frame->graph->node_count;
  int32_t segment = 1;
  for (int32_t i = 0; i < count; i++) {
    edge_step *step = &frame->steps[i];
    if (segment < frame->segment_count && frame->segments[segment].first == i) {
      /* Its shape was not known while planning: asked again, now that its inputs are there. */
      EDGE_TRY(edge_plan_from(frame, i, error));
    }
    if (step->runs && !edge_spend_work(frame->interpreter, step->work)) {
      return fail_work(frame, step, error);
    }
    if (step->runs && step->node->op->run != NULL) {
      step->node->op->run(frame, step);
    } else if (step->runs) {
      EDGE_TRY(perform(frame, step, error));
    }
    /* perform() may have begun a segment here as well. */
    while (segment < frame->segment_count && frame->segments[segment].first <= i) segment++;
  }
  return EDGE_OK;
}

edge_status edge_interpreter_invoke(edge_interpreter *interpreter, int32_t subgraph,
                                    edge_error *error) {
  edge_error unheard;
  edge_frame *frame = NULL;
  if (error == NULL) error = &unheard;
  EDGE_TRY(edge_interpreter_enter(interpreter, error));
  edge_status status = edge_interpreter_frame(interpreter, subgraph, &frame, error);
  if (status == EDGE_OK && !frame->allocated) {
    status = edge_fail(error, EDGE_NOT_ALLOCATED, "expected allocated tensors, got none yet");
  }
  if (status == EDGE_OK) {
    interpreter->calls_left = interpreter->model->limits.calls;
    interpreter->work_left = interpreter->model->limits.work;
    status = edge_frame_run(frame, error);
    if (status != EDGE_OK) edge_report_subgraph(error, subgraph);
  }
  edge_interpreter_leave(interpreter);
  return status;
}
