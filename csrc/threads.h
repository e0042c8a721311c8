/* The pool of workers: an interpreter's own, for the loops of its operators. */
#ifndef EDGE_THREADS_H
#define EDGE_THREADS_H

#include "edge.h"

typedef struct edge_pool edge_pool;
typedef void edge_task(void *context, uint32_t task, uint32_t worker);

/* `threads` includes the caller. One thread makes no pool: *pool is NULL. */
edge_status edge_pool_create(int32_t threads, edge_pool **pool, edge_error *error);
void edge_pool_release(edge_pool *pool);
int32_t edge_pool_threads(const edge_pool *pool);
/* Runs task 0 ... tasks - 1, the caller taking part, and returns when all are done. */
void edge_pool_run(edge_pool *pool, edge_task *task, void *context, uint32_t tasks);

#endif
