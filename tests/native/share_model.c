/* One model in many threads: for ThreadSanitizer, and for whoever wants to see that it holds.
 *
 *   share_model MODEL
 *
 * Some threads each make interpreters of their own over one model, with a pool of workers, and run
 * them; then two threads invoke one interpreter at once, and each of them must either have run
 * or have been told EDGE_BUSY. Prints how many runs there were. Ends with status 1 on another
 * answer.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge.h"

enum { THREADS = 4, ROUNDS = 6, CONTESTS = 200 };

static edge_model *model;
static atomic_int runs;
static atomic_int busy;

static void check(edge_status status, const edge_error *error) {
  if (status == EDGE_OK) return;
  printf("status %d: %s\n", (int)status, error->message);
  exit(1);
}

static void fill(edge_interpreter *interpreter, int byte) {
  edge_model_info info;
  edge_tensor_info tensor;
  edge_error error;
  check(edge_model_describe(model, 0, &info, &error), &error);
  for (int32_t i = 0; i < info.input_count; i++) {
    check(edge_interpreter_tensor(interpreter, 0, info.inputs[i], &tensor, &error), &error);
    memset(tensor.data, byte, tensor.bytes);
  }
}

static uint64_t hash_outputs(edge_interpreter *interpreter) {
  edge_model_info info;
  edge_tensor_info tensor;
  edge_error error;
  uint64_t hash = 14695981039346656037U;
  check(edge_model_describe(model, 0, &info, &error), &error);
  for (int32_t i = 0; i < info.output_count; i++) {
    check(edge_interpreter_tensor(interpreter, 0, info.outputs[i], &tensor, &error), &error);
    const uint8_t *bytes = tensor.data;
    for (size_t b = 0; b < tensor.bytes; b++) hash = (hash ^ bytes[b]) * 1099511628211U;
  }
  return hash;
}

static edge_interpreter *make(int32_t threads) {
  edge_interpreter *made;
  edge_error error;
  const edge_interpreter_options options = {.threads = threads};
  check(edge_interpreter_create(model, &options, &made, &error), &error);
  check(edge_interpreter_allocate(made, 0, &error), &error);
  return made;
}

/* Interpreters of this thread's own; the answer is the same in each. */
static void *run_own(void *answer) {
  uint64_t *hash = answer;
  for (int round = 0; round < ROUNDS; round++) {
    edge_error error;
    edge_interpreter *interpreter = make(1 + round % 2);
    fill(interpreter, 0x11);
    check(edge_interpreter_invoke(interpreter, 0, &error), &error);
    const uint64_t came = hash_outputs(interpreter);
    if (round > 0 && came != *hash) {
      printf("expected the same answer in every run, got another\n");
      exit(1);
    }
    *hash = came;
    atomic_fetch_add(&runs, 1);
    edge_interpreter_release(interpreter);
  }
  return NULL;
}

/* One interpreter that others use as well. */
static void *contend(void *interpreter) {
  for (int i = 0; i < CONTESTS; i++) {
    edge_error error;
    const edge_status status = edge_interpreter_invoke(interpreter, 0, &error);
    if (status == EDGE_BUSY) {
      atomic_fetch_add(&busy, 1);
    } else {
      check(status, &error);
      atomic_fetch_add(&runs, 1);
    }
  }
  return NULL;
}

static pthread_t start(void *(*run)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, argument) != 0) exit(2);
  return thread;
}

static void share_the_model(void) {
  pthread_t threads[THREADS];
  uint64_t hashes[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = start(run_own, &hashes[i]);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 1; i < THREADS; i++) {
    if (hashes[i] == hashes[0]) continue;
    printf("expected the same answer in every thread, got another\n");
    exit(1);
  }
}

static void share_an_interpreter(void) {
  pthread_t threads[2];
  edge_interpreter *interpreter = make(2);
  fill(interpreter, 0x22);
  for (int i = 0; i < 2; i++) threads[i] = start(contend, interpreter);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  edge_interpreter_release(interpreter);
}

/* ---- signals ----------------------------------------------------------------------------- */

static atomic_int on_another;
static pthread_t first_thread;

static void note_thread(int number) {
  (void)number;
  if (pthread_equal(pthread_self(), first_thread) == 0) atomic_fetch_add(&on_another, 1);
}

/* While the first thread takes no signals, one sent to the process goes to any that does: there
 * must be none. */
static void signal_the_process(void) {
  sigset_t usr1;
  struct sigaction action = {.sa_handler = note_thread};
  edge_interpreter *interpreter = make(2);
  first_thread = pthread_self();
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  (void)sigaction(SIGUSR1, &action, NULL);
  (void)pthread_sigmask(SIG_BLOCK, &usr1, NULL);
  (void)raise(SIGUSR1);
  (void)kill(getpid(), SIGUSR1);
  fill(interpreter, 0x33);
  for (int i = 0; i < CONTESTS; i++) check(edge_interpreter_invoke(interpreter, 0, NULL), NULL);
  edge_interpreter_release(interpreter);
  (void)pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
  if (atomic_load(&on_another) == 0) return;
  printf("expected signals on the first thread alone, got one on a worker\n");
  exit(1);
}

int main(int count, char **arguments) {
  static uint8_t bytes[1 << 22];
  edge_error error;
  if (count != 2) return 2;
  FILE *file = fopen(arguments[1], "rb");
  if (file == NULL) return 2;
  const size_t size = fread(bytes, 1, sizeof bytes, file);
  (void)fclose(file);
  check(edge_model_create(bytes, size, NULL, &model, &error), &error);
  share_the_model();
  share_an_interpreter();
  signal_the_process();
  edge_model_release(model);
  printf("%d runs, %d refused\n", atomic_load(&runs), atomic_load(&busy));
  return 0;
}
