/* Shapes -> segments.
 *
 * Steps are asked for their shapes in order. A step that cannot tell yet ends the segment: what is
 * known so far gets its memory (place.c), and the rest is planned when that step's turn to run has
 * come. A step whose inputs are all known, as the arithmetic on shapes is, is computed at once.
 */
#include <stdlib.h>

#include "internal.h"
#include "place.h"

/* Outputs that are computed while planning: at most so many bytes. */
enum { KNOWN_BYTES_MAX = 4096 };

/* ---- what shape() functions call --------------------------------------------------------- */

edge_status edge_set_shape(edge_planner *planner, const edge_step *step, int32_t i, int32_t rank,
                           const int32_t *shape) {
  edge_frame *frame = planner->frame;
  const int32_t index = step->node->outputs[i];
  const edge_tensor *tensor = &frame->graph->tensors[index];
  edge_view *view = &frame->views[index];
  const uint64_t most = frame->model->limits.tensor_bytes;
  view->rank = rank;
  for (int32_t d = 0; d < rank; d++) {
    if (shape[d] < 0) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected an output shape of entries of at least 0, got %lld",
                            (long long)shape[d]);
    }
    view->shape[d] = shape[d];
  }
  for (int32_t d = rank; d < EDGE_MAX_RANK; d++) view->shape[d] = 0;
  if (edge_shape_bytes(shape, rank, edge_type_size(tensor->type), most, &view->bytes)) {
    return EDGE_OK;
  }
  return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                        "expected an output of at most %llu bytes, got more",
                        (unsigned long long)most);
}

edge_status edge_expect_image(edge_planner *planner, const edge_step *step, const edge_view *input,
                              int32_t channels) {
  if (input->rank == 4 && input->shape[3] == channels) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an image of rank 4 with %lld channels, got rank %lld with %lld",
                        (long long)channels, (long long)input->rank,
                        (long long)(input->rank > 0 ? input->shape[input->rank - 1] : 0));
}

edge_status edge_expect_stored(edge_planner *planner, const edge_step *step, int32_t i) {
  const edge_view *view = edge_view_in(planner, step, i);
  const edge_tensor *tensor = edge_tensor_in(planner, step, i);
  if (view->rank == tensor->rank &&
      memcmp(view->shape, tensor->shape, (size_t)view->rank * sizeof *view->shape) == 0) {
    return EDGE_OK;
  }
  char stored[EDGE_SHAPE_TEXT];
  char found[EDGE_SHAPE_TEXT];
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected input %lld to have the shape in the file, %s, got %s",
                        (long long)i, edge_shape_text(stored, tensor->rank, tensor->shape),
                        edge_shape_text(found, view->rank, view->shape));
}

const void *edge_values_in(const edge_planner *planner, const edge_step *step, int32_t i) {
  static const int64_t nothing = 0;
  const edge_view *view = edge_view_in(planner, step, i);
  if (view->bytes == 0) return &nothing;
  return view->known || planner->turn == step ? view->data : NULL;
}

int32_t edge_value_at(const edge_planner *planner, const edge_step *step, int32_t i,
                      const void *values, int64_t k) {
  const edge_tensor *tensor = &planner->frame->graph->tensors[step->node->inputs[i]];
  if (tensor->type != EDGE_INT64) return ((const int32_t *)values)[k];
  return (int32_t)edge_max(INT32_MIN, edge_min(INT32_MAX, ((const int64_t *)values)[k]));
}

void *edge_step_state(edge_planner *planner, edge_step *step, size_t size) {
  step->state = edge_region_alloc(planner->memory, 1, size, planner->error);
  return step->state;
}

void edge_share(edge_planner *planner, const edge_step *step) {
  edge_frame *frame = planner->frame;
  const int32_t root = edge_root_of(frame, step->node->inputs[0]);
  const int32_t output = step->node->outputs[0];
  const edge_view *view = &frame->views[root];
  /* Callers write graph inputs and read graph outputs when they like, and constants stay as they
   * are: none of these may be somebody else's memory as well. How long a tensor of an earlier
   * segment lives has been settled. */
  if (view->known || view->placed || frame->graph->tensors[root].variable) return;
  if (edge_is_graph_tensor(frame->graph, root) || edge_is_graph_tensor(frame->graph, output))
    return;
  if (frame->interpreter->preserve) return;
  frame->views[output].alias = root;
}

/* ---- the shapes of steps ----------------------------------------------------------------- */

bool edge_spend_work(edge_interpreter *interpreter, uint64_t work) {
  const bool enough = work <= interpreter->work_left;
  interpreter->work_left -= enough ? work : 0;
  return enough;
}

/* Bytes in and out, and what is multiplied; and something for the step itself. */
static uint64_t work_of(const edge_frame *frame, const edge_step *step) {
  enum { STEP = 256 };
  const edge_node *node = step->node;
  uint64_t work = STEP;
  for (int32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] >= 0) work += frame->views[node->inputs[i]].bytes;
  }
  for (int32_t i = 0; i < node->output_count; i++) work += frame->views[node->outputs[i]].bytes;
  if (node->output_count == 0) return work;
  const edge_view *first = &frame->views[node->outputs[0]];
  return work + (uint64_t)edge_count(first->shape, 0, first->rank) * step->effort;
}

static edge_status ask_shape(edge_planner *planner, edge_step *step) {
  edge_frame *frame = planner->frame;
  const edge_limits *limits = &frame->model->limits;
  *step = (edge_step){.node = step->node, .effort = step->node->effort};
  EDGE_TRY(step->node->op->shape(planner, step));
  step->work = work_of(frame, step);
  const uint64_t most = limits->arena_bytes / (uint64_t)frame->threads;
  if (step->scratch_size > most) {
    return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                          "expected scratch of at most %llu bytes for each thread, got %llu",
                          (unsigned long long)most, (unsigned long long)step->scratch_size);
  }
  step->scratch_size = edge_round_up(step->scratch_size, EDGE_ALIGN);
  /* Loops over the other dimensions of an empty output may be long. */
  step->runs = step->node->op->stateful || step->node->output_count == 0;
  for (int32_t i = 0; i < step->node->output_count; i++) {
    step->runs |= frame->views[step->node->outputs[i]].bytes > 0;
  }
  return EDGE_OK;
}

/* Whether the outputs follow from what is known already. */
static bool can_compute(const edge_frame *frame, const edge_step *step) {
  const edge_node *node = step->node;
  uint64_t bytes = 0;
  if (node->op->stateful || step->scratch_size > 0 || !step->runs) return false;
  for (int32_t i = 0; i < node->input_count && !node->op->of_shapes; i++) {
    if (node->inputs[i] < 0) continue;
    const edge_view *view = &frame->views[node->inputs[i]];
    if (!view->known || (view->bytes > 0 && view->data == NULL)) return false;
  }
  for (int32_t i = 0; i < node->output_count; i++) {
    bytes += frame->views[node->outputs[i]].bytes;
    if (frame->views[node->outputs[i]].alias >= 0) return false;
  }
  return bytes <= KNOWN_BYTES_MAX;
}

static edge_status compute_now(edge_planner *planner, edge_step *step) {
  edge_frame *frame = planner->frame;
  const edge_node *node = step->node;
  for (int32_t i = 0; i < node->output_count; i++) {
    edge_view *view = &frame->views[node->outputs[i]];
    view->data = edge_region_alloc(planner->memory, view->bytes + 1, 1, planner->error);
    if (view->data == NULL) return edge_no_memory(planner->error);
  }
  if (node->op->run != NULL) {
    node->op->run(frame, step);
  } else {
    EDGE_TRY(node->op->perform(planner, step));
  }
  for (int32_t i = 0; i < node->output_count; i++) frame->views[node->outputs[i]].known = true;
  step->runs = false;
  return EDGE_OK;
}

/* What an earlier plan left of a step's outputs. */
static void forget_outputs(edge_frame *frame, int32_t step) {
  const edge_node *node = &frame->graph->nodes[step];
  for (int32_t i = 0; !node->folded && i < node->output_count; i++) {
    edge_view *view = &frame->views[node->outputs[i]];
    view->alias = -1;
    view->data = NULL;
    view->known = view->placed = false;
  }
}

/* Steps from `from` on that have no plan: they do not run, and their outputs cannot be read. */
static void forget_steps(edge_frame *frame, int32_t from) {
  for (int32_t s = from; s < frame->graph->node_count; s++) {
    const edge_node *node = frame->steps[s].node;
    frame->steps[s] = (edge_step){.node = node};
    forget_outputs(frame, s);
    for (int32_t i = 0; !node->folded && i < node->output_count; i++) {
      frame->views[node->outputs[i]].bytes = 0;
    }
  }
}

/* Shapes from step `from` on; *end is the first step that could not tell. */
static edge_status infer_shapes(edge_planner *planner, int32_t from, int32_t *end) {
  edge_frame *frame = planner->frame;
  const int32_t count = frame->graph->node_count;
  for (int32_t s = from; s < count; s++) forget_outputs(frame, s);
  for (*end = from; *end < count; ++*end) {
    edge_step *step = &frame->steps[*end];
    if (step->node->folded) continue;
    const edge_status status = ask_shape(planner, step);
    if (status == EDGE_DEFERRED) break;
    if (status != EDGE_OK) return status;
    if (can_compute(frame, step)) EDGE_TRY(compute_now(planner, step));
  }
  forget_steps(frame, *end);
  return EDGE_OK;
}

/* ---- segments ---------------------------------------------------------------------------- */

static void release_segment(edge_segment *segment) {
  edge_region_release(&segment->arena_region);
  edge_region_release(&segment->plan);
  edge_region_release(&segment->head);
}

/* Those that begin at `from` or later, but for the first `keep`. */
static void drop_segments(edge_frame *frame, int32_t keep, int32_t from) {
  while (frame->segment_count > keep && frame->segments[frame->segment_count - 1].first >= from) {
    release_segment(&frame->segments[--frame->segment_count]);
  }
}

void edge_plan_drop(edge_frame *frame) {
  drop_segments(frame, 0, 0);
  free(frame->segments);
  frame->segments = NULL;
  frame->segment_room = 0;
  frame->allocated = false;
  for (int32_t i = 0; frame->views && i < frame->graph->tensor_count; i++) {
    edge_view *view = &frame->views[i];
    if (frame->graph->tensors[i].is_constant) continue;
    view->data = NULL;
    view->placed = view->known = false;
  }
}

uint64_t edge_arena_left(const edge_interpreter *interpreter) {
  uint64_t used = 0;
  for (int32_t i = 0; i < interpreter->model->graph_count; i++) {
    const edge_frame *frame = &interpreter->frames[i];
    for (int32_t k = 0; k < frame->segment_count; k++)
      used += frame->segments[k].arena_region.mapped;
  }
  for (int32_t i = 0; i < interpreter->model->variable_count; i++) {
    used += interpreter->variables[i].region.mapped;
  }
  const uint64_t most = interpreter->model->limits.arena_bytes;
  return used < most ? most - used : 1;
}

static edge_status append_segment(edge_frame *frame, int32_t first, edge_region head,
                                  edge_error *error) {
  if (frame->segment_count == frame->segment_room) {
    const int32_t room = frame->segment_room ? 2 * frame->segment_room : 1;
    edge_segment *grown = calloc((size_t)room, sizeof *grown);
    if (grown == NULL) {
      edge_region_release(&head);
      return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for a plan, got none");
    }
    for (int32_t i = 0; i < frame->segment_count; i++) grown[i] = frame->segments[i];
    free(frame->segments);
    frame->segments = grown;
    frame->segment_room = room;
  }
  const edge_model *model = frame->model;
  const uint64_t left = edge_arena_left(frame->interpreter);
  frame->segments[frame->segment_count++] = (edge_segment){
      .first = first,
      .head = head,
      /* Every step has a state of some hundred bytes; tables that follow from shapes are for the
       * limit of the arena. */
      .plan = {.limit = model->limits.arena_bytes + (uint64_t)frame->graph->node_count * 1024},
      .arena_region = {.limit = left,
                       .secret = model->region.secret,
                       .require_locked = model->region.require_locked}};
  return EDGE_OK;
}

/* Planning costs time as well, and what is planned must not be more than an invoke may do. */
static edge_status check_work(edge_frame *frame, int32_t from, int32_t end, edge_error *error) {
  enum { LOOKED_AT = 64 };
  const edge_graph *graph = frame->graph;
  const uint64_t most = frame->model->limits.work;
  uint64_t work = 0;
  for (int32_t s = from; s < end && work <= most; s++) {
    work += frame->steps[s].runs ? frame->steps[s].work : 0;
  }
  const uint64_t planning =
      LOOKED_AT * ((uint64_t)graph->tensor_count + (uint64_t)graph->node_count);
  if (work <= most && edge_spend_work(frame->interpreter, planning)) return EDGE_OK;
  return edge_fail(error, EDGE_LIMIT_EXCEEDED,
                   "expected operators of at most %llu multiply-accumulates and bytes moved, got "
                   "more",
                   (unsigned long long)most);
}

/* Plans the steps behind the first one of the last segment, whose shape is known, or, for the main
 * segment, all steps. */
static edge_status plan_segment(edge_frame *frame, int32_t from, edge_error *error) {
  const int32_t index = frame->segment_count - 1;
  edge_planner planner = {.frame = frame, .error = error, .memory = &frame->segments[index].plan};
  int32_t end = 0;
  EDGE_TRY(infer_shapes(&planner, from, &end));
  EDGE_TRY(check_work(frame, from, end, error));
  EDGE_TRY(edge_place_segment(frame, end, error));
  frame->segments[index].planned = true;
  if (end == frame->graph->node_count) return EDGE_OK;
  return append_segment(frame, end, (edge_region){0}, error);
}

/* ---- the whole --------------------------------------------------------------------------- */

edge_status edge_plan_make(edge_frame *frame, edge_error *error) {
  edge_plan_drop(frame);
  edge_status status = append_segment(frame, 0, (edge_region){0}, error);
  if (status == EDGE_OK) status = plan_segment(frame, 0, error);
  if (status == EDGE_OK) {
    frame->allocated = true;
    edge_frame_reset_variables(frame);
  } else {
    edge_plan_drop(frame);
  }
  return status;
}

static bool same_outputs(const edge_frame *frame, const edge_step *step, const edge_view *before) {
  for (int32_t i = 0; i < step->node->output_count; i++) {
    const edge_view *view = &frame->views[step->node->outputs[i]];
    if (view->rank != before[i].rank || view->alias != before[i].alias ||
        memcmp(view->shape, before[i].shape, (size_t)view->rank * sizeof *view->shape) != 0) {
      return false;
    }
  }
  return true;
}

static edge_segment *planned_segment(const edge_frame *frame, int32_t first) {
  for (int32_t i = frame->segment_count - 1; i > 0 && frame->segments[i].first >= first; i--) {
    if (frame->segments[i].first == first && frame->segments[i].planned) return &frame->segments[i];
  }
  return NULL;
}

/* Leaves the steps from `first` on without a plan: the next run asks for one there. */
static void plan_none(edge_frame *frame, int32_t first) {
  drop_segments(frame, 1, first);
  forget_steps(frame, first);
  /* There is room for it: either one was there a moment ago, or the frame is planned anew. */
  edge_error unheard;
  if (append_segment(frame, first, (edge_region){0}, &unheard) != EDGE_OK) edge_plan_drop(frame);
}

/* Everything from `first` on, whose shape is known and whose state lies in `head`. */
static edge_status plan_again(edge_frame *frame, int32_t first, edge_region head,
                              edge_error *error) {
  drop_segments(frame, 1, first);
  EDGE_TRY(append_segment(frame, first, head, error));
  forget_outputs(frame, first);
  return plan_segment(frame, first + 1, error);
}

/* Asks step `first` for its shape. */
static edge_status ask_again(edge_planner *planner, edge_step *step) {
  const edge_status status = ask_shape(planner, step);
  if (status != EDGE_DEFERRED) return status;
  return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                        "expected inputs that say the output's shape, got others");
}

edge_status edge_plan_from(edge_frame *frame, int32_t first, edge_error *error) {
  enum { OUTPUTS_MAX = 16 };
  edge_view before[OUTPUTS_MAX] = {0};
  edge_step *step = &frame->steps[first];
  const edge_step old = *step;
  edge_region head = {.limit = frame->model->limits.arena_bytes};
  edge_planner planner = {.frame = frame, .error = error, .memory = &head, .turn = step};
  edge_segment *segment = planned_segment(frame, first);
  const bool comparable = segment != NULL && step->node->output_count <= OUTPUTS_MAX;
  for (int32_t i = 0; comparable && i < step->node->output_count; i++) {
    before[i] = frame->views[step->node->outputs[i]];
  }
  edge_status status = ask_again(&planner, step);
  if (status != EDGE_OK) {
    edge_region_release(&head);
  } else if (comparable && step->scratch_size == old.scratch_size &&
             same_outputs(frame, step, before)) {
    edge_region_release(&segment->head);
    segment->head = head;
    step->scratch = old.scratch;
    return EDGE_OK;
  } else {
    status = plan_again(frame, first, head, error);
  }
  if (status != EDGE_OK) plan_none(frame, first);
  return status;
}
