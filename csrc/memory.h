/* Errors and memory: what every file of the core needs of the system. */
#ifndef EDGE_MEMORY_H
#define EDGE_MEMORY_H

#include "edge.h"

/* Alignment of every buffer, and the bytes behind it that a kernel may read but not use. */
enum { EDGE_ALIGN = 64, EDGE_SLACK = 64 };

/* Writes the message. Knows %s, %lld, %llu and %g only. */
void edge_report(edge_error *error, edge_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts the subgraph, unless it is the main one, before a message that is there. */
void edge_report_subgraph(edge_error *error, int64_t subgraph);

/* A shape for a message: [1, 2, 3]. Gives `text`. */
enum { EDGE_SHAPE_TEXT = 104 };
const char *edge_shape_text(char text[EDGE_SHAPE_TEXT], int32_t rank, const int32_t *shape);

/* Writes the message and is `status`: a macro, so that compilers see that it is not EDGE_OK. */
#define edge_fail(error, status, ...) (edge_report(error, status, __VA_ARGS__), (status))

#define EDGE_TRY(expression)                  \
  do {                                        \
    const edge_status status_ = (expression); \
    if (status_ != EDGE_OK) return status_;   \
  } while (0)

/* Allocations that go together. Secret ones are locked as far as the system allows, left out of
 * core dumps, emptied in forked children, and wiped at release. */
typedef struct edge_region {
  struct edge_block *blocks;
  uint64_t limit; /* bytes in all blocks */
  uint64_t mapped;
  uint64_t locked;
  bool secret;
  bool require_locked;
} edge_region;

/* Zeroed, EDGE_ALIGN-aligned, followed by EDGE_SLACK readable bytes. NULL and *error on failure. */
void *edge_region_alloc(edge_region *region, uint64_t count, uint64_t size, edge_error *error);
void edge_region_release(edge_region *region);
/* Why edge_region_alloc() gave nothing. */
static inline edge_status edge_no_memory(const edge_error *error) {
  return error->status != EDGE_OK ? error->status : EDGE_OUT_OF_MEMORY;
}
/* Overwrites with zeros in a way that no compiler removes. */
void edge_wipe(void *memory, size_t size);

#endif
