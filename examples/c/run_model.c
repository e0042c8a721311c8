/* A device program in plain C11: loads a .tflite model, runs it, prints its best answers and how
 * long they took.
 *
 *   run_model [-t THREADS] [-n RUNS] [-k TOP] MODEL.tflite [INPUT...]
 *
 * One INPUT for each input of the model, in their order; without any, inputs are zeros. A file that
 * ends in .npy is NumPy's, of the input's type and size, or of float32, which is quantized here.
 * Any other file is the input's bytes. Exit status: 0, or 1 for a model, file or run that failed,
 * or 2 for arguments that cannot be understood; what went wrong is said on stderr.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edge.h"

enum { FAILED = 1, USAGE = 2 };
/* No file of more bytes is read. */
#define FILE_BYTES_MAX ((size_t)INT32_MAX)

typedef struct settings {
  const char *model;
  char **inputs;
  int input_count;
  int threads;
  int runs;
  int top;
} settings;

/* Bytes of a file. */
typedef struct content {
  unsigned char *bytes;
  size_t size;
} content;

static int fail(const char *what, const char *text) {
  fprintf(stderr, "run_model: %s: %s\n", what, text);
  return FAILED;
}

/* ---- files ------------------------------------------------------------------------------- */

static int read_file(const char *path, content *file) {
  FILE *stream = fopen(path, "rb");
  if (stream == NULL) return fail(path, strerror(errno));
  size_t room = 1 << 16;
  *file = (content){malloc(room), 0};
  while (file->bytes != NULL) {
    file->size += fread(file->bytes + file->size, 1, room - file->size, stream);
    if (file->size < room || room >= FILE_BYTES_MAX) break;
    room *= 2;
    unsigned char *larger = realloc(file->bytes, room);
    if (larger == NULL) free(file->bytes);
    file->bytes = larger;
  }
  const int broken = ferror(stream);
  const int whole = feof(stream);
  (void)fclose(stream);
  if (file->bytes != NULL && !broken && whole) return 0;
  free(file->bytes);
  file->bytes = NULL;
  return fail(path, broken ? "expected a file that can be read" : "expected a smaller file");
}

/* What follows a name in the header of a .npy file, such as 'descr': ; NULL: it is not there. */
static const char *header_value(const char *header, const char *name) {
  const char *found = strstr(header, name);
  if (found == NULL) return NULL;
  found += strlen(name);
  while (*found == ' ' || *found == ':') found++;
  return found;
}

/* Cuts the header off. `type` becomes NumPy's name of the elements, such as <f4. Source of the
 * format: numpy/lib/format.py. */
static int cut_header(const char *path, content *file, size_t *start, char type[8]) {
  char header[1024] = "";
  const unsigned char *b = file->bytes;
  if (file->size < 12 || memcmp(b, "\x93NUMPY", 6) != 0) return fail(path, "expected a .npy file");
  const size_t prefix = b[6] == 1 ? 10 : 12;
  const size_t size = b[8] + 256u * b[9] + (prefix == 12 ? 65536u * (b[10] + 256u * b[11]) : 0);
  if (size >= sizeof header || file->size - prefix < size) {
    return fail(path, "expected a whole and shorter header");
  }
  memcpy(header, b + prefix, size);
  const char *kind = header_value(header, "'descr'");
  const char *order = header_value(header, "'fortran_order'");
  if (kind == NULL || sscanf(kind, "'%7[^']'", type) != 1 || order == NULL ||
      strncmp(order, "False", 5) != 0) {
    return fail(path, "expected an array in C order");
  }
  *start = prefix + size;
  return 0;
}

/* ---- elements ---------------------------------------------------------------------------- */

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

/* 0: not one of the types above. */
static size_t element_size(edge_type type) {
  return (size_t)(numpy_type(type)[0] == '?' ? 0 : numpy_type(type)[2] - '0');
}

/* Scale and zero point of a tensor that is quantized as a whole; 1 and 0 of one that is not. */
static void quantization(const edge_tensor_info *tensor, float *scale, int64_t *zero_point) {
  *scale = 1.0f;
  *zero_point = 0;
  if (tensor->quantization.count != 1) return;
  memcpy(scale, tensor->quantization.scale, sizeof *scale);
  memcpy(zero_point, tensor->quantization.zero_point, sizeof *zero_point);
}

static double stored_at(const edge_tensor_info *tensor, size_t i) {
  const size_t size = element_size(tensor->type);
  const unsigned char *at = (const unsigned char *)tensor->data + i * size;
  if (tensor->type == EDGE_FLOAT32) {
    float value;
    memcpy(&value, at, sizeof value);
    return value;
  }
  uint64_t bits = 0;
  for (size_t b = 0; b < size; b++) bits |= (uint64_t)at[b] << (8 * b);
  if (numpy_type(tensor->type)[1] != 'i') return (double)bits;
  /* The bits above the sign are like it. */
  if (size < 8 && bits >> (8 * size - 1) != 0) bits |= UINT64_MAX << (8 * size);
  int64_t value;
  memcpy(&value, &bits, sizeof value);
  return (double)value;
}

/* The real value of an element. */
static double value_at(const edge_tensor_info *tensor, size_t i) {
  float scale;
  int64_t zero_point;
  quantization(tensor, &scale, &zero_point);
  return (stored_at(tensor, i) - (double)zero_point) * (double)scale;
}

/* float32 -> int8, uint8 or int16: the nearest value that the type has. */
static int quantize(const char *path, const unsigned char *floats, const edge_tensor_info *tensor) {
  const size_t size = element_size(tensor->type);
  const double low = tensor->type == EDGE_UINT8 ? 0.0 : -ldexp(1.0, (int)(8 * size) - 1);
  const double high = low + ldexp(1.0, (int)(8 * size)) - 1.0;
  float scale;
  int64_t zero_point;
  quantization(tensor, &scale, &zero_point);
  for (size_t i = 0; i < tensor->bytes / size; i++) {
    float real;
    memcpy(&real, floats + i * sizeof real, sizeof real);
    if (!isfinite(real)) return fail(path, "expected finite values");
    const double stored = round((double)(real / scale)) + (double)zero_point;
    const int16_t value = (int16_t)fmin(fmax(stored, low), high);
    memcpy((unsigned char *)tensor->data + i * size, &value, size); /* little-endian */
  }
  return 0;
}

static int is_quantized(const edge_tensor_info *tensor) {
  const edge_type type = tensor->type;
  return tensor->quantization.count == 1 &&
         (type == EDGE_INT8 || type == EDGE_UINT8 || type == EDGE_INT16);
}

/* ---- inputs ------------------------------------------------------------------------------ */

static int fill_from(const char *path, const content *file, size_t start, const char *type,
                     const edge_tensor_info *tensor) {
  char text[160];
  const size_t size = file->size - start;
  const int same = type == NULL || strcmp(type, numpy_type(tensor->type)) == 0;
  if (same && size == tensor->bytes) {
    if (size > 0) memcpy(tensor->data, file->bytes + start, size);
    return 0;
  }
  if (!same && strcmp(type, "<f4") == 0 && is_quantized(tensor) &&
      size == tensor->bytes / element_size(tensor->type) * sizeof(float)) {
    return quantize(path, file->bytes + start, tensor);
  }
  (void)snprintf(text, sizeof text, "expected %zu bytes of %s, got %zu of %s", tensor->bytes,
                 numpy_type(tensor->type), size, type == NULL ? "any type" : type);
  return fail(path, text);
}

static int fill_input(const char *path, const edge_tensor_info *tensor) {
  char type[8] = "";
  content file;
  size_t start = 0;
  const size_t length = strlen(path);
  const int numpy = length > 4 && strcmp(path + length - 4, ".npy") == 0;
  if (read_file(path, &file) != 0) return FAILED;
  int failed = numpy ? cut_header(path, &file, &start, type) : 0;
  if (!failed) failed = fill_from(path, &file, start, numpy ? type : NULL, tensor);
  free(file.bytes);
  return failed;
}

static int fill_inputs(edge_interpreter *interpreter, const edge_model_info *model,
                       const settings *s) {
  edge_error error;
  if (s->input_count != 0 && s->input_count != model->input_count) {
    return fail(s->model, "expected no INPUT, or one for each input of the model");
  }
  for (int i = 0; i < model->input_count; i++) {
    edge_tensor_info tensor;
    if (edge_interpreter_tensor(interpreter, 0, model->inputs[i], &tensor, &error) != EDGE_OK) {
      return fail(s->model, error.message);
    }
    if (!tensor.writable) continue; /* a constant that is listed as an input */
    if (s->input_count == 0) {
      if (tensor.bytes > 0) memset(tensor.data, 0, tensor.bytes);
    } else if (fill_input(s->inputs[i], &tensor) != 0) {
      return FAILED;
    }
  }
  return 0;
}

/* ---- outputs ----------------------------------------------------------------------------- */

/* The entry that follows `before` when they are sorted by falling value, then by index; `count`
 * begins and ends it. What is not a number comes never. */
static size_t next_best(const edge_tensor_info *tensor, size_t count, size_t before) {
  size_t best = count;
  const double limit = before < count ? value_at(tensor, before) : INFINITY;
  for (size_t i = 0; i < count; i++) {
    const double value = value_at(tensor, i);
    const int later = before == count || value < limit || (value == limit && i > before);
    if (isnan(value) || !later) continue;
    if (best == count || value > value_at(tensor, best)) best = i;
  }
  return best;
}

static void print_output(const edge_tensor_info *tensor, int index, int top) {
  const size_t size = element_size(tensor->type);
  printf("output %d %.*s %s [", index, (int)tensor->name_size, tensor->name,
         numpy_type(tensor->type));
  for (int i = 0; i < tensor->rank; i++) printf("%s%d", i == 0 ? "" : ", ", tensor->shape[i]);
  printf("]\n");
  if (size == 0 || tensor->data == NULL) return;
  const size_t count = tensor->bytes / size;
  size_t best = count;
  for (int i = 0; i < top; i++) {
    best = next_best(tensor, count, best);
    if (best == count) return;
    printf("  %6zu  %.9g\n", best, value_at(tensor, best));
  }
}

static int print_outputs(edge_interpreter *interpreter, const edge_model_info *model,
                         const settings *s) {
  edge_error error;
  for (int i = 0; i < model->output_count; i++) {
    edge_tensor_info tensor;
    if (edge_interpreter_tensor(interpreter, 0, model->outputs[i], &tensor, &error) != EDGE_OK) {
      return fail(s->model, error.message);
    }
    print_output(&tensor, i, s->top);
  }
  return 0;
}

/* ---- the run ----------------------------------------------------------------------------- */

static double now_in_ms(void) {
  struct timespec now;
  (void)timespec_get(&now, TIME_UTC);
  return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static int invoke_all(edge_interpreter *interpreter, const settings *s) {
  edge_error error;
  double best = INFINITY;
  double sum = 0.0;
  for (int i = 0; i < s->runs; i++) {
    const double began = now_in_ms();
    if (edge_interpreter_invoke(interpreter, 0, &error) != EDGE_OK) {
      return fail(s->model, error.message);
    }
    const double took = now_in_ms() - began;
    best = fmin(best, took);
    sum += took;
  }
  printf("%d runs: best %.3f ms, mean %.3f ms\n", s->runs, best, sum / s->runs);
  return 0;
}

static int run_interpreter(edge_model *model, const settings *s) {
  edge_error error;
  edge_model_info info;
  edge_interpreter *interpreter = NULL;
  const edge_interpreter_options options = {.threads = s->threads};
  if (edge_model_describe(model, 0, &info, &error) != EDGE_OK ||
      edge_interpreter_create(model, &options, &interpreter, &error) != EDGE_OK) {
    return fail(s->model, error.message);
  }
  int failed = edge_interpreter_allocate(interpreter, 0, &error) != EDGE_OK
                   ? fail(s->model, error.message)
                   : 0;
  if (!failed) failed = fill_inputs(interpreter, &info, s);
  if (!failed) failed = invoke_all(interpreter, s);
  if (!failed) failed = print_outputs(interpreter, &info, s);
  edge_interpreter_release(interpreter);
  return failed;
}

static int run_model(const settings *s) {
  edge_error error;
  edge_model *model = NULL;
  content file;
  if (read_file(s->model, &file) != 0) return FAILED;
  /* Not transient: `file` stays until the model is gone. */
  int failed = edge_model_create(file.bytes, file.size, NULL, &model, &error) != EDGE_OK
                   ? fail(s->model, error.message)
                   : run_interpreter(model, s);
  edge_model_release(model);
  free(file.bytes);
  if (fflush(stdout) != 0 && !failed) failed = fail("stdout", strerror(errno));
  return failed;
}

/* ---- arguments --------------------------------------------------------------------------- */

static int usage(const char *text) {
  fprintf(stderr,
          "run_model: %s\n"
          "usage: run_model [-t THREADS] [-n RUNS] [-k TOP] MODEL.tflite [INPUT...]\n",
          text);
  return USAGE;
}

static int read_number(const char *text, int *number) {
  char *end = NULL;
  errno = 0;
  const long value = text == NULL ? 0 : strtol(text, &end, 10);
  if (text == NULL || end == text || *end != '\0' || errno != 0 || value < 1 || value > INT_MAX) {
    return usage("expected a number of at least 1");
  }
  *number = (int)value;
  return 0;
}

static int read_arguments(char **arguments, settings *s) {
  char **at = arguments + 1;
  for (; *at != NULL && (*at)[0] == '-' && (*at)[1] != '\0'; at += 2) {
    int *number = NULL;
    if (strcmp(*at, "-t") == 0) number = &s->threads;
    if (strcmp(*at, "-n") == 0) number = &s->runs;
    if (strcmp(*at, "-k") == 0) number = &s->top;
    if (number == NULL) return usage("expected -t, -n or -k");
    if (read_number(at[1], number) != 0) return USAGE;
  }
  if (*at == NULL) return usage("expected a model");
  s->model = *at;
  s->inputs = at + 1;
  while (s->inputs[s->input_count] != NULL) s->input_count++;
  return 0;
}

int main(int count, char **arguments) {
  settings s = {.threads = 1, .runs = 10, .top = 5};
  (void)count;
  if (read_arguments(arguments, &s) != 0) return USAGE;
  return run_model(&s);
}
