/* MATRIX_DIAG and MATRIX_SET_DIAG: lists as the diagonals of matrices, of zeros or of others.
 *
 * Source: tflite/kernels/matrix_diag.cc, matrix_set_diag.cc.
 */
#include "../movement.h"
#include "../operators.h"

typedef struct diagonal_state {
  int64_t matrices, size; /* size: bytes of an element */
  int64_t rows, columns, length;
} diagonal_state;

static edge_status diag_compile(edge_compiler *c, edge_node *node) {
  return edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

static edge_status set_diag_compile(edge_compiler *c, edge_node *node) {
  edge_tensor *diagonal = edge_node_input(c, node, 1);
  EDGE_TRY(diag_compile(c, node));
  EDGE_TRY(edge_expect_movable(c, node, diagonal, edge_node_output(c, node, 0)));
  return edge_keep(c, diagonal);
}

static edge_status make_state(edge_planner *planner, edge_step *step, int32_t rank,
                              const int32_t *shape) {
  EDGE_TRY(edge_set_shape(planner, step, 0, rank, shape));
  diagonal_state *s = edge_step_state(planner, step, sizeof *s);
  if (s == NULL) return edge_no_memory(planner->error);
  s->matrices = edge_count(shape, 0, rank - 2);
  s->size = edge_element_in(planner, step, 0);
  s->rows = shape[rank - 2];
  s->columns = shape[rank - 1];
  s->length = edge_min(s->rows, s->columns);
  return EDGE_OK;
}

static edge_status diag_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[EDGE_MAX_RANK];
  if (input->rank < 1 || input->rank == EDGE_MAX_RANK) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an input of rank 1 ... %lld, got %lld",
                          (long long)EDGE_MAX_RANK - 1, (long long)input->rank);
  }
  memcpy(shape, input->shape, sizeof shape);
  shape[input->rank] = input->shape[input->rank - 1];
  return make_state(planner, step, input->rank + 1, shape);
}

static edge_status set_diag_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const edge_view *diagonal = edge_view_in(planner, step, 1);
  const int32_t last = input->rank - 1;
  bool ok = input->rank >= 2 && diagonal->rank == last;
  for (int32_t d = 0; ok && d < last - 1; d++) ok = diagonal->shape[d] == input->shape[d];
  ok = ok && diagonal->shape[last - 1] == edge_min(input->shape[last - 1], input->shape[last]);
  if (ok) return make_state(planner, step, input->rank, input->shape);
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected matrices and a diagonal for each, got ranks %lld and %lld",
                        (long long)input->rank, (long long)diagonal->rank);
}

static void put_diagonals(const diagonal_state *s, const uint8_t *from, uint8_t *to) {
  const int64_t matrix = s->rows * s->columns * s->size;
  edge_walk walk = {.block = s->size};
  edge_walk_add(&walk, s->matrices, s->length * s->size, matrix);
  edge_walk_add(&walk, s->length, s->size, (s->columns + 1) * s->size);
  edge_walk_run(&walk, from, to);
}

static void diag_run(const edge_frame *frame, const edge_step *step) {
  memset(edge_out(frame, step, 0), 0, frame->views[step->node->outputs[0]].bytes);
  put_diagonals(step->state, edge_in(frame, step, 0), edge_out(frame, step, 0));
}

static void set_diag_run(const edge_frame *frame, const edge_step *step) {
  uint8_t *out = edge_out(frame, step, 0);
  memcpy(out, edge_in(frame, step, 0), frame->views[step->node->outputs[0]].bytes);
  put_diagonals(step->state, edge_in(frame, step, 1), out);
}

const edge_operator edge_operator_matrix_diag = {
    .code = 113,
    .name = "MATRIX_DIAG",
    .version_max = 1,
    .options_type = 88,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = diag_compile,
    .shape = diag_shape,
    .run = diag_run,
};

const edge_operator edge_operator_matrix_set_diag = {
    .code = 115,
    .name = "MATRIX_SET_DIAG",
    .version_max = 1,
    .options_type = 90,
    .inputs_min = 2,
    .inputs_max = 2,
    .compile = set_diag_compile,
    .shape = set_diag_shape,
    .run = set_diag_run,
};
