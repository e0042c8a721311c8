/* Operators over rows: see rows.h. */
#include "rows.h"

/* Elements of a task for the pool, about. */
enum { TASK = 4096 };

typedef struct rows_state {
  int64_t rows;
  int64_t rows_per_task;
  int32_t depth;
} rows_state;

typedef struct rows_job {
  const edge_rows *of;
  const rows_state *state;
  const uint8_t *in;
  uint8_t *out;
} rows_job;

void *edge_rows_params(edge_compiler *compiler, edge_node *node, size_t size, edge_rows_fn *row) {
  edge_rows *rows = edge_node_params(compiler, node, size);
  if (rows == NULL) return NULL;
  rows->row = row;
  rows->size_in = (uint32_t)edge_type_size(edge_node_input(compiler, node, 0)->type);
  rows->size_out = (uint32_t)edge_type_size(edge_node_output(compiler, node, 0)->type);
  return rows;
}

edge_status edge_rows_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  rows_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  if (input->rank < 1 || input->shape[input->rank - 1] < 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected rows of at least one element, got none");
  }
  s->depth = input->shape[input->rank - 1];
  s->rows = edge_count(input->shape, 0, input->rank - 1);
  s->rows_per_task = s->depth < TASK ? TASK / s->depth : 1;
  return edge_set_shape(planner, step, 0, input->rank, input->shape);
}

static void rows_task(void *context, uint32_t task, uint32_t worker) {
  const rows_job *job = context;
  const rows_state *s = job->state;
  const int64_t from = task * s->rows_per_task;
  const int64_t to = edge_min(s->rows, from + s->rows_per_task);
  (void)worker;
  for (int64_t r = from; r < to; r++) {
    job->of->row(job->of, job->in + r * s->depth * job->of->size_in,
                 job->out + r * s->depth * job->of->size_out, s->depth);
  }
}

void edge_rows_run(const edge_frame *frame, const edge_step *step) {
  const rows_state *s = step->state;
  rows_job job = {step->node->params, s, edge_in(frame, step, 0), edge_out(frame, step, 0)};
  edge_pool_run(frame->pool, rows_task, &job,
                (uint32_t)((s->rows + s->rows_per_task - 1) / s->rows_per_task));
}
