/* A hostile .tflite file against the whole of edge.h: load, allocate, run, resize, run again.
 *
 * For libFuzzer (`make fuzz`). A finding is a crash, a report of a sanitizer, a leak, or more time
 * or memory than the limits here can ask for. How a file is loaded follows from its bytes, so that
 * a finding repeats.
 */
#include <stdlib.h>
#include <string.h>

#include "edge.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* Small enough that any file that they let through runs in a moment. */
static const edge_limits limits = {.tensors = 4096,
                                   .operators = 4096,
                                   .tensor_bytes = 1 << 14,
                                   .arena_bytes = 1 << 18,
                                   .packed_bytes = 1 << 23,
                                   .calls = 16};
static const uint64_t WORK_MAX = 1 << 24;

static uint64_t hash_of(const uint8_t *data, size_t size) {
  uint64_t hash = 14695981039346656037ULL;
  for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 1099511628211ULL;
  return hash;
}

/* Reads every byte that the interface offers, so that a wrong pointer or size is seen. */
static uint64_t touch(const void *memory, size_t size) {
  uint64_t sum = 0;
  for (size_t i = 0; memory != NULL && i < size; i++) sum += ((const uint8_t *)memory)[i];
  return sum;
}

static uint64_t read_all(const edge_model *model, const edge_interpreter *interpreter) {
  edge_model_info info;
  edge_tensor_info tensor;
  uint64_t sum = 0;
  (void)edge_model_describe(model, 0, &info, NULL);
  for (int32_t i = 0; i < info.tensor_count; i++) {
    if (edge_interpreter_tensor(interpreter, 0, i, &tensor, NULL) != EDGE_OK) abort();
    sum += touch(tensor.name, tensor.name_size) + touch(tensor.data, tensor.bytes) +
           touch(tensor.quantization.scale, 4 * (size_t)tensor.quantization.count) +
           touch(tensor.quantization.zero_point, 8 * (size_t)tensor.quantization.count);
  }
  edge_signature_info signature;
  edge_signature_entry entry;
  for (int32_t s = 0; edge_model_signature(model, s, 0, &signature, NULL, NULL) == EDGE_OK; s++) {
    sum += touch(signature.key, signature.key_size);
    for (int32_t i = 0; edge_model_signature(model, s, i, &signature, &entry, NULL) == EDGE_OK;
         i++) {
      sum += touch(entry.name, entry.name_size);
    }
  }
  return sum;
}

/* Of the main subgraph run once, and of each other one as often as the limits let it be called. */
static uint64_t work_of(const edge_model *model) {
  edge_model_info model_info;
  edge_operator_info info;
  uint64_t sum = 0;
  (void)edge_model_describe(model, 0, &model_info, NULL);
  for (int32_t s = 0; s < model_info.subgraph_count; s++) {
    const uint64_t times = s == 0 ? 1 : limits.calls;
    for (int32_t i = 0; edge_model_operator(model, s, i, &info, NULL) == EDGE_OK; i++) {
      if (info.macs > WORK_MAX) return info.macs;
      sum += info.macs * times;
    }
  }
  return sum;
}

static void fill_inputs(const edge_model *model, const edge_interpreter *interpreter,
                        uint64_t hash) {
  edge_model_info info;
  edge_tensor_info tensor;
  (void)edge_model_describe(model, 0, &info, NULL);
  for (int32_t i = 0; i < info.input_count; i++) {
    if (edge_interpreter_tensor(interpreter, 0, info.inputs[i], &tensor, NULL) != EDGE_OK) abort();
    if (tensor.data != NULL) memset(tensor.data, (int)(hash >> 8 * (i % 8)), tensor.bytes);
  }
}

/* Whatever fails says what was expected. */
static bool passed(edge_status status, const edge_error *error) {
  if (status == EDGE_OK) return true;
  if (status != error->status || strstr(error->message, "expected") == NULL) abort();
  return false;
}

/* Twice, as what the first run leaves behind is what the second one finds. */
static void run(const edge_model *model, edge_interpreter *interpreter, uint64_t hash) {
  edge_error error = {0};
  if (!passed(edge_interpreter_allocate(interpreter, 0, &error), &error)) return;
  if (work_of(model) > WORK_MAX) return;
  for (int i = 0; i < 2; i++) {
    fill_inputs(model, interpreter, hash >> i);
    if (passed(edge_interpreter_invoke(interpreter, 0, &error), &error)) {
      (void)read_all(model, interpreter);
    }
  }
  if (!passed(edge_interpreter_reset(interpreter, &error), &error)) abort();
}

static void resize(const edge_model *model, edge_interpreter *interpreter, uint64_t hash) {
  edge_model_info info;
  edge_tensor_info tensor;
  (void)edge_model_describe(model, 0, &info, NULL);
  for (int32_t i = 0; i < info.input_count; i++) {
    if (edge_interpreter_tensor(interpreter, 0, info.inputs[i], &tensor, NULL) != EDGE_OK) abort();
    for (int32_t d = 0; d < tensor.rank; d++) {
      if (hash >> (i + d) % 60 & 1) tensor.shape[d] = (int32_t)(hash >> (i + d) % 32 & 7);
    }
    (void)edge_interpreter_resize(interpreter, 0, info.inputs[i], tensor.shape, tensor.rank, NULL);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint64_t hash = hash_of(data, size);
  const edge_model_options options = {.isa = hash & 1 ? "scalar" : NULL,
                                      .limits = limits,
                                      .transient = (hash & 2) != 0,
                                      .secret = (hash & 12) == 12};
  edge_model *model;
  edge_interpreter *interpreter;
  edge_error error = {0};
  uint8_t *copy = malloc(size ? size : 1); /* exactly as long, so that reading past it is seen */
  if (copy == NULL) return 0;
  if (size > 0) memcpy(copy, data, size);
  if (edge_model_create(copy, size, &options, &model, &error) != EDGE_OK) {
    if (error.status == EDGE_OK || strstr(error.message, "expected") == NULL) abort();
    free(copy);
    return 0;
  }
  if (options.transient) memset(copy, 0xA5, size);
  if (edge_interpreter_create(model, &(edge_interpreter_options){.threads = hash & 16 ? 2 : 1},
                              &interpreter, NULL) == EDGE_OK) {
    run(model, interpreter, hash);
    resize(model, interpreter, hash);
    run(model, interpreter, hash);
    edge_interpreter_release(interpreter);
  }
  edge_model_release(model);
  free(copy);
  return 0;
}

/* All numbers of the format that matter are words on multiples of four. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  static const uint32_t extremes[] = {0,       1,          2,          3,          4,       127,
                                      128,     255,        256,        32767,      65535,   65536,
                                      1 << 24, 0x3FFFFFFF, 0x7FFFFFFF, 0x80000000, ~0u - 1, ~0u};
  if (size < 4 || seed % 3 == 0) return LLVMFuzzerMutate(data, size, most);
  const size_t words = size / 4;
  uint8_t *at = data + 4 * (((size_t)seed * 2654435761u >> 7) % words);
  uint32_t value = extremes[seed / 3 % (sizeof extremes / sizeof *extremes)];
  if (seed % 3 == 2) {
    uint32_t old;
    memcpy(&old, at, sizeof old);
    value = old + (seed & 64 ? value & 15 : 0u - (value & 15));
  }
  memcpy(at, &value, sizeof value);
  return size;
}
