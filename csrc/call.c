/* Running one subgraph for an operator of another: see call.h. */
#include "call.h"

#include "operators.h"

/* Each level takes some of the thread's stack. */
enum { DEPTH_MAX = 16 };

/* ---- compile ----------------------------------------------------------------------------- */

static edge_status check_types(edge_compiler *c, const edge_node *node, const int32_t *mine,
                               const edge_graph *callee, const int32_t *its, int32_t count,
                               const char *what) {
  for (int32_t i = 0; i < count; i++) {
    const edge_type expected = callee->tensors[its[i]].type;
    if (mine[i] < 0) {
      return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                            "expected every %s of a subgraph to be there, got none for %lld", what,
                            (long long)i);
    }
    const edge_type came = c->graph->tensors[mine[i]].type;
    if (came != expected) {
      return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                            "expected %s %lld of type %s, as the subgraph has, got %s", what,
                            (long long)i, edge_type_name(expected), edge_type_name(came));
    }
    if (edge_type_size(came) == 0) {
      return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                            "expected elements of fixed size, got %s", edge_type_name(came));
    }
  }
  return EDGE_OK;
}

edge_status edge_callee_read(edge_compiler *c, const edge_node *node, uint32_t field, int32_t first,
                             bool outputs, int32_t *subgraph) {
  const edge_model *model = c->model;
  if (!edge_table_i32(&node->options, field, 0, subgraph)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (*subgraph < 0 || *subgraph >= model->graph_count) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL, "expected a subgraph below %lld, got %lld",
                          (long long)model->graph_count, (long long)*subgraph);
  }
  const edge_graph *callee = &model->graphs[*subgraph];
  const int32_t given = node->input_count - first;
  if (callee->input_count != given) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected %lld inputs for subgraph %lld, got %lld",
                          (long long)callee->input_count, (long long)*subgraph, (long long)given);
  }
  EDGE_TRY(check_types(c, node, node->inputs + first, callee, callee->inputs, given, "input"));
  if (callee->repeats_input) {
    /* It would have two values at once. */
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected subgraph %lld to list each input once, got one twice",
                          (long long)*subgraph);
  }
  if (!outputs) return EDGE_OK;
  if (callee->output_count != node->output_count) {
    return edge_node_fail(
        c, node, EDGE_MALFORMED_MODEL, "expected %lld outputs, as subgraph %lld has, got %lld",
        (long long)callee->output_count, (long long)*subgraph, (long long)node->output_count);
  }
  return check_types(c, node, node->outputs, callee, callee->outputs, node->output_count, "output");
}

/* ---- bundles ----------------------------------------------------------------------------- */

static edge_status make_bundle(edge_planner *planner, const edge_frame *frame,
                               const int32_t *tensors, int32_t count, edge_region *region,
                               edge_bundle *bundle) {
  bundle->count = count;
  bundle->values =
      edge_region_alloc(region, (uint64_t)count + 1, sizeof *bundle->values, planner->error);
  if (bundle->values == NULL) return edge_no_memory(planner->error);
  for (int32_t i = 0; i < count; i++) {
    const edge_view *view = &frame->views[tensors[i]];
    struct edge_value *value = &bundle->values[i];
    *value = (struct edge_value){.rank = view->rank, .bytes = view->bytes, .data = view->data};
    memcpy(value->shape, view->shape, sizeof value->shape);
  }
  return EDGE_OK;
}

edge_status edge_call_inputs(edge_planner *planner, const edge_step *step, int32_t first,
                             edge_region *region, edge_bundle *bundle) {
  return make_bundle(planner, planner->frame, step->node->inputs + first,
                     step->node->input_count - first, region, bundle);
}

edge_status edge_call_outputs(edge_planner *planner, int32_t subgraph, edge_region *region,
                              bool copy, edge_bundle *bundle) {
  const edge_frame *callee = &planner->frame->interpreter->frames[subgraph];
  EDGE_TRY(make_bundle(planner, callee, callee->graph->outputs, callee->graph->output_count, region,
                       bundle));
  for (int32_t i = 0; copy && i < bundle->count; i++) {
    struct edge_value *value = &bundle->values[i];
    void *memory = edge_region_alloc(region, value->bytes + 1, 1, planner->error);
    if (memory == NULL) return edge_no_memory(planner->error);
    if (value->bytes > 0) memcpy(memory, value->data, value->bytes);
    value->data = memory;
  }
  return EDGE_OK;
}

static bool same_shape(const int32_t *a, int32_t a_rank, const int32_t *b, int32_t b_rank) {
  /* A number is as good as a list of one. */
  if (a_rank <= 1 && b_rank <= 1 && edge_count(a, 0, a_rank) == 1 &&
      edge_count(b, 0, b_rank) == 1) {
    return true;
  }
  return a_rank == b_rank && memcmp(a, b, (size_t)a_rank * sizeof *a) == 0;
}

bool edge_same_shapes(const edge_bundle *a, const edge_bundle *b) {
  for (int32_t i = 0; i < a->count; i++) {
    const struct edge_value *x = &a->values[i];
    const struct edge_value *y = &b->values[i];
    if (!same_shape(x->shape, x->rank, y->shape, y->rank)) return false;
  }
  return true;
}

/* ---- calls ------------------------------------------------------------------------------- */

/* Every plan and every run counts: a few nested subgraphs could ask for any number of them. */
static edge_status count_call(edge_planner *planner, const edge_step *step) {
  edge_interpreter *interpreter = planner->frame->interpreter;
  if (interpreter->calls_left > 0) {
    interpreter->calls_left--;
    return EDGE_OK;
  }
  return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                        "expected at most %llu calls of subgraphs, got more",
                        (unsigned long long)interpreter->model->limits.calls);
}

edge_status edge_call_plan(edge_planner *planner, const edge_step *step, int32_t subgraph,
                           const edge_bundle *inputs) {
  edge_frame *callee = &planner->frame->interpreter->frames[subgraph];
  for (int32_t i = 0; i < inputs->count; i++) {
    const struct edge_value *value = &inputs->values[i];
    const int32_t tensor = callee->graph->inputs[i];
    const edge_view *view = &callee->views[tensor];
    if (view->rank == value->rank &&
        memcmp(view->shape, value->shape, (size_t)value->rank * sizeof *value->shape) == 0) {
      continue;
    }
    EDGE_TRY(edge_frame_resize(callee, tensor, value->shape, value->rank, planner->error));
  }
  if (callee->allocated) return EDGE_OK;
  EDGE_TRY(count_call(planner, step));
  const edge_status status = edge_plan_make(callee, planner->error);
  if (status != EDGE_OK) edge_report_subgraph(planner->error, subgraph);
  return status;
}

bool edge_call_is_static(const edge_planner *planner, int32_t subgraph) {
  return planner->frame->interpreter->frames[subgraph].segment_count == 1;
}

edge_status edge_call_run(edge_planner *planner, const edge_step *step, int32_t subgraph,
                          const edge_bundle *inputs) {
  edge_frame *callee = &planner->frame->interpreter->frames[subgraph];
  EDGE_TRY(count_call(planner, step));
  EDGE_TRY(edge_call_plan(planner, step, subgraph, inputs));
  for (int32_t i = 0; i < inputs->count; i++) {
    const edge_view *view = &callee->views[callee->graph->inputs[i]];
    if (view->bytes > 0) memcpy(view->data, inputs->values[i].data, view->bytes);
  }
  const edge_status status = edge_frame_run(callee, planner->error);
  if (status != EDGE_OK) edge_report_subgraph(planner->error, subgraph);
  return status;
}

edge_status edge_call_set_shapes(edge_planner *planner, const edge_step *step,
                                 const edge_bundle *outputs) {
  for (int32_t i = 0; i < outputs->count; i++) {
    EDGE_TRY(edge_set_shape(planner, step, i, outputs->values[i].rank, outputs->values[i].shape));
  }
  return EDGE_OK;
}

edge_status edge_call_deliver(edge_planner *planner, const edge_step *step,
                              const edge_bundle *outputs) {
  for (int32_t i = 0; i < outputs->count; i++) {
    const edge_view *view = &planner->frame->views[step->node->outputs[i]];
    const struct edge_value *value = &outputs->values[i];
    if (!same_shape(view->shape, view->rank, value->shape, value->rank)) return EDGE_DEFERRED;
    if (view->bytes > 0) memcpy(view->data, value->data, view->bytes);
  }
  return EDGE_OK;
}

edge_status edge_call_fetch(edge_planner *planner, const edge_step *step, int32_t subgraph) {
  const edge_frame *callee = &planner->frame->interpreter->frames[subgraph];
  for (int32_t i = 0; i < step->node->output_count; i++) {
    const edge_view *from = &callee->views[callee->graph->outputs[i]];
    const edge_view *to = &planner->frame->views[step->node->outputs[i]];
    if (!same_shape(from->shape, from->rank, to->shape, to->rank)) return EDGE_DEFERRED;
    if (to->bytes > 0) memcpy(to->data, from->data, to->bytes);
  }
  return EDGE_OK;
}

/* ---- who calls whom ---------------------------------------------------------------------- */

/* depth[g]: levels of calls below subgraph g; -1: not known yet; -2: being looked at. */
static int32_t depth_of(const edge_model *model, int32_t graph, int32_t *depth, int32_t level) {
  if (depth[graph] == -2 || level > DEPTH_MAX) return -1;
  if (depth[graph] >= 0) return depth[graph];
  depth[graph] = -2;
  int32_t deepest = 0;
  for (int32_t n = 0; n < model->graphs[graph].node_count; n++) {
    const edge_node *node = &model->graphs[graph].nodes[n];
    for (int32_t k = 0; k < node->callee_count; k++) {
      const int32_t below = depth_of(model, node->callees[k], depth, level + 1);
      if (below < 0) return -1;
      if (below + 1 > deepest) deepest = below + 1;
    }
  }
  depth[graph] = deepest;
  return deepest <= DEPTH_MAX ? deepest : -1;
}

edge_status edge_calls_check(edge_model *model, edge_error *error) {
  int32_t *depth =
      edge_region_alloc(&model->region, (uint64_t)model->graph_count, sizeof *depth, error);
  if (depth == NULL) return edge_no_memory(error);
  for (int32_t g = 0; g < model->graph_count; g++) depth[g] = -1;
  for (int32_t g = 0; g < model->graph_count; g++) {
    if (depth_of(model, g, depth, 0) >= 0) continue;
    return edge_fail(error, EDGE_MALFORMED_MODEL,
                     "subgraph %lld: expected calls of other subgraphs, at most %lld deep, got "
                     "deeper ones or a circle",
                     (long long)g, (long long)DEPTH_MAX);
  }
  return EDGE_OK;
}
