#include "sequence.h"

edge_status edge_sequence_read_aux(edge_compiler *compiler, const edge_node *node, int32_t aux,
                                   int32_t weights, edge_sequence_form *form) {
  const edge_tensor *tensor = edge_node_optional(compiler, node, aux);
  const bool weighted = edge_node_optional(compiler, node, weights) != NULL;
  form->aux = -1;
  if (tensor == NULL) {
    if (!weighted) return EDGE_OK;
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected an auxiliary input to its weights, got none");
  }
  EDGE_TRY(edge_expect_type(compiler, node, tensor, "an auxiliary input", EDGE_FLOAT32));
  EDGE_TRY(edge_expect_rank(compiler, node, tensor, "an auxiliary input", 3));
  EDGE_TRY(edge_keep(compiler, &compiler->graph->tensors[node->inputs[aux]]));
  if (!weighted) {
    form->inputs[1] = aux;
    return EDGE_OK;
  }
  form->aux = aux;
  form->aux_depth = tensor->shape[2];
  if (form->aux_depth >= 1) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected an auxiliary input with elements, got none");
}

edge_status edge_sequence_expect_outputs(edge_compiler *compiler, const edge_node *node,
                                         const edge_sequence_form *form) {
  const int32_t count = form->merged ? 1 : form->count;
  if (node->output_count != count) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL, "expected %lld outputs, got %lld",
                          (long long)count, (long long)node->output_count);
  }
  for (int32_t i = 0; i < count; i++) {
    const edge_tensor *output = edge_node_output(compiler, node, i);
    EDGE_TRY(edge_expect_type(compiler, node, output, "an output", EDGE_FLOAT32));
  }
  return EDGE_OK;
}

/* ---- shape ------------------------------------------------------------------------------- */

static edge_status check_input(edge_planner *planner, const edge_step *step,
                               const edge_sequence_form *form, int32_t i, int32_t depth) {
  const edge_view *view = edge_view_in(planner, step, i);
  const edge_view *first = edge_view_in(planner, step, 0);
  const int32_t rank = form->sequence ? 3 : 2;
  if (view->rank == rank && view->shape[rank - 1] == depth && view->shape[0] == first->shape[0] &&
      (rank == 2 || view->shape[1] == first->shape[1])) {
    return EDGE_OK;
  }
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected input %lld of rank %lld in rows of %lld elements, got rank %lld "
                        "with %lld",
                        (long long)i, (long long)rank, (long long)depth, (long long)view->rank,
                        (long long)(view->rank > 0 ? view->shape[view->rank - 1] : 0));
}

static edge_status set_outputs(edge_planner *planner, const edge_step *step,
                               const edge_sequence_form *form) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  memcpy(shape, input->shape, sizeof shape);
  if (!form->merged) {
    for (int32_t i = 0; i < form->count; i++) {
      shape[input->rank - 1] = form->widths[i];
      EDGE_TRY(edge_set_shape(planner, step, i, input->rank, shape));
    }
    return EDGE_OK;
  }
  const int64_t width = (int64_t)form->widths[0] + form->widths[1];
  if (width > INT32_MAX) {
    return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                          "expected an output in rows of at most %lld elements, got %lld",
                          (long long)INT32_MAX, (long long)width);
  }
  shape[input->rank - 1] = (int32_t)width;
  return edge_set_shape(planner, step, 0, input->rank, shape);
}

edge_status edge_sequence_shape(edge_planner *planner, const edge_step *step,
                                const edge_sequence_form *form, edge_sequence *sequence) {
  const edge_view *input = edge_view_in(planner, step, 0);
  EDGE_TRY(check_input(planner, step, form, 0, form->depths[0]));
  for (int32_t i = 1; i < form->count; i++) {
    EDGE_TRY(check_input(planner, step, form, form->inputs[i], form->depths[i]));
  }
  if (form->aux >= 0) EDGE_TRY(check_input(planner, step, form, form->aux, form->aux_depth));
  sequence->batch = input->shape[form->sequence && form->time_major ? 1 : 0];
  sequence->time = form->sequence ? input->shape[form->time_major ? 0 : 1] : 1;
  sequence->batch_stride = form->time_major ? 1 : sequence->time;
  sequence->time_stride = form->time_major ? sequence->batch : 1;
  return set_outputs(planner, step, form);
}
