/* Runs each model that it is given on the same random inputs, and prints a hash of all outputs.
 *
 *   run_models ISA THREADS MODEL.tflite...
 *
 * Plain C over edge.h, so that the core can be run where Python is not at hand: under an emulator
 * of another processor, under a fault injector. "-" as ISA takes the default one. Linked with
 * --wrap=edge_cpu_threads, so that any number of threads can be had.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge.h"

enum { RUNS = 8 };

int32_t __wrap_edge_cpu_threads(void);
int32_t __wrap_edge_cpu_threads(void) {
  return 64;
}

static uint64_t next(uint64_t *state) { /* xorshift64 */
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void fill(const edge_tensor_info *tensor, uint64_t *state) {
  unsigned char *bytes = tensor->data;
  if (tensor->type == EDGE_FLOAT32) {
    float *values = tensor->data;
    for (size_t i = 0; i < tensor->bytes / 4; i++) {
      values[i] = (float)(int32_t)(next(state) >> 40) / 1048576.0F - 8.0F;
    }
    return;
  }
  for (size_t i = 0; i < tensor->bytes; i++) {
    bytes[i] = (unsigned char)(next(state) >> 32);
  }
}

static void hash(const edge_tensor_info *tensor, uint64_t *digest) { /* FNV-1a */
  static const float not_a_number = NAN; /* one for all: processors make different ones */
  const unsigned char *bytes = tensor->data;
  for (size_t i = 0; i < tensor->bytes; i++) {
    const unsigned char *at = bytes + i;
    if (tensor->type == EDGE_FLOAT32 && isnan(((const float *)tensor->data)[i / 4])) {
      at = (const unsigned char *)&not_a_number + i % 4;
    }
    *digest = (*digest ^ *at) * 0x100000001B3U;
  }
}

static edge_status run(edge_model *model, int threads, uint64_t *digest, edge_error *error) {
  edge_model_info info;
  edge_interpreter *interpreter = NULL;
  edge_status status = edge_model_describe(model, 0, &info, error);
  if (status == EDGE_OK) {
    status = edge_interpreter_create(model, &(edge_interpreter_options){.threads = threads},
                                     &interpreter, error);
  }
  if (status == EDGE_OK) {
    status = edge_interpreter_allocate(interpreter, 0, error);
  }
  uint64_t state = 0x9E3779B97F4A7C15U;
  edge_tensor_info tensor;
  for (int n = 0; n < RUNS && status == EDGE_OK; n++) {
    for (int32_t i = 0; i < info.input_count; i++) {
      edge_interpreter_tensor(interpreter, 0, info.inputs[i], &tensor, error);
      fill(&tensor, &state);
    }
    status = edge_interpreter_invoke(interpreter, 0, error);
    for (int32_t i = 0; i < info.output_count && status == EDGE_OK; i++) {
      edge_interpreter_tensor(interpreter, 0, info.outputs[i], &tensor, error);
      hash(&tensor, digest);
    }
  }
  edge_interpreter_release(interpreter);
  return status;
}

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    return NULL;
  }
  *size = (size_t)ftell(file);
  rewind(file);
  void *bytes = malloc(*size);
  if (bytes == NULL || fread(bytes, 1, *size, file) != *size) {
    return NULL;
  }
  fclose(file);
  return bytes;
}

int main(int count, char **arguments) {
  for (int i = 3; i < count; i++) {
    size_t size;
    void *bytes = read_file(arguments[i], &size);
    if (bytes == NULL) {
      return 2;
    }
    edge_model_options options;
    memset(&options, 0, sizeof(options));
    options.isa = strcmp(arguments[1], "-") == 0 ? NULL : arguments[1];
    edge_model *model = NULL;
    edge_error error;
    uint64_t digest = 0xCBF29CE484222325U;
    edge_status status = edge_model_create(bytes, size, &options, &model, &error);
    if (status == EDGE_OK) {
      status = run(model, atoi(arguments[2]), &digest, &error);
    }
    edge_model_release(model);
    free(bytes);
    if (status == EDGE_OK) {
      printf("%016llx\n", (unsigned long long)digest);
    } else {
      printf("%d %s\n", (int)status, error.message);
    }
  }
  return 0;
}
