/* Fails the nth request to the system, once and for ever after, until a run passes.
 *
 *   fail_allocations MODEL
 *
 * Built with the linker's --wrap for every function below, so that it counts what the core asks for
 * and gives back. After each failed run nothing may be left, the error must say what was refused,
 * and secret pages must have been wiped before they go. Prints the number of runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "edge.h"

/* ---- the system, counted ----------------------------------------------------------------- */

static atomic_long requests;  /* since the run began */
static long fail_at;          /* this request is refused, from 1; 0: none */
static bool fail_for_ever;    /* and all behind it */
static bool fail_locks_alone; /* only mlock() counts */
static atomic_long live;      /* what has been given and not taken back */
static atomic_long unwiped;   /* secret bytes that were given back as they were */
static atomic_long unguarded; /* pages that may go to a core dump or to a child */
static bool secret;
static bool working; /* the core runs; else a request is this file's own */

static bool refused(bool lock) {
  if (!working || fail_at == 0 || lock != fail_locks_alone) return false;
  const long number = atomic_fetch_add(&requests, 1) + 1;
  return number == fail_at || (fail_for_ever && number > fail_at);
}

static void *given(void *memory) {
  if (working && memory != NULL) atomic_fetch_add(&live, 1);
  return memory;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *memory);
int __real_posix_memalign(void **memory, size_t align, size_t size);
void *__real_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void *memory, size_t size);
int __real_mlock(const void *memory, size_t size);
int __real_madvise(void *memory, size_t size, int advice);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);

void *__wrap_malloc(size_t size) {
  return refused(false) ? NULL : given(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
  return refused(false) ? NULL : given(__real_calloc(count, size));
}

int __wrap_posix_memalign(void **memory, size_t align, size_t size) {
  if (refused(false)) return ENOMEM;
  const int status = __real_posix_memalign(memory, align, size);
  if (status == 0) given(*memory);
  return status;
}

void __wrap_free(void *memory) {
  if (working && memory != NULL) atomic_fetch_sub(&live, 1);
  __real_free(memory);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  if (refused(false)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void *memory = __real_mmap(at, size, protection, flags, file, offset);
  if (memory == MAP_FAILED) return memory;
  atomic_fetch_add(&unguarded, secret ? 2 : 0);
  return given(memory);
}

int __wrap_munmap(void *memory, size_t size) {
  const uint8_t *bytes = memory;
  for (size_t i = 0; secret && i < size; i++) atomic_fetch_add(&unwiped, bytes[i] != 0);
  atomic_fetch_sub(&live, 1);
  return __real_munmap(memory, size);
}

int __wrap_mlock(const void *memory, size_t size) {
  if (refused(true)) {
    errno = ENOMEM;
    return -1;
  }
  return __real_mlock(memory, size);
}

int __wrap_madvise(void *memory, size_t size, int advice) {
  if (advice == MADV_DONTDUMP || advice == MADV_WIPEONFORK) atomic_fetch_sub(&unguarded, 1);
  return __real_madvise(memory, size, advice);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument) {
  return refused(false) ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

/* ---- a run ------------------------------------------------------------------------------- */

static void die(const char *what, const edge_error *error) {
  printf("request %ld%s, %s: %s; status %d, \"%s\"\n", fail_at, fail_for_ever ? " for ever" : "",
         secret ? "secret" : "plain", what, (int)error->status, error->message);
  (void)fflush(stdout);
  _Exit(1);
}

#define TRY(expression)                       \
  do {                                        \
    const edge_status status_ = (expression); \
    if (status_ != EDGE_OK) return status_;   \
  } while (0)

static edge_status run(edge_interpreter *interpreter, const edge_model_info *info, uint64_t *sum,
                       edge_error *error) {
  edge_tensor_info tensor;
  TRY(edge_interpreter_allocate(interpreter, 0, error));
  for (int32_t i = 0; i < info->input_count; i++) {
    TRY(edge_interpreter_tensor(interpreter, 0, info->inputs[i], &tensor, error));
    memset(tensor.data, 0x11, tensor.bytes);
  }
  TRY(edge_interpreter_invoke(interpreter, 0, error));
  for (int32_t i = 0; i < info->output_count; i++) {
    TRY(edge_interpreter_tensor(interpreter, 0, info->outputs[i], &tensor, error));
    for (size_t b = 0; b < tensor.bytes; b++) *sum = *sum * 31 + ((uint8_t *)tensor.data)[b];
  }
  return EDGE_OK;
}

/* Runs once more what has failed for want of memory: what was refused once is there by now. */
static edge_status run_or_recover(edge_interpreter *interpreter, const edge_model_info *info,
                                  uint64_t *sum, edge_error *error) {
  const edge_status status = run(interpreter, info, sum, error);
  if (status != EDGE_OUT_OF_MEMORY || fail_for_ever) return status;
  edge_error again = {0};
  uint64_t unused = 0;
  if (run(interpreter, info, &unused, &again) != EDGE_OK) die("did not recover", &again);
  return status;
}

/* Twice; being resized, though to the same shape, drops the first plan. */
static edge_status use(edge_model *model, uint64_t *sum, edge_error *error) {
  edge_model_info info;
  edge_interpreter *interpreter;
  edge_tensor_info tensor;
  TRY(edge_model_describe(model, 0, &info, error));
  TRY(edge_interpreter_create(model, &(edge_interpreter_options){.threads = 2}, &interpreter,
                              error));
  edge_status status = run_or_recover(interpreter, &info, sum, error);
  if (status == EDGE_OK) {
    status = edge_interpreter_tensor(interpreter, 0, info.inputs[0], &tensor, error);
  }
  if (status == EDGE_OK) {
    status =
        edge_interpreter_resize(interpreter, 0, info.inputs[0], tensor.shape, tensor.rank, error);
  }
  if (status == EDGE_OK) status = run_or_recover(interpreter, &info, sum, error);
  edge_interpreter_release(interpreter);
  return status;
}

static edge_status attempt(const void *bytes, size_t size, bool require_locked, uint64_t *sum,
                           edge_error *error) {
  const edge_model_options options = {
      .transient = secret, .secret = secret, .require_locked = require_locked};
  edge_model *model;
  *sum = 0;
  *error = (edge_error){0};
  atomic_store(&requests, 0);
  working = true;
  edge_status status = edge_model_create(bytes, size, &options, &model, error);
  if (status == EDGE_OK) {
    status = use(model, sum, error);
    edge_model_release(model);
  }
  working = false;
  if (atomic_load(&live) != 0) die("something is left", error);
  if (atomic_load(&unwiped) != 0) die("secret bytes were not wiped", error);
  if (atomic_load(&unguarded) != 0) die("secret pages were not guarded", error);
  if (status != error->status) die("the error does not say the status", error);
  return status;
}

/* Refuses request 1, 2, ... until none is left to refuse. Returns the number of runs. */
static long until_it_passes(const void *bytes, size_t size, edge_status first, edge_status second,
                            bool require_locked, uint64_t expected) {
  edge_error error;
  uint64_t sum;
  for (fail_at = 1;; fail_at++) {
    const edge_status status = attempt(bytes, size, require_locked, &sum, &error);
    const bool reached = atomic_load(&requests) >= fail_at;
    if (status != EDGE_OK && !reached) die("failed on its own", &error);
    if (status == EDGE_OK && sum != expected) die("another answer", &error);
    if (!reached) return fail_at;
    if (status != first && status != second) die("another status than expected", &error);
    if (status != EDGE_OK && strstr(error.message, "expected") == NULL) die("no message", &error);
  }
}

int main(int count, char **arguments) {
  static uint8_t bytes[1 << 22];
  edge_error error;
  uint64_t expected;
  uint64_t sum;
  long runs = 0;
  if (count != 2) return 2;
  FILE *file = fopen(arguments[1], "rb");
  if (file == NULL) return 2;
  const size_t size = fread(bytes, 1, sizeof bytes, file);
  (void)fclose(file);
  if (attempt(bytes, size, false, &expected, &error) != EDGE_OK) die("did not run", &error);
  for (int mode = 0; mode < 4; mode++) {
    secret = (mode & 1) != 0;
    fail_for_ever = (mode & 2) != 0;
    fail_locks_alone = false;
    runs += until_it_passes(bytes, size, EDGE_OUT_OF_MEMORY, EDGE_THREAD_REFUSED, false, expected);
    fail_locks_alone = true;
    fail_at = 0;
    if (!secret) continue;
    /* A lock that is refused costs nothing, unless locked memory was demanded. */
    runs += until_it_passes(bytes, size, EDGE_OK, EDGE_OK, false, expected);
    fail_at = 0;
    if (attempt(bytes, size, true, &sum, &error) != EDGE_OK) continue; /* this machine locks less */
    /* What is refused once may be locked in the next attempt. */
    runs += until_it_passes(bytes, size, EDGE_LOCK_REFUSED,
                            fail_for_ever ? EDGE_LOCK_REFUSED : EDGE_OK, true, expected);
  }
  printf("%ld runs\n", runs);
  return 0;
}
