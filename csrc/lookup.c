/* Operators by table: see lookup.h. */
#include "lookup.h"

#include <math.h>

#include "fold.h"

typedef struct lookup8 {
  edge_unary unary;
  edge_table8 table;
} lookup8;

typedef struct lookup16 {
  edge_unary unary;
  int16_t table[EDGE_TABLE16];
} lookup16;

static void lookup8_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const lookup8 *p = (const lookup8 *)(const void *)unary;
  unary->kernels->x8_lut(out, in, count, p->table.bytes);
}

edge_status edge_lookup_values(edge_compiler *compiler, edge_node *node, edge_lookup_fn *f,
                               const void *context) {
  const bool in_signed = edge_node_input(compiler, node, 0)->type == EDGE_INT8;
  const bool out_signed = edge_node_output(compiler, node, 0)->type == EDGE_INT8;
  lookup8 *p = edge_unary_params(compiler, node, sizeof *p, lookup8_span);
  if (p == NULL) return edge_no_memory(compiler->error);
  const int32_t least = out_signed ? INT8_MIN : 0;
  const int32_t most = out_signed ? INT8_MAX : UINT8_MAX;
  for (int32_t i = 0; i < 256; i++) {
    const int64_t value = f(in_signed ? edge_byte_value(i) : i, context);
    p->table.bytes[i] = (uint8_t)edge_clamp(value, least, most);
  }
  node->kernel = "lut";
  return EDGE_OK;
}

/* ---- functions of real values ------------------------------------------------------------ */

typedef struct sampled {
  const edge_function *function;
  edge_quant input, output;
} sampled;

/* NaN as 0; what leaves 32 bits saturates. */
static int64_t whole(float value) {
  if (isnan(value)) return 0;
  return (int64_t)(value < -0x1p31f ? -0x1p31f : value > 0x1p31f ? 0x1p31f : value);
}

static int64_t value_xnn(int32_t value, const void *context) {
  const sampled *s = context;
  const float x = ((float)value - (float)s->input.zero_point) * s->input.scale;
  const float inverse = 1.0f / s->output.scale;
  const float scaled = s->function->xnn(x, s->function->context) * inverse;
  return whole(rintf(scaled + (float)s->output.zero_point));
}

static int64_t value_own(int32_t value, const void *context) {
  const sampled *s = context;
  const float x = s->input.scale * (float)(value - s->input.zero_point);
  const float inverse = 1.0f / s->output.scale;
  const float scaled = s->function->own(x, s->function->context) * inverse;
  return whole(roundf(scaled) + (float)s->output.zero_point);
}

static void lookup16_span(const edge_unary *unary, const void *in, void *out, size_t count) {
  const lookup16 *p = (const lookup16 *)(const void *)unary;
  const int16_t *from = in;
  int16_t *to = out;
  for (size_t i = 0; i < count; i++) to[i] = edge_table16_at(p->table, from[i]);
}

static int16_t entry16(float value) {
  if (isnan(value)) return 0;
  return (int16_t)(value < -32768.0f ? -32768.0f : value > 32767.0f ? 32767.0f : value);
}

/* Each entry is biased by half of what interpolation misses in the middle of its interval. */
static void fill16(int16_t table[EDGE_TABLE16], const sampled *s) {
  const edge_function *f = s->function;
  const float least = s->input.scale * -32768.0f;
  const float most = s->input.scale * 32767.0f;
  const float step = (most - least) / 512.0f;
  const float half = step / 2.0f;
  const float low = s->output.scale * -32768.0f;
  const float high = s->output.scale * 32767.0f;
  const float inverse = 65536.0f / (high - low);
  for (int32_t i = 0; i < EDGE_TABLE16 - 1; i++) {
    const float x = least + (float)i * step;
    const float value = f->own(x, f->context) * inverse;
    const float middle = f->own(x + half, f->context) * inverse;
    const float next = f->own(least + (float)(i + 1) * step, f->context) * inverse;
    const float line = roundf((next + roundf(value)) / 2.0f);
    const float bias = roundf((line - roundf(middle)) / 2.0f);
    table[i] = entry16(roundf(value) - bias);
  }
  table[EDGE_TABLE16 - 1] = entry16(roundf(f->own(most, f->context) * inverse));
}

static edge_status function16(edge_compiler *compiler, edge_node *node, const sampled *s) {
  lookup16 *p = edge_unary_params(compiler, node, sizeof *p, lookup16_span);
  if (p == NULL) return edge_no_memory(compiler->error);
  fill16(p->table, s);
  node->kernel = "lut of 513";
  return EDGE_OK;
}

edge_status edge_lookup_function(edge_compiler *compiler, edge_node *node,
                                 const edge_function *function) {
  sampled s = {.function = function};
  EDGE_TRY(edge_unary_quants(compiler, node, &s.input, &s.output));
  if (edge_node_input(compiler, node, 0)->type == EDGE_INT16) return function16(compiler, node, &s);
  const bool xnn = function->xnn != NULL && edge_xnn_both(compiler, node);
  if (xnn) edge_fold_unary(compiler, node);
  return edge_lookup_values(compiler, node, xnn ? value_xnn : value_own, &s);
}

/* ---- int16 ------------------------------------------------------------------------------- */

static int16_t entry16_double(double value) {
  return (int16_t)(value < -32768.0 ? -32768.0 : value > 32767.0 ? 32767.0 : value);
}

void edge_table16_double(int16_t table[EDGE_TABLE16], double (*f)(double), double input_scale,
                         int32_t input_zero, double output_scale) {
  const double least = input_scale * (-32768 - input_zero);
  const double most = input_scale * (32767 - input_zero);
  const double step = (most - least) / 512.0;
  const double half = step / 2.0;
  const double inverse = 65536.0 / (output_scale * 32767 - output_scale * -32768);
  for (int32_t i = 0; i < EDGE_TABLE16 - 1; i++) {
    const double value = f(least + i * step) * inverse;
    const double middle = f(least + i * step + half) * inverse;
    const double next = f(least + (i + 1) * step) * inverse;
    const double line = round((next + round(value)) / 2.0);
    const double bias = round((line - round(middle)) / 2.0);
    table[i] = entry16_double(round(value) - bias);
  }
  table[EDGE_TABLE16 - 1] = entry16_double(round(f(most) * inverse));
}

int16_t edge_table16_at(const int16_t table[EDGE_TABLE16], int16_t value) {
  const int32_t index = (value + 32768) / 128;
  const int32_t base = table[index];
  /* LiteRT keeps the slope in 16 bits. */
  const int32_t slope = (int16_t)(uint16_t)(table[index + 1] - base);
  const int32_t delta = (slope * (value & 0x7f) + 64) >> 7;
  return (int16_t)(uint16_t)(base + delta);
}
