/* Lives -> places in the arena.
 *
 * Within a segment every tensor lives from the step that writes it to the last step that reads it;
 * graph inputs and outputs live from start to end; scratch lives for its own step. Tensors that
 * share memory (RESHAPE) live as one. Placing is greedy by size: the largest first, each at the
 * lowest offset at which it meets nobody who lives at the same time. This is the method that
 * TensorFlow Lite Micro and XNNPACK found good enough: within a few percent of the largest sum of
 * live tensors. It looks at every pair; where a file makes too many pairs of that, the smallest,
 * which come last, are put behind all others and share nothing.
 */
#include "place.h"

#include <stdlib.h>

/* One thing that needs a place. */
typedef struct lodger {
  uint64_t size;
  uint64_t offset;
  int32_t first, last; /* steps, inclusive */
} lodger;

int32_t edge_root_of(const edge_frame *frame, int32_t tensor) {
  while (frame->views[tensor].alias >= 0) tensor = frame->views[tensor].alias;
  return tensor;
}

/* ---- lives ------------------------------------------------------------------------------- */

static void touch(lodger *l, int32_t step) {
  if (l->first < 0) l->first = step;
  if (step < l->first) l->first = step;
  if (step > l->last) l->last = step;
}

static bool needs_place(const edge_frame *frame, int32_t tensor) {
  const edge_view *view = &frame->views[tensor];
  return !view->known && !view->placed && view->alias < 0;
}

/* Fills lodgers[0 ... tensor_count) for tensors and [tensor_count ... ) for the steps' scratch, for
 * the steps from `first` to before `end`. Readers behind `end` count: their reading is known. */
static void find_lives(const edge_frame *frame, int32_t first, int32_t end, lodger *lodgers) {
  const edge_graph *graph = frame->graph;
  for (int32_t i = 0; i < graph->tensor_count; i++) lodgers[i] = (lodger){.first = -1, .last = -1};
  for (int32_t s = first; s < graph->node_count; s++) {
    const edge_node *node = &graph->nodes[s];
    for (int32_t i = 0; i < node->input_count; i++) {
      if (node->inputs[i] >= 0) touch(&lodgers[edge_root_of(frame, node->inputs[i])], s);
    }
    for (int32_t i = 0; s < end && i < node->output_count; i++) {
      touch(&lodgers[edge_root_of(frame, node->outputs[i])], s);
    }
    const uint64_t scratch = frame->steps[s].scratch_size * (uint64_t)frame->threads;
    lodgers[graph->tensor_count + s] =
        (lodger){.size = s < end ? scratch : 0, .first = s, .last = s};
  }
  for (int32_t i = 0; i < graph->tensor_count; i++) {
    lodger *l = &lodgers[i];
    if (edge_is_graph_tensor(graph, i) || graph->tensors[i].variable ||
        (frame->interpreter->preserve && l->first >= 0)) {
      touch(l, first);
      touch(l, graph->node_count);
    }
    const bool placed = l->first >= 0 && needs_place(frame, i);
    l->size = placed ? edge_round_up(frame->views[i].bytes + EDGE_SLACK, EDGE_ALIGN) : 0;
  }
}

/* Outputs of steps behind `end` have no shape yet, and get no place. */
static void leave_out_later(const edge_frame *frame, int32_t end, lodger *lodgers) {
  const edge_graph *graph = frame->graph;
  for (int32_t s = end; s < graph->node_count; s++) {
    const edge_node *node = &graph->nodes[s];
    for (int32_t i = 0; i < node->output_count; i++) lodgers[node->outputs[i]].size = 0;
  }
}

/* ---- places ------------------------------------------------------------------------------ */

/* Larger first; of equal ones the earlier, so that a plan does not depend on the sort. */
static int by_size(const void *a, const void *b) {
  const lodger *x = *(lodger *const *)a;
  const lodger *y = *(lodger *const *)b;
  if (x->size != y->size) return x->size < y->size ? 1 : -1;
  return (x > y) - (x < y);
}

static bool meet(const lodger *a, const lodger *b) {
  return a->first <= b->last && b->first <= a->last;
}

/* Pairs that are looked at: a fifth of a second. */
static const uint64_t PAIRS_MAX = UINT64_C(1) << 27;

/* placed[] is ordered by offset; finds the lowest gap for `l` and keeps the order. Returns how many
 * pairs it has looked at. */
static uint64_t place(lodger *l, lodger **placed, size_t count) {
  uint64_t offset = 0;
  size_t i = 0;
  for (; i < count; i++) {
    if (!meet(l, placed[i])) continue;
    if (placed[i]->offset >= offset + l->size) break;
    const uint64_t after = placed[i]->offset + placed[i]->size;
    if (after > offset) offset = after;
  }
  l->offset = offset;
  size_t at = count;
  while (at > 0 && placed[at - 1]->offset > offset) {
    placed[at] = placed[at - 1];
    at--;
  }
  placed[at] = l;
  return i + (count - at);
}

/* Returns the arena's size. */
static uint64_t place_all(lodger *lodgers, size_t count, lodger **order, lodger **placed) {
  uint64_t size = 0;
  uint64_t pairs = 0;
  size_t wanted = 0;
  for (size_t i = 0; i < count; i++) {
    if (lodgers[i].size > 0) order[wanted++] = &lodgers[i];
  }
  qsort((void *)order, wanted, sizeof *order, by_size);
  for (size_t i = 0; i < wanted; i++) {
    if (pairs < PAIRS_MAX) {
      pairs += place(order[i], placed, i);
    } else {
      order[i]->offset = size;
    }
    if (order[i]->offset + order[i]->size > size) size = order[i]->offset + order[i]->size;
  }
  return size;
}

static void bind(edge_frame *frame, edge_segment *segment, int32_t end, const lodger *lodgers) {
  const edge_graph *graph = frame->graph;
  for (int32_t i = 0; i < graph->tensor_count; i++) {
    if (lodgers[i].size == 0) continue;
    frame->views[i].data = segment->arena + lodgers[i].offset;
    frame->views[i].placed = true;
  }
  for (int32_t s = segment->first; s < end; s++) {
    frame->steps[s].scratch = segment->arena + lodgers[graph->tensor_count + s].offset;
    for (int32_t i = 0; i < graph->nodes[s].output_count; i++) {
      edge_view *view = &frame->views[graph->nodes[s].outputs[i]];
      if (view->alias < 0) continue;
      view->data = frame->views[edge_root_of(frame, graph->nodes[s].outputs[i])].data;
      view->placed = true;
    }
  }
}

edge_status edge_place_segment(edge_frame *frame, int32_t end, edge_error *error) {
  edge_segment *segment = &frame->segments[frame->segment_count - 1];
  const edge_graph *graph = frame->graph;
  const size_t count = (size_t)graph->tensor_count + (size_t)graph->node_count + 1;
  lodger *lodgers = calloc(count, sizeof *lodgers);
  lodger **lists = (lodger **)calloc(2 * count, sizeof(lodger *));
  edge_status status = EDGE_OK;
  if (lodgers == NULL || lists == NULL) {
    status = edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for a plan, got none");
  } else {
    find_lives(frame, segment->first, end, lodgers);
    leave_out_later(frame, end, lodgers);
    const uint64_t size = place_all(lodgers, count, lists, lists + count);
    segment->arena = edge_region_alloc(&segment->arena_region, size, 1, error);
    if (segment->arena == NULL) status = edge_no_memory(error);
  }
  if (status == EDGE_OK) bind(frame, segment, end, lodgers);
  free(lodgers);
  free((void *)lists);
  return status;
}
