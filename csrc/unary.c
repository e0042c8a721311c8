/* Elementwise operators of one input: see unary.h. */
#include "unary.h"

#include <string.h>

#include "fold.h"

/* Elements of a task for the pool. */
enum { ROW = 16384 };

static const edge_type KNOWN_TYPES[] = {
    EDGE_FLOAT32, EDGE_FLOAT16, EDGE_FLOAT64, EDGE_INT8,      EDGE_UINT8,
    EDGE_INT16,   EDGE_UINT16,  EDGE_INT32,   EDGE_UINT32,    EDGE_INT64,
    EDGE_UINT64,  EDGE_BOOL,    EDGE_INT4,    EDGE_COMPLEX64, EDGE_COMPLEX128,
};

/* "float32, int8 or bool" */
static void list_types(uint32_t types, char *text, size_t size) {
  size_t at = 0;
  text[0] = 0;
  for (size_t i = 0; i < sizeof KNOWN_TYPES / sizeof KNOWN_TYPES[0]; i++) {
    const uint32_t bit = EDGE_TYPE_BIT(KNOWN_TYPES[i]);
    if ((types & bit) == 0) continue;
    const char *name = edge_type_name(KNOWN_TYPES[i]);
    const char *gap = at == 0 ? "" : (types & ~bit) != 0 ? ", " : " or ";
    types &= ~bit;
    const size_t gap_size = strlen(gap);
    const size_t name_size = strlen(name);
    if (at + gap_size + name_size >= size) return;
    memcpy(text + at, gap, gap_size);
    memcpy(text + at + gap_size, name, name_size + 1);
    at += gap_size + name_size;
  }
}

edge_status edge_expect_one_of(edge_compiler *compiler, const edge_node *node,
                               const edge_tensor *tensor, const char *what, uint32_t types) {
  char list[160];
  if ((uint32_t)tensor->type < 32 && (types & EDGE_TYPE_BIT(tensor->type)) != 0) return EDGE_OK;
  list_types(types, list, sizeof list);
  return edge_node_fail(
      compiler, node, EDGE_UNSUPPORTED_OPERATOR, "expected %s of type %s, got %s (tensor %lld)",
      what, list, edge_type_name(tensor->type), (long long)(tensor - compiler->graph->tensors));
}

edge_status edge_unary_types(edge_compiler *compiler, const edge_node *node, uint32_t types) {
  const edge_tensor *input = edge_node_input(compiler, node, 0);
  const edge_tensor *output = edge_node_output(compiler, node, 0);
  EDGE_TRY(edge_expect_one_of(compiler, node, input, "an input", types));
  return edge_expect_type(compiler, node, output, "an output", input->type);
}

edge_status edge_unary_quants(edge_compiler *compiler, const edge_node *node, edge_quant *input,
                              edge_quant *output) {
  const edge_tensor *in = edge_node_input(compiler, node, 0);
  EDGE_TRY(edge_expect_quant(compiler, node, in, "an input", input));
  EDGE_TRY(
      edge_expect_quant(compiler, node, edge_node_output(compiler, node, 0), "an output", output));
  if (in->type != EDGE_INT16 || (input->zero_point == 0 && output->zero_point == 0)) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected zero points of 0 for int16, got %lld and %lld",
                        (long long)input->zero_point, (long long)output->zero_point);
}

void *edge_unary_params(edge_compiler *compiler, edge_node *node, size_t size,
                        edge_unary_span *span) {
  edge_unary *unary = edge_node_params(compiler, node, size);
  if (unary == NULL) return NULL;
  unary->span = span;
  unary->kernels = compiler->model->kernels;
  unary->size_in = (uint32_t)edge_type_size(edge_node_input(compiler, node, 0)->type);
  unary->size_out = (uint32_t)edge_type_size(edge_node_output(compiler, node, 0)->type);
  return unary;
}

bool edge_xnn_both(const edge_compiler *compiler, const edge_node *node) {
  return edge_xnn_activation(edge_node_input(compiler, node, 0)) &&
         edge_xnn_activation(edge_node_output(compiler, node, 0));
}

edge_status edge_unary_plain(edge_compiler *compiler, edge_node *node, edge_unary_span *span,
                             const char *kernel) {
  if (edge_unary_params(compiler, node, sizeof(edge_unary), span) == NULL) {
    return edge_no_memory(compiler->error);
  }
  node->kernel = kernel;
  return EDGE_OK;
}

edge_status edge_unary_float(edge_compiler *compiler, edge_node *node, edge_unary_span *span) {
  if (edge_xnn_shape(edge_node_input(compiler, node, 0))) edge_fold_unary(compiler, node);
  return edge_unary_plain(compiler, node, span, "f32");
}

edge_status edge_unary_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  return edge_set_shape(planner, step, 0, input->rank, input->shape);
}

typedef struct unary_job {
  const edge_unary *unary;
  const uint8_t *in;
  uint8_t *out;
  uint64_t count;
} unary_job;

static void unary_task(void *context, uint32_t task, uint32_t worker) {
  const unary_job *job = context;
  const uint64_t from = (uint64_t)task * ROW;
  const uint64_t count = job->count - from < ROW ? job->count - from : ROW;
  (void)worker;
  job->unary->span(job->unary, job->in + from * job->unary->size_in,
                   job->out + from * job->unary->size_out, (size_t)count);
}

void edge_unary_run(const edge_frame *frame, const edge_step *step) {
  const edge_unary *unary = step->node->params;
  unary_job job = {.unary = unary,
                   .in = edge_in(frame, step, 0),
                   .out = edge_out(frame, step, 0),
                   .count = frame->views[step->node->outputs[0]].bytes / unary->size_out};
  edge_pool_run(frame->pool, unary_task, &job, (uint32_t)((job.count + ROW - 1) / ROW));
}
