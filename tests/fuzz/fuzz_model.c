/* A hostile .tflite file against the whole of edge.h: load, allocate, run, resize, run again, every
 * subgraph for itself.
 *
 * For libFuzzer (`make fuzz`), and with replay.c for the findings of the past. A finding is a
 * crash, a report of a sanitizer, a leak, an error without a reason, or more time or memory than
 * the limits here can ask for. How a file is loaded follows from its bytes, so that a finding
 * repeats.
 */
#include <stdio.h>
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
                                   .calls = 64,
                                   .work = 1 << 24};
enum { SUBGRAPHS_MAX = 4 };

/* What the run of one file has in hand. */
typedef struct subject {
  edge_model *model;
  edge_interpreter *interpreter;
  uint64_t hash;
} subject;

static uint64_t hash_of(const uint8_t *data, size_t size) {
  uint64_t hash = 14695981039346656037ULL;
  for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 1099511628211ULL;
  return hash;
}

static void finding(const char *what, const edge_error *error) {
  (void)fprintf(stderr, "%s: status %d, \"%s\"\n", what, (int)error->status, error->message);
  abort();
}

/* True: it went through. An error must say what was expected. */
static bool passed(edge_status status, const edge_error *error) {
  if (status == EDGE_OK) return true;
  if (status != error->status) finding("the error does not say the status", error);
  if (status == EDGE_DEFERRED) finding("a status of the core alone came out of it", error);
  if (strstr(error->message, "expected") == NULL) finding("no reason", error);
  return false;
}

/* Reads every byte that the interface offers, so that a wrong pointer or size is seen. */
static uint64_t touch(const void *memory, size_t size) {
  uint64_t sum = 0;
  for (size_t i = 0; memory != NULL && i < size; i++) sum += ((const uint8_t *)memory)[i];
  return sum;
}

static edge_tensor_info tensor_of(const subject *s, int32_t subgraph, int32_t index) {
  edge_tensor_info tensor;
  edge_error error = {0};
  if (edge_interpreter_tensor(s->interpreter, subgraph, index, &tensor, &error) != EDGE_OK)
    finding("no tensor", &error);
  return tensor;
}

static int32_t subgraphs_of(const edge_model *model) {
  edge_model_info info;
  (void)edge_model_describe(model, 0, &info, NULL);
  return info.subgraph_count < SUBGRAPHS_MAX ? info.subgraph_count : SUBGRAPHS_MAX;
}

static uint64_t read_tensors(const subject *s) {
  edge_model_info info;
  uint64_t sum = 0;
  for (int32_t g = 0; g < subgraphs_of(s->model); g++) {
    (void)edge_model_describe(s->model, g, &info, NULL);
    for (int32_t i = 0; i < info.tensor_count; i++) {
      const edge_tensor_info tensor = tensor_of(s, g, i);
      sum += touch(tensor.name, tensor.name_size) + touch(tensor.data, tensor.bytes) +
             touch(tensor.quantization.scale, 4 * (size_t)tensor.quantization.count) +
             touch(tensor.quantization.zero_point, 8 * (size_t)tensor.quantization.count);
    }
  }
  return sum;
}

static uint64_t read_signatures(const edge_model *model) {
  edge_signature_info signature;
  edge_signature_entry entry;
  uint64_t sum = 0;
  for (int32_t s = 0; edge_model_signature(model, s, 0, &signature, NULL, NULL) == EDGE_OK; s++) {
    sum += touch(signature.key, signature.key_size);
    for (int32_t i = 0; edge_model_signature(model, s, i, &signature, &entry, NULL) == EDGE_OK;
         i++) {
      sum += touch(entry.name, entry.name_size);
    }
  }
  return sum;
}

/* All bytes alike, or each another, or a small number in each word: lists of axes and sizes that
 * are computed are read from inputs. */
static void fill_inputs(const subject *s, int32_t subgraph, uint32_t round) {
  edge_model_info info;
  (void)edge_model_describe(s->model, subgraph, &info, NULL);
  for (int32_t i = 0; i < info.input_count; i++) {
    const edge_tensor_info tensor = tensor_of(s, subgraph, info.inputs[i]);
    const uint64_t seed = s->hash >> 4 * ((uint32_t)i % 8 + round);
    if (tensor.data == NULL) continue;
    memset(tensor.data, (int)(round % 2 ? seed : 0), tensor.bytes);
    for (size_t b = 0; b < tensor.bytes && seed % 3 == 0; b += seed % 2 ? 4 : 1) {
      ((uint8_t *)tensor.data)[b] = (uint8_t)(seed >> b % 48 & 7);
    }
  }
}

static void run(const subject *s, int32_t subgraph) {
  edge_error error = {0};
  if (!passed(edge_interpreter_allocate(s->interpreter, subgraph, &error), &error)) {
    (void)read_tensors(s);
    return;
  }
  for (uint32_t round = 0; round < 3; round++) {
    fill_inputs(s, subgraph, round);
    (void)passed(edge_interpreter_invoke(s->interpreter, subgraph, &error), &error);
    (void)read_tensors(s);
    if ((s->hash >> round & 1) != 0 &&
        !passed(edge_interpreter_reset(s->interpreter, &error), &error))
      finding("a reset that fails", &error);
  }
}

static void resize(const subject *s, int32_t subgraph) {
  edge_model_info info;
  edge_error error = {0};
  (void)edge_model_describe(s->model, subgraph, &info, NULL);
  for (int32_t i = 0; i < info.input_count; i++) {
    edge_tensor_info tensor = tensor_of(s, subgraph, info.inputs[i]);
    for (int32_t d = 0; d < tensor.rank; d++) {
      if (s->hash >> (i + d) % 60 & 1) tensor.shape[d] = (int32_t)(s->hash >> (i + d) % 32 & 7);
    }
    if ((s->hash >> (i + 40) % 60 & 7) == 0) tensor.rank = (int32_t)(s->hash >> 11 & 7);
    (void)passed(edge_interpreter_resize(s->interpreter, subgraph, info.inputs[i], tensor.shape,
                                         tensor.rank, &error),
                 &error);
  }
}

static void use(subject *s) {
  const edge_interpreter_options options = {.threads = s->hash >> 4 & 1 ? 2 : 1,
                                            .preserve_all_tensors = (s->hash >> 5 & 3) == 3};
  edge_error error = {0};
  if (!passed(edge_interpreter_create(s->model, &options, &s->interpreter, &error), &error)) return;
  run(s, 0);
  resize(s, 0);
  for (int32_t g = subgraphs_of(s->model) - 1; g >= 0; g--) run(s, g);
  edge_interpreter_release(s->interpreter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  subject s = {.hash = hash_of(data, size)};
  const edge_model_options options = {.isa = s.hash & 1 ? "scalar" : NULL,
                                      .limits = limits,
                                      .transient = (s.hash & 2) != 0,
                                      .secret = (s.hash & 12) == 12};
  edge_error error = {0};
  uint8_t *copy = malloc(size ? size : 1); /* exactly as long, so that reading past it is seen */
  if (copy == NULL) return 0;
  if (size > 0) memcpy(copy, data, size);
  if (passed(edge_model_create(copy, size, &options, &s.model, &error), &error)) {
    if (options.transient) memset(copy, 0xA5, size);
    (void)read_signatures(s.model);
    use(&s);
    edge_model_release(s.model);
  }
  free(copy);
  return 0;
}

/* ---- mutation ------------------------------------------------------------------------------ */

static const uint32_t extremes[] = {0,       1,          2,          3,          4,       127,
                                    128,     255,        256,        32767,      65535,   65536,
                                    1 << 24, 0x3FFFFFFF, 0x7FFFFFFF, 0x80000000, ~0u - 1, ~0u};

/* All numbers of the format that matter are words on multiples of four: a word becomes an extreme,
 * moves a little, or takes the place of another. */
static void change_word(uint8_t *data, size_t words, uint32_t random) {
  uint8_t *at = data + 4 * ((random * 2654435761u >> 7) % words);
  uint32_t value = extremes[random % (sizeof extremes / sizeof *extremes)];
  uint32_t old;
  memcpy(&old, at, sizeof old);
  switch (random >> 16 & 3) {
    case 0:
      value = old + (value & 15);
      break;
    case 1:
      value = old - (value & 15);
      break;
    case 2:
      memcpy(&value, data + 4 * ((random * 40503u >> 3) % words), sizeof value);
      break;
    default:
      break;
  }
  memcpy(at, &value, sizeof value);
}

/* Types, options and codes are bytes. */
static void change_byte(uint8_t *data, size_t size, uint32_t random) {
  data[(random * 2654435761u >> 5) % size] = (uint8_t)(random >> 24 & 1 ? random % 24 : random);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  uint32_t random = seed * 747796405u + 2891336453u;
  if (size < 16 || seed % 4 == 0) return LLVMFuzzerMutate(data, size, most);
  for (uint32_t i = 0; i <= seed / 4 % 3; i++) {
    random = random * 1664525u + 1013904223u;
    if (random >> 28 < 10) {
      change_word(data, size / 4, random);
    } else {
      change_byte(data, size, random);
    }
  }
  return size;
}
