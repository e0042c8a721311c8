/* Error messages without stdio, and so without a locale: a formatter that knows %s, %lld, %llu, and
 * %g with six digits. */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "internal.h"

typedef struct message {
  char *at;
  char *end; /* room is kept for the terminating NUL */
} message;

static void put_char(message *m, char c) {
  if (m->at < m->end) *m->at++ = c;
}

static void put_text(message *m, const char *text) {
  for (; *text; text++) put_char(m, *text);
}

static void put_unsigned(message *m, unsigned long long value) {
  char digits[20];
  size_t n = 0;
  do {
    digits[n++] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (n > 0) put_char(m, digits[--n]);
}

static void put_signed(message *m, long long value) {
  if (value < 0) put_char(m, '-');
  put_unsigned(m, value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value);
}

/* `digits` is 100000 ... 999999: the first before the point, or, of small numbers, behind zeros. */
static void put_decimal(message *m, uint32_t digits, int32_t before) {
  char text[6];
  int32_t count = 6;
  for (int32_t i = 5; i >= 0; i--, digits /= 10) text[i] = (char)('0' + digits % 10);
  while (count > 1 && text[count - 1] == '0') count--;
  if (before <= 0) put_text(m, "0.");
  for (int32_t i = before; i < 0; i++) put_char(m, '0');
  for (int32_t i = 0; i < count || i < before; i++) {
    if (i == before && i > 0) put_char(m, '.');
    put_char(m, i < count ? text[i] : '0');
  }
}

static void put_real(message *m, double value) {
  int32_t exponent = 0;
  if (signbit(value) && !isnan(value)) put_char(m, '-');
  value = fabs(value);
  if (!isfinite(value) || value == 0.0) {
    put_text(m, isnan(value) ? "nan" : value > 0.0 ? "inf" : "0");
    return;
  }
  for (; value >= 10.0; exponent++) value /= 10.0;
  for (; value < 1.0; exponent--) value *= 10.0;
  uint32_t digits = (uint32_t)(value * 1e5 + 0.5);
  if (digits > 999999) {
    digits /= 10;
    exponent++;
  }
  const bool plain = exponent >= -4 && exponent < 6;
  put_decimal(m, digits, plain ? exponent + 1 : 1);
  if (plain) return;
  put_char(m, 'e');
  put_signed(m, exponent);
}

static void put_format(message *m, const char *format, va_list arguments) {
  for (const char *f = format; *f; f++) {
    if (*f != '%') {
      put_char(m, *f);
    } else if (f[1] == 's') {
      put_text(m, va_arg(arguments, const char *));
      f += 1;
    } else if (f[1] == 'g') {
      put_real(m, va_arg(arguments, double));
      f += 1;
    } else if (f[1] == 'l' && f[2] == 'l' && f[3] == 'd') {
      put_signed(m, va_arg(arguments, long long));
      f += 3;
    } else if (f[1] == 'l' && f[2] == 'l' && f[3] == 'u') {
      put_unsigned(m, va_arg(arguments, unsigned long long));
      f += 3;
    }
  }
}

const char *edge_shape_text(char text[EDGE_SHAPE_TEXT], int32_t rank, const int32_t *shape) {
  message m = {text, text + EDGE_SHAPE_TEXT - 1};
  put_char(&m, '[');
  for (int32_t d = 0; d < rank; d++) {
    if (d > 0) put_text(&m, ", ");
    put_signed(&m, shape[d]);
  }
  put_char(&m, ']');
  *m.at = '\0';
  return text;
}

static void report_at(edge_error *error, edge_status status, const edge_node *node, long long index,
                      const char *format, va_list arguments) {
  if (error == NULL) return;
  error->status = status;
  message m = {error->message, error->message + sizeof error->message - 1};
  if (node != NULL) {
    put_text(&m, "operator ");
    put_signed(&m, index);
    put_text(&m, " (");
    put_text(&m, node->op->name);
    put_text(&m, " v");
    put_signed(&m, node->version);
    put_text(&m, "): ");
  }
  put_format(&m, format, arguments);
  *m.at = '\0';
}

void edge_report(edge_error *error, edge_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report_at(error, status, NULL, 0, format, arguments);
  va_end(arguments);
}

void edge_node_report(edge_compiler *compiler, const edge_node *node, edge_status status,
                      const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report_at(compiler->error, status, node, node - compiler->graph->nodes, format, arguments);
  va_end(arguments);
}

void edge_step_report(edge_planner *planner, const edge_step *step, edge_status status,
                      const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report_at(planner->error, status, step->node, step->node - planner->frame->graph->nodes, format,
            arguments);
  va_end(arguments);
}

void edge_report_subgraph(edge_error *error, int64_t subgraph) {
  edge_error said = *error;
  if (subgraph == 0 || error->status == EDGE_OK || strncmp(said.message, "subgraph ", 9) == 0)
    return;
  edge_report(error, said.status, "subgraph %lld, %s", (long long)subgraph, said.message);
}

const char *edge_type_name(edge_type type) {
  static const char *const names[] = {
      "float32", "float16",  "int32",     "uint8",  "int64",   "string",
      "bool",    "int16",    "complex64", "int8",   "float64", "complex128",
      "uint64",  "resource", "variant",   "uint32", "uint16",  "int4",
  };
  const size_t count = sizeof names / sizeof *names;
  return (size_t)type < count ? names[type] : "an unknown type";
}
