/* DEPTH_TO_SPACE, SPACE_TO_DEPTH, BATCH_TO_SPACE_ND and SPACE_TO_BATCH_ND: blocks of an image
 * become channels or batches, and come back.
 *
 * Source: tflite/kernels/depth_to_space.cc, space_to_depth.cc, batch_to_space_nd.cc,
 * space_to_batch_nd.cc.
 */
#include "../movement.h"
#include "../operators.h"

/* ---- depth ------------------------------------------------------------------------------- */

typedef struct depth_params {
  int32_t block;
} depth_params;

static edge_status depth_compile(edge_compiler *c, edge_node *node) {
  depth_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  node->kernel = "copy";
  if (!edge_table_i32(&node->options, SPACE_TO_DEPTH_BLOCK_SIZE, 0, &p->block)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options within their table, got others");
  }
  if (p->block < 1 || p->block > INT16_MAX) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected a block size in 1 ... %lld, got %lld", (long long)INT16_MAX,
                          (long long)p->block);
  }
  return edge_expect_movable(c, node, edge_node_input(c, node, 0), edge_node_output(c, node, 0));
}

/* The sizes of the image that has the space: [N][H * block][W * block][C]. */
static edge_status set_depth_shape(edge_planner *planner, const edge_step *step, bool to_space,
                                   int64_t *shape) {
  const int64_t block = ((const depth_params *)step->node->params)->block;
  const edge_view *input = edge_view_in(planner, step, 0);
  bool ok = input->rank == 4;
  for (int32_t d = 0; ok && d < 4; d++) shape[d] = input->shape[d];
  if (ok && to_space) {
    ok = shape[3] % (block * block) == 0;
    shape[1] *= block;
    shape[2] *= block;
    shape[3] /= block * block;
  } else if (ok) {
    ok = shape[1] % block == 0 && shape[2] % block == 0;
    shape[1] /= block;
    shape[2] /= block;
    shape[3] *= block * block;
  }
  for (int32_t d = 0; ok && d < 4; d++) ok = shape[d] <= INT32_MAX;
  if (!ok) {
    char found[EDGE_SHAPE_TEXT];
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an image that blocks of %lld divide, got %s", (long long)block,
                          edge_shape_text(found, input->rank, input->shape));
  }
  const int32_t narrow[4] = {(int32_t)shape[0], (int32_t)shape[1], (int32_t)shape[2],
                             (int32_t)shape[3]};
  return edge_set_shape(planner, step, 0, 4, narrow);
}

static edge_status depth_shape(edge_planner *planner, edge_step *step, bool to_space) {
  const int64_t block = ((const depth_params *)step->node->params)->block;
  const edge_view *input = edge_view_in(planner, step, 0);
  int64_t shape[4] = {0};
  EDGE_TRY(set_depth_shape(planner, step, to_space, shape));
  edge_walk *walk = edge_step_state(planner, step, sizeof *walk);
  if (walk == NULL) return edge_no_memory(planner->error);
  const int64_t size = edge_element_in(planner, step, 0);
  /* The blocked image is [N][H][W][block][block][C], the other one [N][H][block][W][block][C]. */
  const int64_t wide = to_space ? shape[1] : input->shape[1];
  const int64_t height = wide / block;
  const int64_t width = (to_space ? shape[2] : input->shape[2]) / block;
  const int64_t run = (to_space ? shape[3] : input->shape[3]) * block * size;
  const int64_t blocked[4] = {height * width * block * run, width * block * run, run, block * run};
  const int64_t spread[4] = {height * block * width * run, block * width * run, width * run, run};
  const int64_t counts[4] = {shape[0], height, block, width};
  walk->block = run;
  for (int32_t d = 0; d < 4; d++) {
    edge_walk_add(walk, counts[d], to_space ? blocked[d] : spread[d],
                  to_space ? spread[d] : blocked[d]);
  }
  return EDGE_OK;
}

static edge_status to_space_shape(edge_planner *planner, edge_step *step) {
  return depth_shape(planner, step, true);
}

static edge_status to_depth_shape(edge_planner *planner, edge_step *step) {
  return depth_shape(planner, step, false);
}

/* ---- batches ----------------------------------------------------------------------------- */

/* A batch's image has every block-th row and column of the image that has the space, beginning
 * `edge` cells before its first one. */
typedef struct batch_state {
  bool to_space;
  uint8_t zero;
  int64_t depth;    /* bytes */
  int64_t batches;  /* of the image that has the space */
  int64_t block[2]; /* height, width */
  int64_t edge[2];
  int64_t space[2]; /* height and width of the image that has the space */
  int64_t cells[2]; /* and of a batch's */
} batch_state;

typedef struct batch_params {
  uint8_t zero;
} batch_params;

static edge_status batch_compile(edge_compiler *c, edge_node *node) {
  const edge_tensor *output = edge_node_output(c, node, 0);
  batch_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  node->kernel = "copy";
  EDGE_TRY(edge_expect_moved(c, node, edge_node_input(c, node, 0), output));
  EDGE_TRY(edge_expect_whole(c, node, 1, "a block shape"));
  EDGE_TRY(edge_expect_whole(c, node, 2, "paddings or crops"));
  if (edge_type_size(output->type) > 1 || output->scale.count == 0) return EDGE_OK;
  edge_quant quant;
  EDGE_TRY(edge_expect_quant(c, node, output, "an output", &quant));
  p->zero = (uint8_t)quant.zero_point;
  return EDGE_OK;
}

/* Blocks and edges of the one or two dimensions between batch and depth; the other is of size 1. */
static edge_status read_blocks(edge_planner *planner, const edge_step *step, batch_state *s,
                               int32_t *edges) {
  const edge_view *input = edge_view_in(planner, step, 0);
  const int32_t spatial = input->rank - 2;
  int32_t block[2] = {1, 1};
  if (input->rank != 3 && input->rank != 4) {
    return edge_step_fail(planner, step, EDGE_UNSUPPORTED_OPERATOR,
                          "expected an input of rank 3 or 4, got %lld", (long long)input->rank);
  }
  EDGE_TRY(edge_exact_list_in(planner, step, 1, spatial, block));
  EDGE_TRY(edge_exact_list_in(planner, step, 2, 2 * spatial, edges));
  for (int64_t d = 0; d < 2; d++) {
    if (block[d] < 1 || edges[2 * d] < 0 || edges[2 * d + 1] < 0) {
      return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                            "expected blocks of at least 1 and paddings of at least 0, got %lld, "
                            "%lld and %lld",
                            (long long)block[d], (long long)edges[2 * d],
                            (long long)edges[2 * d + 1]);
    }
    s->block[d] = block[d];
    s->edge[d] = edges[2 * d];
  }
  s->depth = input->shape[input->rank - 1] * edge_element_in(planner, step, 0);
  return EDGE_OK;
}

static edge_status set_batch_shape(edge_planner *planner, edge_step *step, const batch_state *s,
                                   bool ok, int64_t batches, const int64_t *size) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t shape[4];
  ok = ok && batches <= INT32_MAX && size[0] <= INT32_MAX && size[1] <= INT32_MAX;
  if (!ok) {
    char found[EDGE_SHAPE_TEXT];
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected an image that blocks of %lld and %lld divide, got %s",
                          (long long)s->block[0], (long long)s->block[1],
                          edge_shape_text(found, input->rank, input->shape));
  }
  shape[0] = (int32_t)batches;
  for (int32_t d = 0; d < input->rank - 2; d++) shape[d + 1] = (int32_t)size[d];
  shape[input->rank - 1] = input->shape[input->rank - 1];
  batch_state *state = edge_step_state(planner, step, sizeof *state);
  if (state == NULL) return edge_no_memory(planner->error);
  *state = *s;
  return edge_set_shape(planner, step, 0, input->rank, shape);
}

static edge_status to_batch_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t edges[4] = {0};
  batch_state s = {.zero = ((const batch_params *)step->node->params)->zero};
  bool ok = true;
  EDGE_TRY(read_blocks(planner, step, &s, edges));
  s.batches = input->shape[0];
  for (int64_t d = 0; d < 2; d++) {
    s.space[d] = d < input->rank - 2 ? input->shape[d + 1] : 1;
    const int64_t padded = s.space[d] + edges[2 * d] + edges[2 * d + 1];
    ok &= padded % s.block[d] == 0;
    s.cells[d] = padded / s.block[d];
  }
  ok &= s.block[0] <= INT32_MAX / s.block[1];
  const int64_t batches = ok ? s.batches * (s.block[0] * s.block[1]) : 0;
  return set_batch_shape(planner, step, &s, ok, batches, s.cells);
}

static edge_status from_batch_shape(edge_planner *planner, edge_step *step) {
  const edge_view *input = edge_view_in(planner, step, 0);
  int32_t edges[4] = {0};
  batch_state s = {.to_space = true};
  EDGE_TRY(read_blocks(planner, step, &s, edges));
  bool ok = s.block[0] <= INT32_MAX / s.block[1];
  ok = ok && input->shape[0] % (s.block[0] * s.block[1]) == 0;
  s.batches = ok ? input->shape[0] / (s.block[0] * s.block[1]) : 0;
  for (int64_t d = 0; d < 2; d++) {
    s.cells[d] = d < input->rank - 2 ? input->shape[d + 1] : 1;
    s.space[d] = s.cells[d] * s.block[d] - edges[2 * d] - edges[2 * d + 1];
    ok &= s.space[d] >= 0;
  }
  return set_batch_shape(planner, step, &s, ok, s.batches, s.space);
}

/* Of `cells` cells of a batch that begins at `shift` within its blocks: those that are within the
 * image that has the space. */
static void cells_inside(const batch_state *s, int32_t d, int64_t shift, int64_t *first,
                         int64_t *count) {
  const int64_t before = s->edge[d] - shift;
  const int64_t after = s->space[d] + before;
  *first = before > 0 ? (before + s->block[d] - 1) / s->block[d] : 0;
  const int64_t end = after > 0 ? (after + s->block[d] - 1) / s->block[d] : 0;
  *count = edge_max(0, edge_min(end, s->cells[d]) - *first);
}

/* The batches of one place within the blocks. */
static void move_place(const batch_state *s, int64_t y, int64_t x, const uint8_t *in,
                       uint8_t *out) {
  int64_t first[2];
  int64_t count[2];
  edge_walk walk = {.block = s->depth};
  cells_inside(s, 0, y, &first[0], &count[0]);
  cells_inside(s, 1, x, &first[1], &count[1]);
  const int64_t batch = (y * s->block[1] + x) * s->batches;
  const int64_t row = s->cells[1] * s->depth;
  const int64_t space_row = s->space[1] * s->depth;
  const int64_t space_y = first[0] * s->block[0] + y - s->edge[0];
  const int64_t space_x = first[1] * s->block[1] + x - s->edge[1];
  const int64_t at = (batch * s->cells[0] + first[0]) * row + first[1] * s->depth;
  const int64_t space_at = space_y * space_row + space_x * s->depth;
  const int64_t counts[3] = {s->batches, count[0], count[1]};
  const int64_t strides[3] = {s->cells[0] * row, row, s->depth};
  const int64_t space_strides[3] = {s->space[0] * space_row, s->block[0] * space_row,
                                    s->block[1] * s->depth};
  if (count[0] == 0 || count[1] == 0) return;
  for (int32_t d = 0; d < 3; d++) {
    edge_walk_add(&walk, counts[d], s->to_space ? strides[d] : space_strides[d],
                  s->to_space ? space_strides[d] : strides[d]);
  }
  edge_walk_run(&walk, in + (s->to_space ? at : space_at), out + (s->to_space ? space_at : at));
}

static void batch_run(const edge_frame *frame, const edge_step *step) {
  const batch_state *s = step->state;
  const uint8_t *in = edge_in(frame, step, 0);
  uint8_t *out = edge_out(frame, step, 0);
  if (!s->to_space) memset(out, s->zero, frame->views[step->node->outputs[0]].bytes);
  if (frame->views[step->node->inputs[0]].bytes == 0) return;
  /* A place that no row or column of the image falls on has nothing to move. */
  for (int64_t i = 0; i < edge_min(s->block[0], s->space[0]); i++) {
    for (int64_t k = 0; k < edge_min(s->block[1], s->space[1]); k++) {
      move_place(s, (s->edge[0] + i) % s->block[0], (s->edge[1] + k) % s->block[1], in, out);
    }
  }
}

const edge_operator edge_operator_depth_to_space = {
    .code = 5,
    .name = "DEPTH_TO_SPACE",
    .version_max = 2,
    .options_type = 94,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = depth_compile,
    .shape = to_space_shape,
    .run = edge_move_run,
};

const edge_operator edge_operator_space_to_depth = {
    .code = 26,
    .name = "SPACE_TO_DEPTH",
    .version_max = 2,
    .options_type = 19,
    .inputs_min = 1,
    .inputs_max = 1,
    .compile = depth_compile,
    .shape = to_depth_shape,
    .run = edge_move_run,
};

const edge_operator edge_operator_batch_to_space_nd = {
    .code = 37,
    .name = "BATCH_TO_SPACE_ND",
    .version_max = 4,
    .options_type = 24,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = batch_compile,
    .shape = from_batch_shape,
    .run = batch_run,
};

const edge_operator edge_operator_space_to_batch_nd = {
    .code = 38,
    .name = "SPACE_TO_BATCH_ND",
    .version_max = 4,
    .options_type = 25,
    .inputs_min = 3,
    .inputs_max = 3,
    .compile = batch_compile,
    .shape = to_batch_shape,
    .run = batch_run,
};
