/* Runs every kernel of every table that this machine can run against the scalar one, on random data
 * around the edges of its tile, and compares bytes.
 *
 *   check_kernels [SEED]
 *
 * Prints the default table, then a line for each kernel: how many cases it was given, how many
 * differ, and a hash of what scalar gave. Ends with status 1 if any differs. Buffers are as large
 * as a kernel may read (EDGE_SLACK included), so that a sanitizer sees a read beyond; outputs lie
 * between guards, so that every build sees a write beyond.
 */
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

enum { GUARD = 64, GUARD_BYTE = 0x5A };

static uint64_t state;

static uint32_t next(void) { /* xorshift64 */
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32);
}

static int32_t between(int32_t low, int32_t high) {
  return (int32_t)((int64_t)low + next() % ((int64_t)high - low + 1));
}

static void *checked(void *memory) {
  if (memory == NULL) exit(2);
  return memory;
}

/* All values alike, or only those whose products and sums are largest. */
static int8_t *values(size_t count) {
  static const int8_t extremes[4] = {-128, -128, -127, 127};
  const bool far = next() % 3 == 0;
  int8_t *bytes = checked(malloc(count + EDGE_SLACK));
  for (size_t i = 0; i < count + EDGE_SLACK; i++) {
    bytes[i] = far ? extremes[next() % 4] : (int8_t)between(-128, 127);
  }
  return bytes;
}

/* ---- outputs, and what is counted -------------------------------------------------------- */

typedef struct guarded {
  uint8_t *memory;
  size_t bytes;
} guarded;

static guarded guarded_new(size_t bytes) {
  guarded made = {checked(malloc(bytes + 2 * GUARD)), bytes};
  memset(made.memory, GUARD_BYTE, bytes + 2 * GUARD);
  return made;
}

static void *inside(guarded g) {
  return g.memory + GUARD;
}

typedef struct result {
  const char *kernel;
  long cases, different;
  uint64_t digest; /* of what scalar gave: the same for one table on every machine */
} result;

static bool failed;

/* Compares with the reference, guards included, and frees both. */
static void settle(result *r, guarded expected, guarded got) {
  r->cases++;
  for (size_t i = 0; i < expected.bytes; i++) { /* FNV-1a */
    r->digest = (r->digest ^ expected.memory[GUARD + i]) * 0x100000001B3U;
  }
  if (memcmp(expected.memory, got.memory, expected.bytes + 2 * GUARD) != 0) r->different++;
  free(expected.memory);
  free(got.memory);
}

static void report(const char *isa, result r) {
  printf("%s %s: %ld cases, %ld different, %016" PRIx64 "\n", isa, r.kernel, r.cases, r.different,
         r.digest);
  failed = failed || r.different != 0 || r.cases == 0;
}

/* ---- requantization ---------------------------------------------------------------------- */

/* Of the size that brings sums into range; with ties; and far out, denormal scales included. */
static float random_scale(void) {
  static const float special[8] = {0.5F, 0.25F, 1.0F, 255.99F, 1e-10F, 1e-38F, 1e-40F, 3e-45F};
  const uint32_t kind = next() % 4;
  if (kind == 0) return special[next() % 8];
  if (kind == 1) return ldexpf(1.0F, -between(1, 14));
  const float mantissa = (float)between(1 << 23, (1 << 24) - 1);
  return ldexpf(mantissa, -between(24, 42));
}

static edge_fixed random_fixed(void) {
  const int32_t exponent = next() % 8 == 0 ? between(-31, 30) : between(-16, 1);
  int32_t multiplier = between(1 << 30, INT32_MAX);
  if (next() % 4 == 0) multiplier = 1 << 30; /* a power of two: halves */
  if (next() % 16 == 0) multiplier = INT32_MAX;
  return (edge_fixed){multiplier, (int16_t)exponent, (int16_t)(next() % 2)};
}

static int32_t random_bias(void) {
  static const int32_t extremes[4] = {INT32_MIN, INT32_MAX, INT32_MIN + 1, 0};
  const uint32_t kind = next() % 8;
  if (kind == 0) return extremes[next() % 4];
  return kind == 1 ? (int32_t)next() : between(-20000, 20000);
}

static edge_qs8_output random_range(void) {
  const int32_t a = next() % 2 ? between(-128, 127) : -128;
  const int32_t b = next() % 2 ? between(-128, 127) : 127;
  return (edge_qs8_output){
      .zero_point = between(-128, 127), .min = a < b ? a : b, .max = a < b ? b : a};
}

typedef struct channels {
  size_t count, padded; /* behind `count` all is 0 */
  int32_t *bias;
  float *scale;
  edge_fixed *fixed;
  edge_qs8_output output;
} channels;

static channels channels_new(size_t count, bool by_float) {
  channels c = {.count = count, .padded = count + 64};
  c.bias = checked(calloc(c.padded, sizeof *c.bias));
  c.scale = checked(calloc(c.padded, sizeof *c.scale));
  c.fixed = checked(calloc(c.padded, sizeof *c.fixed));
  for (size_t i = 0; i < count; i++) {
    c.bias[i] = random_bias();
    c.scale[i] = random_scale();
    c.fixed[i] = random_fixed();
  }
  c.output = random_range();
  if (by_float) c.output.scale = c.scale;
  if (!by_float) c.output.fixed = c.fixed;
  return c;
}

static void channels_free(channels c) {
  free(c.bias);
  free(c.scale);
  free(c.fixed);
}

/* ---- qs8_gemm, qs8_lhs ------------------------------------------------------------------- */

typedef struct product {
  size_t rows, outputs, runs, depth;
  ptrdiff_t row;   /* elements from one row to the next: rows may overlap, as in convolutions */
  ptrdiff_t *run;  /* [runs] */
  size_t elements; /* of the left-hand side */
  const int8_t *lhs;
  const int8_t *weights; /* [outputs][runs][depth] */
  channels channels;
  size_t out_row;
} product;

/* The weights of panel n as kernels.h has them, padded with 0. */
static int8_t *panel_of(const edge_kernels *k, const product *p, size_t n, size_t depth) {
  int8_t *packed = checked(calloc(p->runs * depth * k->nr + EDGE_SLACK, 1));
  for (size_t c = 0; c < k->nr && n * k->nr + c < p->outputs; c++) {
    const int8_t *from = p->weights + (n * k->nr + c) * p->runs * p->depth;
    for (size_t i = 0; i < p->runs * p->depth; i++) {
      const size_t t = i / p->depth;
      const size_t d = i % p->depth;
      packed[((t * depth + d / k->kr * k->kr) * k->nr) + c * k->kr + d % k->kr] = from[i];
    }
  }
  return packed;
}

static guarded run_product(const edge_kernels *k, const product *p) {
  const size_t depth = (p->depth + k->kr - 1) / k->kr * k->kr;
  guarded out = guarded_new(p->rows * p->out_row);
  void *lhs = checked(malloc(p->elements * k->lhs_size + EDGE_SLACK));
  k->qs8_lhs(lhs, p->lhs, p->elements);
  for (size_t n = 0; n * k->nr < p->outputs; n++) {
    const size_t first = n * k->nr;
    int8_t *packed = panel_of(k, p, n, depth);
    edge_qs8_gemm call = {.rows = p->rows,
                          .columns = p->outputs - first < k->nr ? p->outputs - first : k->nr,
                          .runs = p->runs,
                          .depth = depth,
                          .lhs = lhs,
                          .lhs_row = p->row,
                          .lhs_runs = p->run,
                          .weights = packed,
                          .bias = p->channels.bias + first,
                          .output = p->channels.output,
                          .out = (int8_t *)inside(out) + first,
                          .out_row = (ptrdiff_t)p->out_row};
    if (call.output.scale != NULL) call.output.scale += first;
    if (call.output.fixed != NULL) call.output.fixed += first;
    k->qs8_gemm(&call);
    free(packed);
  }
  free(lhs);
  return out;
}

static void check_product(const edge_kernels *k, const edge_kernels *scalar, result *r, size_t rows,
                          size_t outputs, size_t depth) {
  product p = {.rows = rows, .outputs = outputs, .depth = depth, .runs = 1 + next() % 3};
  const size_t reach = p.runs * (depth + 1);
  p.row = between(1, (int32_t)reach + 3);
  p.elements = (size_t)p.row * (rows - 1) + reach;
  p.run = checked(calloc(p.runs, sizeof *p.run));
  for (size_t t = 0; t < p.runs; t++) p.run[t] = (ptrdiff_t)(t * (depth + 1));
  int8_t *lhs = values(p.elements);
  int8_t *weights = values(outputs * p.runs * depth);
  p.lhs = lhs;
  p.weights = weights;
  p.channels = channels_new(outputs, next() % 2);
  p.out_row = outputs + next() % 5;
  settle(r, run_product(scalar, &p), run_product(k, &p));
  channels_free(p.channels);
  free(weights);
  free(lhs);
  free(p.run);
}

/* Edges of `tile`: tile - 1, tile, tile + 1 and twice that, from 1. */
static size_t edge_of(uint32_t tile, size_t i) {
  const size_t near = tile * (1 + i / 3) + i % 3;
  return near > 2 ? near - 1 : 1;
}

static void check_gemm(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "qs8_gemm"};
  for (size_t rows = 0; rows < 6; rows++) {
    for (size_t columns = 0; columns < 6; columns++) {
      for (size_t depth = 0; depth < 18; depth++) {
        /* Depths around 1, 2 and more groups, and around 16 and 32, which some kernels load. */
        const size_t d = depth < 6    ? edge_of(k->kr, depth)
                         : depth < 12 ? edge_of(16, depth - 6)
                                      : (size_t)between(1, 70);
        check_product(k, scalar, &r, edge_of(k->mr, rows), edge_of(k->nr, columns), d);
      }
    }
  }
  report(k->isa, r);
}

static void check_lhs(const edge_kernels *k) {
  result r = {.kernel = "qs8_lhs"};
  for (size_t count = 0; count < 70; count++) {
    int8_t *in = values(count);
    guarded expected = guarded_new(count * k->lhs_size);
    guarded got = guarded_new(count * k->lhs_size);
    for (size_t i = 0; i < count; i++) {
      const int16_t wide = in[i];
      memcpy((uint8_t *)inside(expected) + i * k->lhs_size, &wide, k->lhs_size);
    }
    k->qs8_lhs(inside(got), in, count);
    settle(&r, expected, got);
    free(in);
  }
  report(k->isa, r);
}

/* ---- qs8_dwconv -------------------------------------------------------------------------- */

static guarded run_depthwise(const edge_kernels *k, edge_qs8_dwconv call, const int8_t *weights) {
  const size_t padded = (call.channels + EDGE_DWCONV_BLOCK - 1) / EDGE_DWCONV_BLOCK;
  const size_t bytes = padded * EDGE_DWCONV_BLOCK * ((call.tap_count + 1) / 2 * 2) * k->dwconv_size;
  guarded out = guarded_new(call.pixels * call.channels);
  void *packed = NULL; /* vector kernels want it aligned as the core aligns it */
  if (posix_memalign(&packed, EDGE_ALIGN, bytes + EDGE_SLACK) != 0) exit(2);
  memset(packed, 0, bytes + EDGE_SLACK);
  k->qs8_dwconv_pack(packed, weights, call.tap_count, call.channels);
  call.weights = packed;
  call.out = inside(out);
  k->qs8_dwconv(&call);
  free(packed);
  return out;
}

static void check_dwconv(const edge_kernels *k, const edge_kernels *scalar) {
  static const size_t taps[] = {1, 2, 3, 4, 9, 25};
  result r = {.kernel = "qs8_dwconv"};
  for (size_t i = 0; i < 6 * 6 * 9; i++) {
    const size_t count = i % 2 ? edge_of(EDGE_DWCONV_BLOCK, i % 6) : (size_t)between(1, 70);
    const size_t tap_count = taps[i / 6 % 6];
    const size_t pixels = i / 36 + 1;
    ptrdiff_t places[25];
    const ptrdiff_t pixel = (ptrdiff_t)count * between(1, 2);
    for (size_t t = 0; t < tap_count; t++) places[t] = (ptrdiff_t)(t * count);
    int8_t *input = values((size_t)pixel * (pixels - 1) + tap_count * count);
    int8_t *weights = values(tap_count * count);
    const channels c = channels_new(count, next() % 2);
    const edge_qs8_dwconv call = {.pixels = pixels,
                                  .channels = count,
                                  .tap_count = tap_count,
                                  .input = input,
                                  .pixel = pixel,
                                  .taps = places,
                                  .bias = c.bias,
                                  .output = c.output};
    settle(&r, run_depthwise(scalar, call, weights), run_depthwise(k, call, weights));
    channels_free(c);
    free(weights);
    free(input);
  }
  report(k->isa, r);
}

/* ---- float32 and int16 products ---------------------------------------------------------- */

/* Halves of whole numbers that float32 holds, or anything of `size` bytes but NaN and infinities.
 */
static void *elements(size_t count, size_t size) {
  uint8_t *made = checked(malloc(count * size + EDGE_SLACK));
  for (size_t i = 0; i < count + EDGE_SLACK / size; i++) {
    /* One after the other: compilers differ in the order of an argument list. */
    const int32_t fraction = between(-(1 << 23), 1 << 23);
    const float real = ldexpf((float)fraction, -between(10, 30));
    const int16_t whole = (int16_t)(next() % 8 ? between(-255, 255) : (int32_t)next());
    memcpy(made + i * size, size == 4 ? (const void *)&real : (const void *)&whole, size);
  }
  return made;
}

/* Weights are small enough for pairs of products to fit int32. */
static int16_t *weights16(size_t count) {
  int16_t *made = checked(malloc(count * sizeof *made + EDGE_SLACK));
  for (size_t i = 0; i < count; i++) made[i] = (int16_t)between(-255, 255);
  return made;
}

static void check_f32_gemm(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "f32_gemm"};
  for (size_t i = 0; i < 24 * EDGE_PANEL; i++) {
    const size_t rows = i % 24 + 1;
    const ptrdiff_t runs[2] = {0, between(0, 9)};
    edge_f32_gemm g = {.rows = rows, .columns = i / 24 + 1, .runs = 1 + i % 2};
    g.depth = (size_t)between(1, 40);
    g.lhs_row = between(1, 50);
    g.lhs_runs = runs;
    g.min = i % 3 ? -INFINITY : -1.0F;
    g.max = i % 3 ? INFINITY : 1.0F;
    g.out_row = (ptrdiff_t)(g.columns + next() % 5);
    float *lhs = elements((size_t)g.lhs_row * rows + g.depth + 9, 4);
    float *weights = elements(g.runs * g.depth * EDGE_PANEL, 4);
    float *bias = elements(EDGE_PANEL, 4);
    guarded out[2] = {guarded_new(rows * (size_t)g.out_row * 4),
                      guarded_new(rows * (size_t)g.out_row * 4)};
    g.lhs = lhs;
    g.weights = weights;
    g.bias = bias;
    g.out = inside(out[0]);
    scalar->f32_gemm(&g);
    g.out = inside(out[1]);
    k->f32_gemm(&g);
    settle(&r, out[0], out[1]);
    free(bias);
    free(weights);
    free(lhs);
  }
  report(k->isa, r);
}

static void check_s16_gemm(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "s16_gemm"};
  for (size_t i = 0; i < 400; i++) {
    const size_t rows = i % 24 + 1;
    const ptrdiff_t runs[2] = {0, between(0, 9)};
    edge_s16_gemm g = {.rows = rows, .runs = 1 + i % 2, .depth = 2 * (size_t)between(1, 20)};
    g.lhs_row = between(1, 50);
    g.lhs_runs = runs;
    int16_t *lhs = elements((size_t)g.lhs_row * rows + g.depth + 9, 2);
    int16_t *weights = weights16(g.runs * g.depth * EDGE_PANEL);
    guarded out[2] = {guarded_new(rows * EDGE_PANEL * 4), guarded_new(rows * EDGE_PANEL * 4)};
    g.lhs = lhs;
    g.weights = weights;
    g.out = inside(out[0]);
    scalar->s16_gemm(&g);
    g.out = inside(out[1]);
    k->s16_gemm(&g);
    settle(&r, out[0], out[1]);
    free(weights);
    free(lhs);
  }
  report(k->isa, r);
}

static void check_f32_dwconv(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "f32_dwconv"};
  for (size_t i = 0; i < 400; i++) {
    const size_t count = (size_t)between(1, 40);
    ptrdiff_t places[9];
    edge_f32_dwconv d = {.pixels = i % 7 + 1, .channels = count, .tap_count = i % 9 + 1};
    d.channels_packed = (count + EDGE_PANEL - 1) / EDGE_PANEL * EDGE_PANEL;
    d.pixel = (ptrdiff_t)count * between(1, 2);
    d.taps = places;
    d.min = i % 3 ? -INFINITY : -1.0F;
    d.max = i % 3 ? INFINITY : 1.0F;
    for (size_t t = 0; t < 9; t++) places[t] = (ptrdiff_t)(t * count);
    float *input = elements((size_t)d.pixel * (d.pixels - 1) + d.tap_count * count, 4);
    float *weights = elements(d.tap_count * d.channels_packed, 4);
    float *bias = elements(d.channels_packed, 4);
    guarded out[2] = {guarded_new(d.pixels * count * 4), guarded_new(d.pixels * count * 4)};
    d.input = input;
    d.weights = weights;
    d.bias = bias;
    d.out = inside(out[0]);
    scalar->f32_dwconv(&d);
    d.out = inside(out[1]);
    k->f32_dwconv(&d);
    settle(&r, out[0], out[1]);
    free(bias);
    free(weights);
    free(input);
  }
  report(k->isa, r);
}

static void check_s16_dwconv(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "s16_dwconv"};
  for (size_t i = 0; i < 400; i++) {
    const size_t count = (size_t)between(1, 40);
    ptrdiff_t places[9];
    edge_s16_dwconv d = {.pixels = i % 7 + 1, .tap_count = i % 9 + 1};
    d.channels_packed = (count + EDGE_PANEL - 1) / EDGE_PANEL * EDGE_PANEL;
    d.pixel = (ptrdiff_t)count * between(1, 2);
    d.taps = places;
    for (size_t t = 0; t < 9; t++) places[t] = (ptrdiff_t)(t * count);
    int16_t *input = elements((size_t)d.pixel * (d.pixels - 1) + d.tap_count * count, 2);
    int16_t *weights = weights16(d.tap_count * d.channels_packed);
    const size_t bytes = d.pixels * d.channels_packed * 4;
    guarded out[2] = {guarded_new(bytes), guarded_new(bytes)};
    d.input = input;
    d.weights = weights;
    d.out = inside(out[0]);
    scalar->s16_dwconv(&d);
    d.out = inside(out[1]);
    k->s16_dwconv(&d);
    settle(&r, out[0], out[1]);
    free(weights);
    free(input);
  }
  report(k->isa, r);
}

/* ---- elementwise ------------------------------------------------------------------------- */

enum { COUNTS = 300 };

/* The operands of one case, and where both kernels write. */
typedef struct operands {
  int8_t *a, *b;
  ptrdiff_t stride_a, stride_b; /* 0: one element for all */
  guarded expected, got;
} operands;

static operands operands_new(size_t count, size_t bytes) {
  return (operands){.a = values(count + 1),
                    .b = values(count + 1),
                    .stride_a = count % 3 != 0,
                    .stride_b = count % 3 != 1,
                    .expected = guarded_new(bytes),
                    .got = guarded_new(bytes)};
}

static void operands_settle(result *r, operands o) {
  settle(r, o.expected, o.got);
  free(o.a);
  free(o.b);
}

static void check_vadd(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "qs8_vadd"};
  for (size_t n = 0; n < COUNTS; n++) {
    const operands o = operands_new(n, n);
    const edge_qs8_output range = random_range();
    const edge_qs8_vadd p = {.bias = between(-(1 << 28), 1 << 28),
                             .multiplier_a = between(-(1 << 21), 1 << 21),
                             .multiplier_b = between(-(1 << 21), 1 << 21),
                             .shift = between(13, 29),
                             .zero_point = range.zero_point,
                             .min = range.min,
                             .max = range.max};
    scalar->qs8_vadd(inside(o.expected), o.a, o.stride_a, o.b, o.stride_b, n, &p);
    k->qs8_vadd(inside(o.got), o.a, o.stride_a, o.b, o.stride_b, n, &p);
    operands_settle(&r, o);
  }
  report(k->isa, r);
}

static void check_vmul(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "qs8_vmul"};
  for (size_t n = 0; n < COUNTS; n++) {
    const operands o = operands_new(n, n);
    const edge_qs8_output range = random_range();
    const edge_qs8_vmul p = {.zero_a = between(-128, 127),
                             .zero_b = between(-128, 127),
                             .scale = next() % 2 ? random_scale() : ldexpf(1.0F, -between(1, 9)),
                             .zero_point = range.zero_point,
                             .min = range.min,
                             .max = range.max};
    scalar->qs8_vmul(inside(o.expected), o.a, o.stride_a, o.b, o.stride_b, n, &p);
    k->qs8_vmul(inside(o.got), o.a, o.stride_a, o.b, o.stride_b, n, &p);
    operands_settle(&r, o);
  }
  report(k->isa, r);
}

static void check_lut(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "x8_lut"};
  for (size_t n = 0; n < COUNTS; n++) {
    const operands o = operands_new(n, n);
    uint8_t table[256];
    for (size_t i = 0; i < sizeof table; i++) table[i] = (uint8_t)next();
    scalar->x8_lut(inside(o.expected), (const uint8_t *)o.a, n, table);
    k->x8_lut(inside(o.got), (const uint8_t *)o.a, n, table);
    operands_settle(&r, o);
  }
  report(k->isa, r);
}

static void check_maxpool(const edge_kernels *k, const edge_kernels *scalar) {
  enum { ROWS = 9 };
  result r = {.kernel = "s8_maxpool"};
  for (size_t n = 0; n < COUNTS; n++) {
    const operands o = operands_new(n * ROWS, n);
    const edge_qs8_output range = random_range();
    const int8_t *rows[ROWS];
    for (size_t i = 0; i < ROWS; i++) rows[i] = o.a + i * n;
    scalar->s8_maxpool(inside(o.expected), rows, n % (ROWS + 1), n, (int8_t)range.min,
                       (int8_t)range.max);
    k->s8_maxpool(inside(o.got), rows, n % (ROWS + 1), n, (int8_t)range.min, (int8_t)range.max);
    operands_settle(&r, o);
  }
  report(k->isa, r);
}

static void check_rowsum(const edge_kernels *k, const edge_kernels *scalar) {
  result r = {.kernel = "s8_rowsum"};
  for (size_t n = 0; n < COUNTS; n++) {
    const operands o = operands_new(n, n * sizeof(int32_t));
    int32_t *sums[2] = {inside(o.expected), inside(o.got)};
    for (size_t i = 0; i < n; i++) sums[0][i] = sums[1][i] = random_bias();
    scalar->s8_rowsum(sums[0], o.a, n);
    k->s8_rowsum(sums[1], o.a, n);
    operands_settle(&r, o);
  }
  report(k->isa, r);
}

int main(int count, char **arguments) {
  edge_cpu_info cpu;
  edge_cpu_describe(&cpu);
  const edge_kernels *scalar = edge_kernels_find("scalar");
  printf("default %s\n", cpu.isa_default);
  for (uint32_t i = 0; i < cpu.isa_count; i++) {
    const edge_kernels *table = edge_kernels_find(cpu.isa[i]);
    state = 0x9E3779B97F4A7C15U + (count > 1 ? strtoull(arguments[1], NULL, 10) : 0);
    check_gemm(table, scalar);
    check_lhs(table);
    check_dwconv(table, scalar);
    check_f32_gemm(table, scalar);
    check_s16_gemm(table, scalar);
    check_f32_dwconv(table, scalar);
    check_s16_dwconv(table, scalar);
    check_vadd(table, scalar);
    check_vmul(table, scalar);
    check_lut(table, scalar);
    check_maxpool(table, scalar);
    check_rowsum(table, scalar);
  }
  return failed;
}
