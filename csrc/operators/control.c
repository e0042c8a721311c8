/* IF, WHILE, CALL_ONCE and STABLEHLO_COMPOSITE: operators that run other subgraphs.
 *
 * Where the shapes of the outputs follow from those of the inputs (both branches agree, the body
 * keeps its shapes), they are planned with everything else and perform() runs the subgraphs. Where
 * they do not, shape() is asked when the step's turn has come, runs the subgraphs itself, and keeps
 * what they gave for perform().
 *
 * Source: tflite/kernels/if.cc, while.cc, call_once.cc,
 * stablehlo_composite.cc.
 */
#include "../call.h"
#include "../operators.h"

typedef struct control_params {
  int32_t subgraphs[2]; /* IF: then, else; WHILE: condition, body; CALL_ONCE: the one */
} control_params;

/* What shape() has computed already. */
typedef struct control_state {
  bool ran;
  edge_bundle outputs;
} control_state;

static edge_status control_begin(edge_compiler *c, edge_node *node, int32_t callees,
                                 control_params **params) {
  *params = edge_node_params(c, node, sizeof **params);
  if (*params == NULL) return edge_no_memory(c->error);
  node->kernel = "subgraphs";
  node->callees = (*params)->subgraphs;
  node->callee_count = callees;
  /* Subgraphs read constants as they read everything else. */
  for (int32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] >= 0) EDGE_TRY(edge_keep(c, edge_node_input(c, node, i)));
  }
  return EDGE_OK;
}

static edge_status control_state_make(edge_planner *planner, edge_step *step,
                                      control_state **state) {
  *state = edge_step_state(planner, step, sizeof **state);
  return *state ? EDGE_OK : edge_no_memory(planner->error);
}

/* A condition: one bool. */
static edge_status check_condition(edge_planner *planner, const edge_step *step,
                                   const edge_view *view) {
  if (view->bytes == 1) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected a condition of one element, got %lld", (long long)view->bytes);
}

/* ---- IF ---------------------------------------------------------------------------------- */

static edge_status if_compile(edge_compiler *c, edge_node *node) {
  control_params *p;
  EDGE_TRY(control_begin(c, node, 2, &p));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 0), "a condition", EDGE_BOOL));
  EDGE_TRY(edge_callee_read(c, node, IF_THEN_SUBGRAPH_INDEX, 1, true, &p->subgraphs[0]));
  return edge_callee_read(c, node, IF_ELSE_SUBGRAPH_INDEX, 1, true, &p->subgraphs[1]);
}

/* A composite operator is a call without a condition. */
static int32_t first_argument(const edge_step *step) {
  return step->node->callee_count - 1;
}

static int32_t chosen(const edge_planner *planner, const edge_step *step) {
  const control_params *p = step->node->params;
  if (first_argument(step) == 0) return p->subgraphs[0];
  return p->subgraphs[*(const uint8_t *)edge_in(planner->frame, step, 0) ? 0 : 1];
}

static edge_status if_run(edge_planner *planner, const edge_step *step, edge_region *region,
                          bool copy, edge_bundle *outputs) {
  const int32_t subgraph = chosen(planner, step);
  edge_bundle inputs;
  EDGE_TRY(edge_call_inputs(planner, step, first_argument(step), region, &inputs));
  EDGE_TRY(edge_call_run(planner, step, subgraph, &inputs));
  return edge_call_outputs(planner, subgraph, region, copy, outputs);
}

static edge_status if_shape(edge_planner *planner, edge_step *step) {
  const control_params *p = step->node->params;
  control_state *s;
  edge_bundle inputs;
  edge_bundle outputs[2];
  EDGE_TRY(control_state_make(planner, step, &s));
  if (first_argument(step) == 1) {
    EDGE_TRY(check_condition(planner, step, edge_view_in(planner, step, 0)));
  }
  if (planner->turn == step) {
    s->ran = true;
    EDGE_TRY(if_run(planner, step, planner->memory, true, &s->outputs));
    return edge_call_set_shapes(planner, step, &s->outputs);
  }
  EDGE_TRY(edge_call_inputs(planner, step, first_argument(step), planner->memory, &inputs));
  for (int32_t i = 0; i < step->node->callee_count; i++) {
    EDGE_TRY(edge_call_plan(planner, step, p->subgraphs[i], &inputs));
    if (!edge_call_is_static(planner, p->subgraphs[i])) return EDGE_DEFERRED;
    EDGE_TRY(edge_call_outputs(planner, p->subgraphs[i], planner->memory, false, &outputs[i]));
  }
  const bool one = step->node->callee_count == 1;
  if (!one && !edge_same_shapes(&outputs[0], &outputs[1])) return EDGE_DEFERRED;
  return edge_call_set_shapes(planner, step, &outputs[0]);
}

static edge_status if_perform(edge_planner *planner, edge_step *step) {
  control_state *s = step->state;
  if (s->ran) {
    s->ran = false;
    return edge_call_deliver(planner, step, &s->outputs);
  }
  edge_region region = {.limit = planner->frame->model->limits.arena_bytes};
  edge_bundle outputs = {0};
  edge_status status = if_run(planner, step, &region, false, &outputs);
  if (status == EDGE_OK) status = edge_call_deliver(planner, step, &outputs);
  edge_region_release(&region);
  return status;
}

static edge_status composite_compile(edge_compiler *c, edge_node *node) {
  control_params *p;
  EDGE_TRY(control_begin(c, node, 1, &p));
  return edge_callee_read(c, node, STABLE_HLO_COMPOSITE_DECOMPOSITION_SUBGRAPH_INDEX, 0, true,
                          &p->subgraphs[0]);
}

/* ---- WHILE ------------------------------------------------------------------------------- */

static edge_status while_compile(edge_compiler *c, edge_node *node) {
  control_params *p;
  EDGE_TRY(control_begin(c, node, 2, &p));
  EDGE_TRY(edge_callee_read(c, node, WHILE_COND_SUBGRAPH_INDEX, 0, false, &p->subgraphs[0]));
  EDGE_TRY(edge_callee_read(c, node, WHILE_BODY_SUBGRAPH_INDEX, 0, true, &p->subgraphs[1]));
  const edge_graph *condition = &c->model->graphs[p->subgraphs[0]];
  if (condition->output_count != 1 || condition->tensors[condition->outputs[0]].type != EDGE_BOOL) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a condition with one output of type bool, got %lld outputs in "
                          "subgraph %lld",
                          (long long)condition->output_count, (long long)p->subgraphs[0]);
  }
  if (node->output_count == node->input_count && p->subgraphs[0] != p->subgraphs[1]) return EDGE_OK;
  return edge_node_fail(
      c, node, EDGE_MALFORMED_MODEL,
      "expected as many outputs as inputs, %lld, and two subgraphs, got %lld outputs "
      "and subgraphs %lld and %lld",
      (long long)node->input_count, (long long)node->output_count, (long long)p->subgraphs[0],
      (long long)p->subgraphs[1]);
}

/* *more: whether the body is to run once more on `values`. */
static edge_status while_condition(edge_planner *planner, const edge_step *step,
                                   const edge_bundle *values, bool *more) {
  const control_params *p = step->node->params;
  EDGE_TRY(edge_call_run(planner, step, p->subgraphs[0], values));
  const edge_frame *callee = &planner->frame->interpreter->frames[p->subgraphs[0]];
  const edge_view *view = &callee->views[callee->graph->outputs[0]];
  EDGE_TRY(check_condition(planner, step, view));
  *more = *(const uint8_t *)view->data != 0;
  return EDGE_OK;
}

/* Runs the loop from the step's inputs on. The values lie in one of two regions while the body
 * fills the other; *last is that of the result, which the caller releases. */
static edge_status while_run(edge_planner *planner, const edge_step *step, edge_region regions[2],
                             edge_bundle *values, int *last) {
  const control_params *p = step->node->params;
  bool more = false;
  *last = 0;
  EDGE_TRY(edge_call_inputs(planner, step, 0, &regions[0], values));
  EDGE_TRY(while_condition(planner, step, values, &more));
  while (more) {
    const int next = 1 - *last;
    EDGE_TRY(edge_call_run(planner, step, p->subgraphs[1], values));
    edge_region_release(&regions[next]);
    EDGE_TRY(edge_call_outputs(planner, p->subgraphs[1], &regions[next], true, values));
    *last = next;
    EDGE_TRY(while_condition(planner, step, values, &more));
  }
  return EDGE_OK;
}

/* The loop, and then its result in the step's own memory. */
static edge_status while_run_now(edge_planner *planner, edge_step *step, edge_bundle *outputs) {
  const edge_model *model = planner->frame->model;
  const edge_region empty = {.limit = model->limits.arena_bytes, .secret = model->region.secret};
  edge_region regions[2] = {empty, empty};
  edge_bundle values = {0};
  int last = 0;
  edge_status status = while_run(planner, step, regions, &values, &last);
  outputs->count = values.count;
  outputs->values = NULL;
  if (status == EDGE_OK) {
    outputs->values = edge_region_alloc(planner->memory, (uint64_t)values.count + 1,
                                        sizeof *values.values, planner->error);
    if (outputs->values == NULL) status = edge_no_memory(planner->error);
  }
  for (int32_t i = 0; status == EDGE_OK && i < values.count; i++) {
    const struct edge_value *value = &values.values[i];
    void *memory = edge_region_alloc(planner->memory, value->bytes + 1, 1, planner->error);
    if (memory == NULL) {
      status = edge_no_memory(planner->error);
      break;
    }
    if (value->bytes > 0) memcpy(memory, value->data, value->bytes);
    outputs->values[i] = *value;
    outputs->values[i].data = memory;
  }
  edge_region_release(&regions[0]);
  edge_region_release(&regions[1]);
  return status;
}

static edge_status while_shape(edge_planner *planner, edge_step *step) {
  const control_params *p = step->node->params;
  control_state *s;
  edge_bundle inputs;
  edge_bundle outputs;
  EDGE_TRY(control_state_make(planner, step, &s));
  if (planner->turn == step) {
    s->ran = true;
    EDGE_TRY(while_run_now(planner, step, &s->outputs));
    return edge_call_set_shapes(planner, step, &s->outputs);
  }
  EDGE_TRY(edge_call_inputs(planner, step, 0, planner->memory, &inputs));
  for (int i = 0; i < 2; i++) {
    EDGE_TRY(edge_call_plan(planner, step, p->subgraphs[i], &inputs));
    if (!edge_call_is_static(planner, p->subgraphs[i])) return EDGE_DEFERRED;
  }
  EDGE_TRY(edge_call_outputs(planner, p->subgraphs[1], planner->memory, false, &outputs));
  if (!edge_same_shapes(&inputs, &outputs)) return EDGE_DEFERRED;
  return edge_call_set_shapes(planner, step, &outputs);
}

/* The step's outputs hold the values from one round to the next. */
static edge_status while_perform(edge_planner *planner, edge_step *step) {
  const control_params *p = step->node->params;
  control_state *s = step->state;
  if (s->ran) {
    s->ran = false;
    return edge_call_deliver(planner, step, &s->outputs);
  }
  edge_region region = {.limit = planner->frame->model->limits.arena_bytes};
  edge_bundle values = {0};
  bool more = false;
  edge_status status = edge_call_inputs(planner, step, 0, &region, &values);
  if (status == EDGE_OK) status = edge_call_deliver(planner, step, &values);
  for (int32_t i = 0; status == EDGE_OK && i < values.count; i++) {
    values.values[i].data = edge_out(planner->frame, step, i);
  }
  if (status == EDGE_OK) status = while_condition(planner, step, &values, &more);
  while (status == EDGE_OK && more) {
    status = edge_call_run(planner, step, p->subgraphs[1], &values);
    if (status == EDGE_OK) status = edge_call_fetch(planner, step, p->subgraphs[1]);
    if (status == EDGE_OK) status = while_condition(planner, step, &values, &more);
  }
  edge_region_release(&region);
  return status;
}

/* ---- CALL_ONCE --------------------------------------------------------------------------- */

static edge_status call_once_compile(edge_compiler *c, edge_node *node) {
  control_params *p;
  EDGE_TRY(control_begin(c, node, 1, &p));
  return edge_callee_read(c, node, CALL_ONCE_INIT_SUBGRAPH_INDEX, 0, true, &p->subgraphs[0]);
}

static edge_status call_once_shape(edge_planner *planner, edge_step *step) {
  (void)planner;
  (void)step;
  return EDGE_OK;
}

static edge_status call_once_perform(edge_planner *planner, edge_step *step) {
  const control_params *p = step->node->params;
  edge_interpreter *interpreter = planner->frame->interpreter;
  const edge_bundle none = {0};
  if (interpreter->initialized[p->subgraphs[0]]) return EDGE_OK;
  EDGE_TRY(edge_call_run(planner, step, p->subgraphs[0], &none));
  interpreter->initialized[p->subgraphs[0]] = 1;
  edge_plan_drop(&interpreter->frames[p->subgraphs[0]]);
  return EDGE_OK;
}

/* A list of tensors in a file has at most so many entries (graph.c). */
enum { TENSORS_MAX = 4096 };

const edge_operator edge_operator_if = {
    .code = 118,
    .name = "IF",
    .version_max = 1,
    .options_type = 92,
    .inputs_min = 1,
    .inputs_max = TENSORS_MAX,
    .outputs_min = 0,
    .outputs_max = TENSORS_MAX,
    .stateful = true,
    .compile = if_compile,
    .shape = if_shape,
    .perform = if_perform,
};

const edge_operator edge_operator_stablehlo_composite = {
    .code = 206,
    .name = "STABLEHLO_COMPOSITE",
    .version_max = 1,
    .options_type = 21,
    .options_2 = true,
    .inputs_min = 0,
    .inputs_max = TENSORS_MAX,
    .outputs_min = 1,
    .outputs_max = TENSORS_MAX,
    .stateful = true,
    .compile = composite_compile,
    .shape = if_shape,
    .perform = if_perform,
};

const edge_operator edge_operator_while = {
    .code = 119,
    .name = "WHILE",
    .version_max = 1,
    .options_type = 93,
    .inputs_min = 0,
    .inputs_max = TENSORS_MAX,
    .outputs_min = 0,
    .outputs_max = TENSORS_MAX,
    .stateful = true,
    .compile = while_compile,
    .shape = while_shape,
    .perform = while_perform,
};

const edge_operator edge_operator_call_once = {
    .code = 129,
    .name = "CALL_ONCE",
    .version_max = 1,
    .options_type = 103,
    .outputs_max = -1,
    .stateful = true,
    .compile = call_once_compile,
    .shape = call_once_shape,
    .perform = call_once_perform,
};
