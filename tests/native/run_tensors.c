/* Runs a model on tensors in files, and writes its outputs to files.
 *
 *   run_tensors ISA THREADS MODEL.tflite INPUT.npy... OUTPUT.npy...
 *
 * A file for each input of the model and then for each output, in their order. Files are in NumPy's
 * format, [frames][shape of the tensor]: the model is invoked once for each frame. "-" as ISA takes
 * the default one. Plain C over edge.h, so that the core can be compared with LiteRT where neither
 * Python nor LiteRT runs. Linked with --wrap=edge_cpu_threads, so that any number of threads can be
 * had. Source of the format: numpy/lib/format.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge.h"

/* Magic, version 1.0, length of the text, text. */
enum { HEADER = 10, TEXT_SIZE = 246, FILES = 64 };

static int fail(const char *what, const char *detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  return 1;
}

int32_t __wrap_edge_cpu_threads(void);
int32_t __wrap_edge_cpu_threads(void) {
  return 64;
}

/* ---- files ------------------------------------------------------------------------------- */

static const char *numpy_type(edge_type type) {
  switch (type) {
    case EDGE_FLOAT32:
      return "<f4";
    case EDGE_INT8:
      return "|i1";
    case EDGE_UINT8:
      return "|u1";
    case EDGE_INT16:
      return "<i2";
    case EDGE_INT32:
      return "<i4";
    case EDGE_INT64:
      return "<i8";
    case EDGE_BOOL:
      return "|b1";
    default:
      return "?";
  }
}

/* What a file of `frames` such tensors says of itself, as numpy writes it. */
static void describe(const edge_tensor_info *tensor, size_t frames, char *text, size_t size) {
  int at = snprintf(text, size, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu,",
                    numpy_type(tensor->type), frames);
  for (int32_t d = 0; d < tensor->rank; d++) {
    at += snprintf(text + at, size - (size_t)at, "%s%d", d == 0 ? " " : ", ", tensor->shape[d]);
  }
  snprintf(text + at, size - (size_t)at, "), }");
}

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    return NULL;
  }
  *size = (size_t)ftell(file);
  rewind(file);
  unsigned char *bytes = calloc(*size + 1, 1);
  if (bytes == NULL || fread(bytes, 1, *size, file) != *size) {
    return NULL;
  }
  fclose(file);
  return bytes;
}

typedef struct tensor_file {
  unsigned char *bytes;
  const unsigned char *data;
  size_t frames;
} tensor_file;

/* Reads frames for a tensor; what the file says of itself must be what it would be written with. */
static int read_tensor(const char *path, const edge_tensor_info *tensor, tensor_file *made) {
  char expected[TEXT_SIZE] = "expected ";
  char *said = expected + strlen(expected);
  size_t size;
  made->bytes = read_file(path, &size);
  if (made->bytes == NULL || size < HEADER || memcmp(made->bytes, "\x93NUMPY\x01", 7) != 0) {
    return fail(path, "expected a tensor file of format 1.0");
  }
  const size_t text = made->bytes[8] | (size_t)made->bytes[9] << 8;
  if (size < HEADER + text || tensor->bytes == 0) {
    return fail(path, "expected a whole tensor file");
  }
  made->data = made->bytes + HEADER + text;
  made->frames = (size - HEADER - text) / tensor->bytes;
  describe(tensor, made->frames, said, sizeof(expected) - strlen(expected));
  if (strncmp((const char *)made->bytes + HEADER, said, strlen(said)) != 0 ||
      size != HEADER + text + made->frames * tensor->bytes) {
    return fail(path, expected);
  }
  return 0;
}

static FILE *begin_tensor(const char *path, const edge_tensor_info *tensor, size_t frames) {
  unsigned char header[HEADER + TEXT_SIZE];
  char text[TEXT_SIZE];
  describe(tensor, frames, text, sizeof(text));
  memset(header, ' ', sizeof(header));
  memcpy(header, "\x93NUMPY\x01\0", 8);
  header[8] = TEXT_SIZE & 255;
  header[9] = TEXT_SIZE >> 8;
  memcpy(header + HEADER, text, strlen(text));
  header[sizeof(header) - 1] = '\n';
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(header, 1, sizeof(header), file) != sizeof(header)) {
    return NULL;
  }
  return file;
}

/* ---- the run ----------------------------------------------------------------------------- */

static int invoke(edge_interpreter *interpreter, const edge_model_info *info, char **paths) {
  tensor_file in[FILES];
  FILE *out[FILES] = {NULL};
  edge_tensor_info tensor;
  edge_error error;
  size_t frames = 0;
  for (int32_t i = 0; i < info->input_count; i++) {
    edge_interpreter_tensor(interpreter, 0, info->inputs[i], &tensor, &error);
    if (read_tensor(paths[i], &tensor, &in[i]) != 0) return 1;
    if (i > 0 && in[i].frames != frames) return fail(paths[i], "expected as many frames as before");
    frames = in[i].frames;
  }
  for (size_t n = 0; n < frames; n++) {
    for (int32_t i = 0; i < info->input_count; i++) {
      edge_interpreter_tensor(interpreter, 0, info->inputs[i], &tensor, &error);
      memcpy(tensor.data, in[i].data + n * tensor.bytes, tensor.bytes);
    }
    if (edge_interpreter_invoke(interpreter, 0, &error) != EDGE_OK) {
      return fail("invoke", error.message);
    }
    for (int32_t i = 0; i < info->output_count; i++) {
      const char *path = paths[info->input_count + i];
      edge_interpreter_tensor(interpreter, 0, info->outputs[i], &tensor, &error);
      if (n == 0) out[i] = begin_tensor(path, &tensor, frames);
      if (out[i] == NULL || fwrite(tensor.data, 1, tensor.bytes, out[i]) != tensor.bytes) {
        return fail(path, "cannot be written");
      }
    }
  }
  for (int32_t i = 0; i < info->input_count; i++) free(in[i].bytes);
  for (int32_t i = 0; i < info->output_count; i++) {
    if (out[i] != NULL && fclose(out[i]) != 0) return fail("outputs", "cannot be written");
  }
  return 0;
}

static int run(edge_model *model, int threads, int count, char **paths) {
  edge_model_info info;
  edge_interpreter *interpreter = NULL;
  edge_error error;
  const edge_interpreter_options options = {.threads = threads};
  if (edge_model_describe(model, 0, &info, &error) != EDGE_OK ||
      edge_interpreter_create(model, &options, &interpreter, &error) != EDGE_OK ||
      edge_interpreter_allocate(interpreter, 0, &error) != EDGE_OK) {
    return fail("interpreter", error.message);
  }
  if (count != info.input_count + info.output_count || count > FILES) {
    return fail("usage", "expected a file for each input and output");
  }
  const int status = invoke(interpreter, &info, paths);
  edge_interpreter_release(interpreter);
  return status;
}

int main(int count, char **arguments) {
  if (count < 4) return fail("usage", "run_tensors ISA THREADS MODEL INPUT.npy... OUTPUT.npy...");
  size_t size;
  void *bytes = read_file(arguments[3], &size);
  if (bytes == NULL) return fail(arguments[3], "cannot be read");
  edge_model_options options;
  memset(&options, 0, sizeof(options));
  options.isa = strcmp(arguments[1], "-") == 0 ? NULL : arguments[1];
  edge_model *model = NULL;
  edge_error error;
  if (edge_model_create(bytes, size, &options, &model, &error) != EDGE_OK) {
    return fail(arguments[3], error.message);
  }
  const int status = run(model, atoi(arguments[2]), count - 4, arguments + 4);
  edge_model_release(model);
  free(bytes);
  return status;
}
