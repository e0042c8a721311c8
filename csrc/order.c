/* A heap of the first `keep` indices, the last of which is on top; then the heap is taken apart. A
 * hole sinks to the bottom before the index that fills it rises: so do the C++ libraries below
 * LiteRT, and where two are equal the result depends on it. */
#include "order.h"

typedef struct heap {
  int32_t *indices;
  edge_before_fn *before;
  const void *context;
} heap;

static bool comes_before(const heap *h, int64_t a, int64_t b) {
  return h->before(h->context, h->indices[a], h->indices[b]);
}

/* Puts `index` into the heap of `count` that has a hole on top of a part of it. */
static void fill_hole(const heap *h, int64_t hole, int64_t count, int32_t index) {
  const int64_t top = hole;
  int64_t child = 2 * hole + 2;
  for (; child < count; child = 2 * hole + 2) {
    if (comes_before(h, child, child - 1)) child--;
    h->indices[hole] = h->indices[child];
    hole = child;
  }
  if (child == count) {
    h->indices[hole] = h->indices[child - 1];
    hole = child - 1;
  }
  while (hole > top) {
    const int64_t parent = (hole - 1) / 2;
    if (!h->before(h->context, h->indices[parent], index)) break;
    h->indices[hole] = h->indices[parent];
    hole = parent;
  }
  h->indices[hole] = index;
}

void edge_order(int32_t *indices, int64_t count, int64_t keep, edge_before_fn *before,
                const void *context) {
  const heap h = {indices, before, context};
  if (keep == 0) return;
  for (int64_t parent = keep / 2 - 1; parent >= 0; parent--) {
    fill_hole(&h, parent, keep, indices[parent]);
  }
  for (int64_t i = keep; i < count; i++) {
    if (!comes_before(&h, i, 0)) continue;
    const int32_t index = indices[i];
    indices[i] = indices[0];
    fill_hole(&h, 0, keep, index);
  }
  for (int64_t last = keep - 1; last > 0; last--) {
    const int32_t index = indices[last];
    indices[last] = indices[0];
    fill_hole(&h, 0, last, index);
  }
}
