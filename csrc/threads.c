/* A small pool: tasks are handed out by one atomic word, workers spin briefly and then park.
 *
 * The word `ticket` holds, from the top: a job number (16 bits), the job's task count (24) and the
 * next task to hand out (24). To claim a task is to count the word up by compare-and-swap. Whoever
 * has claimed one may read the job's fields: they cannot change before all its tasks are done, and
 * the claimed one is not. So a worker that wakes late can do no harm, and no barrier is needed.
 */
#define _GNU_SOURCE /* posix_memalign */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "internal.h"

#if defined(__x86_64__) || defined(__i386__)
#define EDGE_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define EDGE_PAUSE() __asm__ volatile("yield")
#else
#define EDGE_PAUSE() ((void)0)
#endif

enum {
  TASK_BITS = 24,
  TASK_MASK = (1 << TASK_BITS) - 1,
  SPINS = 2000, /* some ten microseconds: longer than the gap between two operators */
};

/* What many threads write has a cache line of its own. NOLINTNEXTLINE(*Padding) */
struct edge_pool {
  _Alignas(64) atomic_uint_fast64_t ticket;
  _Alignas(64) atomic_uint_fast32_t done; /* tasks of the present job */
  _Alignas(64) edge_task *task;           /* the job's fields */
  void *context;
  atomic_int sleepers;
  atomic_bool stop;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  int32_t workers; /* without the caller */
  pthread_t *threads;
};

typedef struct edge_worker {
  edge_pool *pool;
  uint32_t index;
} edge_worker;

static bool ticket_open(uint64_t ticket) {
  return (ticket & TASK_MASK) < ((ticket >> TASK_BITS) & TASK_MASK);
}

/* Claims and runs tasks until the present job has none left to hand out. */
static void work(edge_pool *pool, uint32_t worker) {
  uint64_t ticket = atomic_load(&pool->ticket);
  while (ticket_open(ticket)) {
    if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1)) continue;
    pool->task(pool->context, (uint32_t)(ticket & TASK_MASK), worker);
    atomic_fetch_add(&pool->done, 1);
    ticket = atomic_load(&pool->ticket);
  }
}

static bool worth_waking(edge_pool *pool) {
  return atomic_load(&pool->stop) || ticket_open(atomic_load(&pool->ticket));
}

static void park(edge_pool *pool) {
  for (int32_t i = 0; i < SPINS; i++) {
    if (worth_waking(pool)) return;
    EDGE_PAUSE();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->sleepers, 1);
  while (!worth_waking(pool)) pthread_cond_wait(&pool->wake, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
  const edge_worker worker = *(edge_worker *)argument;
  free(argument);
  while (!atomic_load(&worker.pool->stop)) {
    work(worker.pool, worker.index);
    park(worker.pool);
  }
  return NULL;
}

static void wake_all(edge_pool *pool) {
  if (atomic_load(&pool->sleepers) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

/* Signals are for the threads of the program that uses the core: a handler of it must not run on a
 * worker. A thread begins with the mask of the one that makes it. */
static int create_without_signals(pthread_t *thread, edge_worker *worker) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return -1;
  const int status = pthread_create(thread, NULL, worker_main, worker);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

static bool worker_start(edge_pool *pool, uint32_t index) {
  edge_worker *worker = malloc(sizeof *worker);
  if (worker == NULL) return false;
  *worker = (edge_worker){pool, index};
  if (create_without_signals(&pool->threads[index - 1], worker) == 0) return true;
  free(worker);
  return false;
}

edge_status edge_pool_create(int32_t threads, edge_pool **pool, edge_error *error) {
  *pool = NULL;
  if (threads <= 1) return EDGE_OK;
  void *memory = NULL;
  if (posix_memalign(&memory, 64, sizeof(edge_pool)) != 0) {
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for a thread pool, got none");
  }
  edge_pool *made = memset(memory, 0, sizeof(edge_pool));
  made->threads = calloc((size_t)threads - 1, sizeof *made->threads);
  if (made->threads == NULL || pthread_mutex_init(&made->mutex, NULL) != 0) {
    free(made->threads);
    free(made);
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected memory for a thread pool, got none");
  }
  if (pthread_cond_init(&made->wake, NULL) != 0) {
    pthread_mutex_destroy(&made->mutex);
    free(made->threads);
    free(made);
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected a condition variable, got none");
  }
  while (made->workers < threads - 1) {
    if (!worker_start(made, (uint32_t)made->workers + 1)) {
      const long long got = made->workers + 1;
      edge_pool_release(made);
      return edge_fail(error, EDGE_THREAD_REFUSED, "expected %lld threads, got %lld",
                       (long long)threads, got);
    }
    made->workers++;
  }
  *pool = made;
  return EDGE_OK;
}

void edge_pool_release(edge_pool *pool) {
  if (pool == NULL) return;
  atomic_store(&pool->stop, true);
  wake_all(pool);
  for (int32_t i = 0; i < pool->workers; i++) pthread_join(pool->threads[i], NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  free(pool->threads);
  free(pool);
}

int32_t edge_pool_threads(const edge_pool *pool) {
  return pool ? pool->workers + 1 : 1;
}

void edge_pool_run(edge_pool *pool, edge_task *task, void *context, uint32_t tasks) {
  if (pool == NULL || tasks <= 1 || tasks > TASK_MASK) {
    for (uint32_t i = 0; i < tasks; i++) task(context, i, 0);
    return;
  }
  pool->task = task;
  pool->context = context;
  atomic_store(&pool->done, 0);
  const uint64_t job = (atomic_load(&pool->ticket) >> 2 * TASK_BITS) + 1;
  atomic_store(&pool->ticket, job << 2 * TASK_BITS | (uint64_t)tasks << TASK_BITS);
  wake_all(pool);
  work(pool, 0);
  /* What is left is in the hands of running workers, for one task's time at most. */
  while (atomic_load(&pool->done) != tasks) EDGE_PAUSE();
}
