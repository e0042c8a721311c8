/* TFLite_Detection_PostProcess, a custom operator: boxes from anchors, and of overlapping ones the
 * best, for each class (regular) or over all classes (fast).
 *
 *   boxes   [1][boxes][4 or more]  y, x, h, w against the anchors; uint8 or float32
 *   scores  [1][boxes][classes, perhaps with a background in front]; uint8 or float32
 *   anchors [boxes][4]             y, x, h, w; of the type of the boxes
 *   outputs, float32               boxes [1][n][4] as ymin, xmin, ymax, xmax; classes [1][n];
 *                                  scores [1][n]; how many there are [1]
 *
 * n is max_detections * max_classes_per_detection. What is behind the last detection is 0.
 *
 * Source: tflite/kernels/detection_postprocess.cc.
 */
#include <math.h>

#include "../flexbuffer.h"
#include "../functions.h"
#include "../movement.h"
#include "../operators.h"
#include "../order.h"

enum { DETECTIONS_MAX = 1 << 20 };

typedef struct box {
  float ymin, xmin, ymax, xmax;
} box;

typedef struct candidate {
  int32_t row, column;
  float score;
} candidate;

typedef struct detection_params {
  int32_t detections, classes_per_detection, detections_per_class, classes;
  bool regular;
  bool quantized_boxes, quantized_scores;
  float score_threshold, overlap_threshold;
  float scale[4]; /* of y, x, h, w */
  edge_quant boxes, scores, anchors;
} detection_params;

/* Of one invoke, in scratch memory. */
typedef struct detection_job {
  const detection_params *p;
  int32_t count;   /* boxes */
  int32_t columns; /* of the scores */
  int32_t offset;  /* 1: there is a background in front of the classes */
  const float *scores;
  box *boxes;
  float *ranks;      /* [count], by which boxes are chosen */
  int32_t *order;    /* [count] */
  uint8_t *dropped;  /* [count] */
  int32_t *classes;  /* [columns] */
  candidate *best;   /* [detections + detections_per_class] */
  candidate *merged; /* as many */
} detection_job;

/* ---- options ----------------------------------------------------------------------------- */

static bool read_count(const edge_flex_map *map, const char *key, double absent, int32_t *value) {
  double number;
  if (!edge_flex_number(map, key, absent, &number)) return false;
  if (!(number >= 0.0 && number <= DETECTIONS_MAX)) return false;
  *value = (int32_t)number;
  return true;
}

static bool read_real(const edge_flex_map *map, const char *key, float *value) {
  double number;
  if (!edge_flex_number(map, key, 0.0, &number)) return false;
  if (!(fabs(number) <= (double)3.0e38f)) return false;
  *value = (float)number;
  return true;
}

static bool read_options(edge_bytes custom, detection_params *p) {
  edge_flex_map map;
  int32_t regular;
  if (!edge_flex_open(custom, &map) || !read_count(&map, "max_detections", 0, &p->detections) ||
      !read_count(&map, "max_classes_per_detection", 0, &p->classes_per_detection) ||
      !read_count(&map, "detections_per_class", 100, &p->detections_per_class) ||
      !read_count(&map, "use_regular_nms", 0, &regular) ||
      !read_count(&map, "num_classes", 0, &p->classes) ||
      !read_real(&map, "nms_score_threshold", &p->score_threshold) ||
      !read_real(&map, "nms_iou_threshold", &p->overlap_threshold) ||
      !read_real(&map, "y_scale", &p->scale[0]) || !read_real(&map, "x_scale", &p->scale[1]) ||
      !read_real(&map, "h_scale", &p->scale[2]) || !read_real(&map, "w_scale", &p->scale[3])) {
    return false;
  }
  p->regular = regular != 0;
  if (p->detections_per_class > p->detections) p->detections_per_class = p->detections;
  return p->classes > 0 && p->overlap_threshold > 0.0f && p->overlap_threshold <= 1.0f &&
         p->classes_per_detection > 0 && (!p->regular || p->detections_per_class > 0) &&
         (int64_t)p->detections * p->classes_per_detection <= DETECTIONS_MAX;
}

static edge_status read_type(edge_compiler *c, const edge_node *node, int32_t i, const char *what,
                             bool *quantized, edge_quant *quant) {
  edge_tensor *input = edge_node_input(c, node, i);
  *quantized = input->type == EDGE_UINT8;
  EDGE_TRY(edge_keep(c, input));
  if (*quantized) return edge_expect_quant(c, node, input, what, quant);
  return edge_expect_type(c, node, input, what, EDGE_FLOAT32);
}

static edge_status detection_compile(edge_compiler *c, edge_node *node) {
  bool quantized_anchors;
  detection_params *p = edge_node_params(c, node, sizeof *p);
  if (p == NULL) return edge_no_memory(c->error);
  if (!read_options(node->custom, p)) {
    return edge_node_fail(c, node, EDGE_MALFORMED_MODEL,
                          "expected options of a detection, with counts up to %lld and thresholds "
                          "within their range, got others",
                          (long long)DETECTIONS_MAX);
  }
  EDGE_TRY(read_type(c, node, 0, "boxes", &p->quantized_boxes, &p->boxes));
  EDGE_TRY(read_type(c, node, 1, "scores", &p->quantized_scores, &p->scores));
  EDGE_TRY(read_type(c, node, 2, "anchors", &quantized_anchors, &p->anchors));
  EDGE_TRY(edge_expect_type(c, node, edge_node_input(c, node, 2), "anchors",
                            edge_node_input(c, node, 0)->type));
  for (int32_t i = 0; i < 4; i++) {
    EDGE_TRY(edge_expect_type(c, node, edge_node_output(c, node, i), "an output", EDGE_FLOAT32));
  }
  return EDGE_OK;
}

/* ---- shapes ------------------------------------------------------------------------------ */

static void *take(uint8_t **at, uint64_t size) {
  void *memory = *at;
  if (*at != NULL) *at += edge_round_up(size, EDGE_ALIGN);
  return memory;
}

/* Lays the job out from `memory` on, which may be NULL; returns how much it needs. */
static uint64_t lay_out(const detection_params *p, const edge_view *scores, uint8_t *memory,
                        detection_job *job) {
  const uint64_t count = (uint64_t)job->count;
  const uint64_t kept = (uint64_t)p->detections + (uint64_t)p->detections_per_class;
  const uint64_t sizes[] = {p->quantized_scores ? scores->bytes * sizeof(float) : 0,
                            count * sizeof(box),
                            count * sizeof(float),
                            count * sizeof(int32_t),
                            count,
                            (uint64_t)job->columns * sizeof(int32_t),
                            kept * sizeof(candidate),
                            kept * sizeof(candidate)};
  uint64_t all = 0;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    all += edge_round_up(sizes[i], EDGE_ALIGN);
  }
  job->scores = take(&memory, sizes[0]);
  job->boxes = take(&memory, sizes[1]);
  job->ranks = take(&memory, sizes[2]);
  job->order = take(&memory, sizes[3]);
  job->dropped = take(&memory, sizes[4]);
  job->classes = take(&memory, sizes[5]);
  job->best = take(&memory, sizes[6]);
  job->merged = take(&memory, sizes[7]);
  return all;
}

static detection_job job_of(const edge_planner *planner, const edge_step *step) {
  const detection_params *p = step->node->params;
  const edge_view *scores = edge_view_in(planner, step, 1);
  return (detection_job){.p = p,
                         .count = scores->shape[1],
                         .columns = scores->shape[2],
                         .offset = scores->shape[2] - p->classes};
}

static edge_status detection_shape(edge_planner *planner, edge_step *step) {
  const detection_params *p = step->node->params;
  const edge_view *boxes = edge_view_in(planner, step, 0);
  const edge_view *scores = edge_view_in(planner, step, 1);
  const edge_view *anchors = edge_view_in(planner, step, 2);
  const int32_t n = p->detections * p->classes_per_detection;
  bool ok = boxes->rank == 3 && scores->rank == 3 && anchors->rank == 2;
  ok = ok && boxes->shape[0] == 1 && scores->shape[0] == 1 && boxes->shape[2] >= 4;
  ok = ok && boxes->shape[1] == scores->shape[1] && anchors->shape[0] >= boxes->shape[1];
  ok = ok && anchors->shape[1] == 4;
  if (!ok || scores->shape[2] < p->classes || scores->shape[2] - p->classes > 1) {
    return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                          "expected boxes, scores of %lld classes and anchors of one count, got "
                          "others",
                          (long long)p->classes);
  }
  detection_job job = job_of(planner, step);
  step->scratch_size = lay_out(p, scores, NULL, &job);
  /* Each box that is kept is held against all others; of each class, or once. */
  step->effort = (uint64_t)job.count * (uint64_t)(p->regular ? p->classes : 1);
  EDGE_TRY(edge_set_shape(planner, step, 0, 3, (const int32_t[]){1, n, 4}));
  EDGE_TRY(edge_set_shape(planner, step, 1, 2, (const int32_t[]){1, n}));
  EDGE_TRY(edge_set_shape(planner, step, 2, 2, (const int32_t[]){1, n}));
  return edge_set_shape(planner, step, 3, 1, (const int32_t[]){1});
}

/* ---- boxes and scores -------------------------------------------------------------------- */

static void read_four(const void *data, bool quantized, edge_quant quant, int64_t at,
                      float *values) {
  for (int32_t i = 0; i < 4; i++) {
    values[i] =
        quantized ? ((float)((const uint8_t *)data)[at + i] - (float)quant.zero_point) * quant.scale
                  : ((const float *)data)[at + i];
  }
}

static box decode(const detection_params *p, const float *code, const float *anchor) {
  const float y =
      (float)((double)code[0] / (double)p->scale[0] * (double)anchor[2] + (double)anchor[0]);
  const float x =
      (float)((double)code[1] / (double)p->scale[1] * (double)anchor[3] + (double)anchor[1]);
  const float half_h =
      (float)(0.5 * edge_exp((double)code[2] / (double)p->scale[2]) * (double)anchor[2]);
  const float half_w =
      (float)(0.5 * edge_exp((double)code[3] / (double)p->scale[3]) * (double)anchor[3]);
  return (box){y - half_h, x - half_w, y + half_h, x + half_w};
}

static edge_status decode_boxes(edge_planner *planner, const edge_step *step, detection_job *job) {
  const detection_params *p = job->p;
  const edge_view *boxes = edge_view_in(planner, step, 0);
  const void *anchors = edge_in(planner->frame, step, 2);
  for (int32_t i = 0; i < job->count; i++) {
    float code[4];
    float anchor[4];
    read_four(boxes->data, p->quantized_boxes, p->boxes, (int64_t)i * boxes->shape[2], code);
    read_four(anchors, p->quantized_boxes, p->anchors, (int64_t)i * 4, anchor);
    const box b = decode(p, code, anchor);
    if (b.ymin > b.ymax || b.xmin > b.xmax) {
      return edge_step_fail(planner, step, edge_value_status(planner),
                            "expected boxes whose ends are behind their begins, got another at "
                            "%lld",
                            (long long)i);
    }
    job->boxes[i] = b;
  }
  return EDGE_OK;
}

/* As LiteRT's optimised kernel does it: whole groups of 8 by two roundings, the rest by one. */
static void dequantize_scores(const detection_params *p, const uint8_t *in, int64_t count,
                              float *out) {
  const float offset = (float)((double)-p->scores.zero_point * (double)p->scores.scale);
  const int64_t vector = count / 8 * 8;
  for (int64_t i = 0; i < vector; i++) {
    const float scaled = (float)in[i] * p->scores.scale;
    out[i] = scaled + offset;
  }
  for (int64_t i = vector; i < count; i++) {
    out[i] = (float)((double)p->scores.scale * (double)(in[i] - p->scores.zero_point));
  }
}

static float score_at(const detection_job *job, int32_t row, int32_t class) {
  return job->scores[(int64_t)row * job->columns + job->offset + class];
}

/* ---- which boxes are kept ---------------------------------------------------------------- */

static float overlap(const box *a, const box *b) {
  const float area_a = (a->ymax - a->ymin) * (a->xmax - a->xmin);
  const float area_b = (b->ymax - b->ymin) * (b->xmax - b->xmin);
  if (area_a <= 0.0f || area_b <= 0.0f) return 0.0f;
  const float ymin = a->ymin < b->ymin ? b->ymin : a->ymin;
  const float xmin = a->xmin < b->xmin ? b->xmin : a->xmin;
  const float ymax = b->ymax < a->ymax ? b->ymax : a->ymax;
  const float xmax = b->xmax < a->xmax ? b->xmax : a->xmax;
  const float height = ymax - ymin < 0.0f ? 0.0f : ymax - ymin;
  const float width = xmax - xmin < 0.0f ? 0.0f : xmax - xmin;
  const float both = height * width;
  return both / (area_a + area_b - both);
}

/* The higher rank first, and of equal ones the earlier box. */
static bool ranks_before(const void *context, int32_t a, int32_t b) {
  const float *ranks = context;
  return ranks[a] > ranks[b] || (ranks[a] == ranks[b] && a < b);
}

/* Moves the boxes that are kept, at most `most`, to the front of order[] and returns how many: from
 * the best on, those that do not overlap a better one. */
static int32_t suppress(detection_job *job, int32_t most) {
  int32_t candidates = 0;
  int32_t kept = 0;
  for (int32_t i = 0; i < job->count; i++) {
    if (job->ranks[i] >= job->p->score_threshold) job->order[candidates++] = i;
  }
  edge_order(job->order, candidates, candidates, ranks_before, job->ranks);
  memset(job->dropped, 0, (size_t)candidates);
  for (int32_t i = 0; i < candidates && kept < most; i++) {
    if (job->dropped[i]) continue;
    const box *best = &job->boxes[job->order[i]];
    for (int32_t k = i + 1; k < candidates; k++) {
      if (job->dropped[k]) continue;
      job->dropped[k] = overlap(best, &job->boxes[job->order[k]]) > job->p->overlap_threshold;
    }
    job->order[kept++] = job->order[i];
  }
  return kept;
}

/* ---- fast: one suppression over each box's best class ------------------------------------ */

static bool scores_before(const void *context, int32_t a, int32_t b) {
  const float *scores = context;
  return scores[a] > scores[b];
}

static int32_t best_class(const detection_job *job, int32_t row) {
  int32_t best = 0;
  float most = score_at(job, row, 0);
  for (int32_t k = 1; k < job->p->classes; k++) {
    const float score = score_at(job, row, k);
    if (isnan(score) || !(isnan(most) || score > most)) continue;
    most = score;
    best = k;
  }
  return best;
}

/* The `wanted` best classes of a box, at the front of classes[]. */
static void order_classes(detection_job *job, int32_t row, int32_t wanted) {
  if (wanted == 1) {
    job->classes[0] = best_class(job, row);
    return;
  }
  for (int32_t k = 0; k < job->p->classes; k++) job->classes[k] = k;
  edge_order(job->classes, job->p->classes, wanted, scores_before,
             job->scores + (int64_t)row * job->columns + job->offset);
}

static int32_t detect_fast(detection_job *job, box *boxes, float *classes, float *scores) {
  const int32_t slots = job->p->classes_per_detection;
  const int32_t wanted = slots < job->p->classes ? slots : job->p->classes;
  for (int32_t i = 0; i < job->count; i++) {
    order_classes(job, i, wanted);
    job->ranks[i] = score_at(job, i, job->classes[0]);
  }
  const int32_t kept = suppress(job, job->p->detections);
  for (int32_t i = 0; i < kept; i++) {
    const int32_t row = job->order[i];
    order_classes(job, row, wanted);
    for (int32_t k = 0; k < wanted; k++) {
      boxes[(int64_t)i * slots + k] = job->boxes[row];
      classes[(int64_t)i * slots + k] = (float)job->classes[k];
      scores[(int64_t)i * slots + k] = score_at(job, row, job->classes[k]);
    }
  }
  return kept;
}

/* ---- regular: a suppression for each class, and the best of all -------------------------- */

/* Merges the boxes in order[] into the `count` best so far, which come first where equal. */
static int32_t merge(detection_job *job, int32_t count, int32_t added, int32_t class) {
  int32_t a = 0;
  int32_t b = 0;
  for (int32_t i = 0; i < count + added; i++) {
    const bool old = b == added || (a < count && !(job->ranks[job->order[b]] > job->best[a].score));
    if (old) {
      job->merged[i] = job->best[a++];
    } else {
      job->merged[i] = (candidate){job->order[b], class, job->ranks[job->order[b]]};
      b++;
    }
  }
  candidate *spare = job->best;
  job->best = job->merged;
  job->merged = spare;
  return count + added < job->p->detections ? count + added : job->p->detections;
}

static int32_t detect_regular(detection_job *job, box *boxes, float *classes, float *scores) {
  int32_t count = 0;
  for (int32_t k = 0; k < job->p->classes; k++) {
    for (int32_t i = 0; i < job->count; i++) job->ranks[i] = score_at(job, i, k);
    const int32_t kept = suppress(job, job->p->detections_per_class);
    count = merge(job, count, kept, k);
  }
  for (int32_t i = 0; i < count; i++) {
    boxes[i] = job->boxes[job->best[i].row];
    classes[i] = (float)job->best[i].column;
    scores[i] = job->best[i].score;
  }
  return count;
}

static edge_status detection_perform(edge_planner *planner, edge_step *step) {
  const detection_params *p = step->node->params;
  const edge_frame *frame = planner->frame;
  const edge_view *scores = edge_view_in(planner, step, 1);
  detection_job job = job_of(planner, step);
  lay_out(p, scores, edge_scratch(frame, step, 0), &job);
  if (p->quantized_scores) {
    dequantize_scores(p, scores->data, (int64_t)scores->bytes, (float *)job.scores);
  } else {
    job.scores = scores->data;
  }
  EDGE_TRY(decode_boxes(planner, step, &job));
  for (int32_t i = 0; i < 3; i++) {
    memset(edge_out(frame, step, i), 0, frame->views[step->node->outputs[i]].bytes);
  }
  float *number = edge_out(frame, step, 3);
  *number = (float)(p->regular ? detect_regular : detect_fast)(
      &job, edge_out(frame, step, 0), edge_out(frame, step, 1), edge_out(frame, step, 2));
  return EDGE_OK;
}

const edge_operator edge_operator_detection = {
    .code = 32,
    .name = "TFLite_Detection_PostProcess",
    .version_max = 1,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_min = 4,
    .outputs_max = 4,
    .compile = detection_compile,
    .shape = detection_shape,
    .perform = detection_perform,
};
