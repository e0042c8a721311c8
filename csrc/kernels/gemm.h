/* Matrix products and depthwise rows of float32 and int16, written once and compiled for each ISA:
 * the includer defines EDGE_ISA (the suffix of the names), EDGE_LANES (elements of a vector) and
 * EDGE_ROWS (rows of a tile, at most 6), so that accumulators stay in registers.
 *
 * Every output is summed in the order of the weights, product and sum rounded apart, whatever the
 * vectors' width: all ISAs give the same bits.
 */
#define EDGE_PASTE_(a, b) a##__##b
#define EDGE_PASTE(a, b) EDGE_PASTE_(a, b)
#define EDGE_OF_ISA(name) EDGE_PASTE(name, EDGE_ISA)

enum { LANES = EDGE_LANES, ROWS = EDGE_ROWS, NR = EDGE_PANEL, VECTORS = NR / LANES };

typedef float floats __attribute__((vector_size(LANES * 4)));
typedef int32_t ints __attribute__((vector_size(LANES * 4)));

#define EDGE_ALWAYS static inline __attribute__((always_inline))

EDGE_ALWAYS floats load_floats(const float *from) {
  floats v;
  memcpy(&v, from, sizeof v);
  return v;
}

EDGE_ALWAYS ints load_ints(const void *from) {
  ints v;
  memcpy(&v, from, sizeof v);
  return v;
}

/* Calls tile(g, n, ...) for the constant n that `rows` is, of 1 ... EDGE_ROWS. */
#if EDGE_ROWS == 6
#define EDGE_CALL_TILE(tile, rows, ...) \
  switch (rows) {                       \
    case 6:                             \
      tile(g, 6, __VA_ARGS__);          \
      break;                            \
    case 5:                             \
      tile(g, 5, __VA_ARGS__);          \
      break;                            \
    case 4:                             \
      tile(g, 4, __VA_ARGS__);          \
      break;                            \
    case 3:                             \
      tile(g, 3, __VA_ARGS__);          \
      break;                            \
    case 2:                             \
      tile(g, 2, __VA_ARGS__);          \
      break;                            \
    default:                            \
      tile(g, 1, __VA_ARGS__);          \
  }
#else
#define EDGE_CALL_TILE(tile, rows, ...) \
  switch (rows) {                       \
    case ROWS:                          \
      tile(g, ROWS, __VA_ARGS__);       \
      break;                            \
    default:                            \
      tile(g, 1, __VA_ARGS__);          \
  }
#endif

/* Rows of tile `i`: tiles of nearly equal height, 7 rows being 4 + 3, not 6 + 1. */
EDGE_ALWAYS size_t rows_of_tile(size_t rows, size_t tiles, size_t i) {
  return rows / tiles + (i < rows % tiles);
}

/* ---- float32 matrix product ---------------------------------------------------------------- */

EDGE_ALWAYS floats clamp_floats(floats v, float min, float max) {
  const floats least = (floats){0} + min;
  const floats most = (floats){0} + max;
  const ints below = v < least;
  v = (floats)(((ints)least & below) | ((ints)v & ~below));
  const ints above = v > most;
  return (floats)(((ints)most & above) | ((ints)v & ~above));
}

/* Writes `count` elements, at most NR. */
EDGE_ALWAYS void store_floats(const floats *sums, float min, float max, float *out, size_t count) {
  floats all[VECTORS];
  for (size_t v = 0; v < VECTORS; v++) all[v] = clamp_floats(sums[v], min, max);
  if (count == NR) {
    memcpy(out, all, sizeof all);
  } else {
    memcpy(out, all, count * sizeof *out);
  }
}

/* `rows` is a constant wherever this is inlined. */
EDGE_ALWAYS void float_tile(const edge_f32_gemm *g, size_t rows, const float *lhs, float *out) {
  floats sums[ROWS][VECTORS];
  const float *weights = g->weights;
  for (size_t r = 0; r < rows; r++) {
    for (size_t v = 0; v < VECTORS; v++) sums[r][v] = load_floats(g->bias + v * LANES);
  }
  for (size_t t = 0; t < g->runs; t++) {
    const float *x = lhs + g->lhs_runs[t];
    for (size_t k = 0; k < g->depth; k++) {
      floats w[VECTORS];
      for (size_t v = 0; v < VECTORS; v++) w[v] = load_floats(weights + v * LANES);
      for (size_t r = 0; r < rows; r++) {
        const float one = x[(ptrdiff_t)r * g->lhs_row];
        for (size_t v = 0; v < VECTORS; v++) sums[r][v] += w[v] * one;
      }
      weights += NR;
      x++;
    }
  }
  for (size_t r = 0; r < rows; r++) {
    store_floats(sums[r], g->min, g->max, out + (ptrdiff_t)r * g->out_row, g->columns);
  }
}

void EDGE_OF_ISA(edge_f32_gemm)(const edge_f32_gemm *g) {
  const float *lhs = g->lhs;
  float *out = g->out;
  const size_t tiles = (g->rows + ROWS - 1) / ROWS;
  for (size_t i = 0; i < tiles; i++) {
    const size_t rows = rows_of_tile(g->rows, tiles, i);
    EDGE_CALL_TILE(float_tile, rows, lhs, out)
    lhs += (ptrdiff_t)rows * g->lhs_row;
    out += (ptrdiff_t)rows * g->out_row;
  }
}

/* ---- int16 matrix product ------------------------------------------------------------------ */

/* `rows` is a constant wherever this is inlined. */
EDGE_ALWAYS void int_tile(const edge_s16_gemm *g, size_t rows, const int16_t *lhs, int32_t *out) {
  ints sums[ROWS][VECTORS];
  const int16_t *weights = g->weights;
  memset(sums, 0, sizeof sums);
  for (size_t t = 0; t < g->runs; t++) {
    const int16_t *x = lhs + g->lhs_runs[t];
    for (size_t k = 0; k < g->depth; k += 2) {
      ints w[VECTORS];
      for (size_t v = 0; v < VECTORS; v++) w[v] = load_ints(weights + v * LANES * 2);
      for (size_t r = 0; r < rows; r++) {
        int32_t pair;
        memcpy(&pair, x + (ptrdiff_t)r * g->lhs_row, sizeof pair);
        for (size_t v = 0; v < VECTORS; v++) sums[r][v] = add_products(sums[r][v], w[v], pair);
      }
      weights += NR * 2;
      x += 2;
    }
  }
  memcpy(out, sums, rows * NR * sizeof *out);
}

void EDGE_OF_ISA(edge_s16_gemm)(const edge_s16_gemm *g) {
  const int16_t *lhs = g->lhs;
  int32_t *out = g->out;
  const size_t tiles = (g->rows + ROWS - 1) / ROWS;
  for (size_t i = 0; i < tiles; i++) {
    const size_t rows = rows_of_tile(g->rows, tiles, i);
    EDGE_CALL_TILE(int_tile, rows, lhs, out)
    lhs += (ptrdiff_t)rows * g->lhs_row;
    out += rows * NR;
  }
}

/* ---- depthwise rows ------------------------------------------------------------------------ */

/* Channels c ... c + NR - 1 of all pixels; `count` of them are written. */
EDGE_ALWAYS void float_block(const edge_f32_dwconv *d, size_t c, size_t count) {
  for (size_t p = 0; p < d->pixels; p++) {
    const float *input = d->input + (ptrdiff_t)p * d->pixel + (ptrdiff_t)c;
    const float *weights = d->weights + c;
    floats sums[VECTORS];
    for (size_t v = 0; v < VECTORS; v++) sums[v] = load_floats(d->bias + c + v * LANES);
    for (size_t t = 0; t < d->tap_count; t++) {
      for (size_t v = 0; v < VECTORS; v++) {
        sums[v] += load_floats(input + d->taps[t] + v * LANES) * load_floats(weights + v * LANES);
      }
      weights += d->channels_packed;
    }
    store_floats(sums, d->min, d->max, d->out + p * d->channels + c, count);
  }
}

void EDGE_OF_ISA(edge_f32_dwconv)(const edge_f32_dwconv *d) {
  for (size_t c = 0; c < d->channels; c += NR) {
    const size_t left = d->channels - c;
    if (left >= NR) {
      float_block(d, c, NR);
    } else {
      float_block(d, c, left);
    }
  }
}

void EDGE_OF_ISA(edge_s16_dwconv)(const edge_s16_dwconv *d) {
  for (size_t p = 0; p < d->pixels; p++) {
    const int16_t *pixel = d->input + (ptrdiff_t)p * d->pixel;
    for (size_t c = 0; c < d->channels_packed; c += NR) {
      const int16_t *weights = d->weights + c;
      uint32_t sums[NR] = {0};
      for (size_t t = 0; t < d->tap_count; t++) {
        const int16_t *input = pixel + d->taps[t] + c;
        for (size_t i = 0; i < NR; i++) sums[i] += (uint32_t)(input[i] * weights[i]);
        weights += d->channels_packed;
      }
      memcpy(d->out + p * d->channels_packed + c, sums, sizeof sums);
    }
  }
}
