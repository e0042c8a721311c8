/* VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE: values that outlive an invoke, shared by all
 * subgraphs and known by container and name. A handle is the variable's number as int32.
 *
 * A variable that is read is planned with the shape that it has, or, before its first assignment,
 * with that in the file; where it turns out to have another when it is read, the steps from there
 * on are planned again.
 *
 * Source: tflite/kernels/var_handle.cc, read_variable.cc, assign_variable.cc.
 */
#include "../operators.h"

enum { VARIABLES_MAX = 4096 };

typedef struct variable_params {
  int32_t index;
} variable_params;

static bool is_handle(const edge_tensor *tensor) {
  return tensor->type == EDGE_RESOURCE || tensor->type == EDGE_INT32;
}

/* ---- VAR_HANDLE -------------------------------------------------------------------------- */

/* Container and name, each with its NUL, so that no two pairs read alike. */
static edge_status read_key(edge_compiler *c, const edge_node *node, const char **key,
                            size_t *size) {
  edge_vector container;
  edge_vector name;
  if (!edge_table_vector(&node->options, VAR_HANDLE_CONTAINER, 1, &container) ||
      !edge_table_vector(&node->options, VAR_HANDLE_SHARED_NAME, 1, &name)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  *size = (size_t)container.count + name.count + 2 + sizeof(uint32_t);
  char *text = edge_region_alloc(&c->model->region, *size, 1, c->error);
  if (text == NULL) return edge_no_memory(c->error);
  *key = text;
  memcpy(text, &container.count, sizeof(uint32_t));
  text += sizeof(uint32_t);
  if (container.count > 0) memcpy(text, edge_vector_data(&container), container.count);
  text += container.count + 1;
  if (name.count > 0) memcpy(text, edge_vector_data(&name), name.count);
  return EDGE_OK;
}

static edge_status find_variable(edge_compiler *c, const edge_node *node, int32_t *index) {
  edge_model *model = c->model;
  const char *key = NULL;
  size_t size = 0;
  EDGE_TRY(read_key(c, node, &key, &size));
  for (*index = 0; *index < model->variable_count; ++*index) {
    const edge_variable_key *known = &model->variables[*index];
    if (known->size == size && memcmp(known->bytes, key, size) == 0) return EDGE_OK;
  }
  if (model->variables == NULL) {
    model->variables =
        edge_region_alloc(&model->region, VARIABLES_MAX, sizeof *model->variables, c->error);
    if (model->variables == NULL) return edge_no_memory(c->error);
  }
  if (model->variable_count == VARIABLES_MAX) {
    return edge_node_fail(c, node, EDGE_LIMIT_EXCEEDED, "expected at most %lld variables, got more",
                          (long long)VARIABLES_MAX);
  }
  model->variables[model->variable_count++] = (edge_variable_key){key, size};
  return EDGE_OK;
}

static edge_status var_handle_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  variable_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  EDGE_TRY(edge_expect_type(c, node, output, "an output", EDGE_RESOURCE));
  if (edge_stored_count(output) != 1) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected an output of one element, got %llu",
                          (unsigned long long)edge_stored_count(output));
  }
  return find_variable(c, node, &p->index);
}

static edge_status var_handle_shape(edge_planner *planner, edge_step *step) {
  const edge_tensor *output = &planner->frame->graph->tensors[step->node->outputs[0]];
  return edge_set_shape(planner, step, 0, output->rank, output->shape);
}

static void var_handle_run(const edge_frame *frame, const edge_step *step) {
  const variable_params *p = step->node->params;
  memcpy(edge_out(frame, step, 0), &p->index, sizeof p->index);
}

/* ---- READ_VARIABLE and ASSIGN_VARIABLE --------------------------------------------------- */

static edge_status expect_handle(edge_compiler *c, const edge_node *node) {
  const edge_tensor *handle = edge_node_input(c, node, 0);
  if (is_handle(handle) && edge_stored_count(handle) == 1) return EDGE_OK;
  return edge_node_fail(
      c, node, EDGE_MALFORMED_MODEL, "expected a handle of one element, got %llu of type %s",
      (unsigned long long)edge_stored_count(handle), edge_type_name(handle->type));
}

/* The variable that the handle names, or NULL: its values are not known yet. */
static edge_status variable_of(edge_planner *planner, const edge_step *step,
                               edge_variable **variable) {
  const edge_interpreter *interpreter = planner->frame->interpreter;
  const int32_t *handle = edge_values_in(planner, step, 0);
  *variable = NULL;
  if (handle == NULL) return EDGE_OK;
  const uint64_t bytes = edge_view_in(planner, step, 0)->bytes;
  if (bytes != sizeof *handle) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected the handle of one variable, 4 bytes, got %llu",
                          (unsigned long long)bytes);
  }
  if (*handle < 0 || *handle >= interpreter->model->variable_count) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected the handle of one of %lld variables, got %lld",
                          (long long)interpreter->model->variable_count, (long long)*handle);
  }
  *variable = &interpreter->variables[*handle];
  return EDGE_OK;
}

static edge_status read_variable_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  node->kernel = "copy";
  EDGE_TRY(expect_handle(c, node));
  return edge_expect_movable(c, node, output, output);
}

static edge_status read_variable_shape(edge_planner *planner, edge_step *step) {
  const edge_tensor *output = &planner->frame->graph->tensors[step->node->outputs[0]];
  edge_variable *variable = NULL;
  EDGE_TRY(variable_of(planner, step, &variable));
  if (variable != NULL && variable->assigned) {
    return edge_set_shape(planner, step, 0, variable->rank, variable->shape);
  }
  return edge_set_shape(planner, step, 0, output->rank, output->shape);
}

static edge_status read_variable_perform(edge_planner *planner, edge_step *step) {
  const edge_view *output = &planner->frame->views[step->node->outputs[0]];
  const edge_tensor *tensor = &planner->frame->graph->tensors[step->node->outputs[0]];
  edge_variable *variable = NULL;
  EDGE_TRY(variable_of(planner, step, &variable));
  if (variable == NULL || !variable->assigned) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a variable that has been assigned, got one that has not");
  }
  if (variable->type != tensor->type) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected a variable of type %s, got %s", edge_type_name(tensor->type),
                          edge_type_name(variable->type));
  }
  if (variable->rank != output->rank ||
      memcmp(variable->shape, output->shape, (size_t)output->rank * sizeof *output->shape) != 0) {
    return EDGE_DEFERRED;
  }
  if (output->bytes > 0) memcpy(output->data, variable->data, output->bytes);
  return EDGE_OK;
}

static edge_status assign_variable_compile(edge_compiler *c, edge_node *node) {
  edge_tensor *value = edge_node_input(c, node, 1);
  node->kernel = "copy";
  EDGE_TRY(expect_handle(c, node));
  EDGE_TRY(edge_expect_movable(c, node, value, value));
  return edge_keep(c, value);
}

static edge_status nothing_to_shape(edge_planner *planner, edge_step *step) {
  (void)planner;
  (void)step;
  return EDGE_OK;
}

static edge_status make_room(edge_planner *planner, edge_variable *variable, uint64_t bytes) {
  const edge_model *model = planner->frame->model;
  if (variable->assigned && variable->bytes == bytes) return EDGE_OK;
  edge_region_release(&variable->region);
  *variable = (edge_variable){0};
  variable->region = (edge_region){.limit = edge_arena_left(planner->frame->interpreter),
                                   .secret = model->region.secret,
                                   .require_locked = model->region.require_locked};
  variable->data = edge_region_alloc(&variable->region, bytes + 1, 1, planner->error);
  return variable->data ? EDGE_OK : edge_no_memory(planner->error);
}

static edge_status assign_variable_perform(edge_planner *planner, edge_step *step) {
  const edge_view *value = edge_view_in(planner, step, 1);
  edge_variable *variable = NULL;
  EDGE_TRY(variable_of(planner, step, &variable));
  if (variable == NULL) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected the handle of a variable, got none");
  }
  EDGE_TRY(make_room(planner, variable, value->bytes));
  variable->type = planner->frame->graph->tensors[step->node->inputs[1]].type;
  variable->rank = value->rank;
  memcpy(variable->shape, value->shape, sizeof variable->shape);
  variable->bytes = value->bytes;
  variable->assigned = true;
  if (value->bytes > 0) memcpy(variable->data, value->data, value->bytes);
  return EDGE_OK;
}

const edge_operator edge_operator_var_handle = {
    .code = 142,
    .name = "VAR_HANDLE",
    .version_max = 1,
    .options_type = 111,
    .compile = var_handle_compile,
    .shape = var_handle_shape,
    .run = var_handle_run,
};

const edge_operator edge_operator_read_variable = {
    .code = 143,
    .name = "READ_VARIABLE",
    .version_max = 1,
    .options_type = 112,
    .inputs_min = 1,
    .inputs_max = 1,
    .stateful = true,
    .compile = read_variable_compile,
    .shape = read_variable_shape,
    .perform = read_variable_perform,
};

const edge_operator edge_operator_assign_variable = {
    .code = 144,
    .name = "ASSIGN_VARIABLE",
    .version_max = 1,
    .options_type = 113,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = -1,
    .stateful = true,
    .compile = assign_variable_compile,
    .shape = nothing_to_shape,
    .perform = assign_variable_perform,
};
