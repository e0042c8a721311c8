/* MIRROR_PAD: a tensor and its mirror images around it, with (SYMMETRIC) or without (REFLECT) the
 * row at the border.
 *
 * Source: tflite/kernels/mirror_pad.cc.
 */
#include "../movement.h"
#include "../operators.h"

enum { REFLECT = 0, SYMMETRIC = 1 };

typedef struct mirror_params {
  int32_t offset; /* how many rows at the border are not repeated */
} mirror_params;

typedef struct mirror_state {
  int64_t size; /* bytes of an element */
  int32_t before[EDGE_MAX_RANK], after[EDGE_MAX_RANK];
} mirror_state;

static edge_status mirror_compile(edge_compiler *c, edge_node *node) {
  int8_t mode = REFLECT;
  mirror_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  node->kernel = "copy";
  if (!edge_table_i8(&node->options, MIRROR_PAD_MODE, REFLECT, &mode) ||
      (mode != REFLECT && mode != SYMMETRIC)) {
    return edge_node_fail(c, node, EDGE_UNSUPPORTED_OPERATOR,
                          "expected the mode REFLECT or SYMMETRIC, 0 or 1, got %lld",
                          (long long)mode);
  }
  p->offset = mode == REFLECT ? 1 : 0;
  EDGE_TRY(edge_expect_whole(c, node, 1, "paddings"));
  return edge_expect_moved(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

static edge_status mirror_shape(edge_planner *planner, edge_step *step) {
  const mirror_params *p = step->node->params;
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t list[2 * EDGE_MAX_RANK];
  int32_t shape[EDGE_MAX_RANK];
  EDGE_TRY(edge_exact_list_in(planner, step, 1, 2 * input->rank, list));
  mirror_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->size = edge_element_in(planner, step, 0);
  for (int64_t d = 0; d < input->rank; d++) {
    const int64_t most = (int64_t)input->shape[d] - p->offset;
    const int64_t before = list[2 * d];
    const int64_t after = list[2 * d + 1];
    const int64_t size = input->shape[d] + before + after;
    if (before < 0 || after < 0 || before > most || after > most || size > INT32_MAX) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected paddings in 0 ... %lld, got %lld and %lld", (long long)most,
                            (long long)before, (long long)after);
    }
    s->before[d] = (int32_t)before;
    s->after[d] = (int32_t)after;
    shape[d] = (int32_t)size;
  }
  return edge_set_shape(planner, step, 0, input->rank, shape);
}

typedef struct mirror_job {
  const mirror_state *state;
  int32_t offset;
  const edge_view *in, *out;
} mirror_job;

/* Writes one entry of dimension d - 1, from dimension d on: the middle from the input, then its
 * images from the middle. Recursion goes as deep as the rank, at most EDGE_MAX_RANK. */
static void mirror_dimension(const mirror_job *job, int32_t d, const uint8_t *from, uint8_t *to) {
  const mirror_state *s = job->state;
  if (d == job->in->rank) {
    memcpy(to, from, (size_t)s->size);
    return;
  }
  const int64_t row = edge_count(job->out->shape, d + 1, job->out->rank) * s->size;
  const int64_t in_row = edge_count(job->in->shape, d + 1, job->in->rank) * s->size;
  const int64_t size = job->in->shape[d];
  uint8_t *first = to + s->before[d] * row;
  uint8_t *end = first + size * row;
  if (row == s->size && d + 1 == job->in->rank) {
    memcpy(first, from, (size_t)(size * row));
  } else {
    for (int64_t i = 0; i < size; i++)
      mirror_dimension(job, d + 1, from + i * in_row, first + i * row);
  }
  for (int64_t i = 0; i < s->before[d]; i++) {
    memcpy(first - (i + 1) * row, first + (i + job->offset) * row, (size_t)row);
  }
  for (int64_t i = 0; i < s->after[d]; i++) {
    memcpy(end + i * row, end - (i + 1 + job->offset) * row, (size_t)row);
  }
}

static void mirror_run(const edge_frame *frame, const edge_step *step) {
  const mirror_job job = {step->state, ((const mirror_params *)step->node->params)->offset,
                          &frame->views[step->node->inputs[0]],
                          &frame->views[step->node->outputs[0]]};
  mirror_dimension(&job, 0, edge_in(frame, step, 0), edge_out(frame, step, 0));
}

const edge_operator edge_operator_mirror_pad = {
    .code = 100,
    .name = "MIRROR_PAD",
    .version_max = 3,
    .options_type = 77,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = mirror_compile,
    .shape = mirror_shape,
    .run = mirror_run,
};
