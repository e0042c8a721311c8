#include "matrix.h"

#include "requantize.h"

/* ---- packing ------------------------------------------------------------------------------- */

static uint32_t weight_size(const edge_arithmetic *a) {
  static const uint32_t sizes[] = {[EDGE_ARITHMETIC_QS8] = 1,
                                   [EDGE_ARITHMETIC_S16] = 2,
                                   [EDGE_ARITHMETIC_QD8] = 2,
                                   [EDGE_ARITHMETIC_F32] = 4};
  return sizes[a->kind];
}

static uint32_t bias_size(const edge_arithmetic *a) {
  return a->wide ? 8 : 4;
}

void edge_matrix_plan(const edge_kernels *kernels, const edge_arithmetic *a, edge_matrix *m) {
  static const uint32_t together[] = {
      [EDGE_ARITHMETIC_S16] = 2, [EDGE_ARITHMETIC_QD8] = 2, [EDGE_ARITHMETIC_F32] = 1};
  const bool qs8 = a->kind == EDGE_ARITHMETIC_QS8;
  m->nr = qs8 ? kernels->nr : EDGE_PANEL;
  m->kr = qs8 ? kernels->kr : together[a->kind];
  m->depth_packed = (uint32_t)edge_round_up(m->depth, m->kr);
  m->panels = (m->outputs + m->nr - 1) / m->nr;
  m->panel_size = (uint64_t)m->runs * m->depth_packed * m->nr * weight_size(a);
}

static uint64_t weights_bytes(const edge_matrix *m) {
  return edge_round_up(m->panels * m->panel_size, EDGE_ALIGN);
}

uint64_t edge_matrix_bytes(const edge_arithmetic *a, const edge_matrix *m) {
  return weights_bytes(m) + edge_round_up((uint64_t)m->panels * m->nr * bias_size(a), EDGE_ALIGN);
}

/* Where element k of a run of output n lies: [k / kr][n % nr][k % kr]. */
static uint64_t place(const edge_matrix *m, uint32_t n, uint32_t k) {
  return ((uint64_t)(k / m->kr) * m->nr + n % m->nr) * m->kr + k % m->kr;
}

static uint8_t *run_of(const edge_arithmetic *a, const edge_matrix *m, uint32_t n, uint32_t t) {
  return m->weights + n / m->nr * m->panel_size +
         (uint64_t)t * m->depth_packed * m->nr * weight_size(a);
}

static void pack_floats(const edge_arithmetic *a, const edge_matrix *m, uint32_t n,
                        const uint8_t *weights) {
  const uint64_t first = (uint64_t)(m->first_output + n) * m->runs * m->depth;
  const uint8_t *from = weights + first * 4;
  for (uint32_t t = 0; t < m->runs; t++) {
    float *run = (float *)(void *)run_of(a, m, n, t);
    for (uint32_t k = 0; k < m->depth; k++) {
      memcpy(run + place(m, n, k), from, 4);
      from += 4;
    }
  }
}

/* Weights of 8 bits or fewer; gives their sum modulo 2^32. */
static int32_t pack_integers(const edge_arithmetic *a, const edge_matrix *m, uint32_t n,
                             const uint8_t *weights) {
  enum { SOME = 256 };
  int16_t some[SOME];
  int32_t sum = 0;
  uint64_t at = (uint64_t)(m->first_output + n) * m->runs * m->depth;
  for (uint32_t t = 0; t < m->runs; t++) {
    uint8_t *run = run_of(a, m, n, t);
    for (uint32_t k = 0; k < m->depth; k++) {
      const uint32_t i = k % SOME;
      if (i == 0) {
        const size_t count = (size_t)edge_min(SOME, (int64_t)m->depth - k);
        edge_arithmetic_weights(a, weights, at, count, some);
        at += count;
      }
      sum = edge_wrap((int64_t)sum + some[i]);
      if (a->kind == EDGE_ARITHMETIC_QS8) {
        ((int8_t *)run)[place(m, n, k)] = (int8_t)some[i];
      } else {
        ((int16_t *)(void *)run)[place(m, n, k)] = some[i];
      }
    }
  }
  return sum;
}

/* QS8 kernels multiply the input's bytes with their zero point, which the bias takes back. */
static void pack_bias(const edge_arithmetic *a, const edge_matrix *m, uint32_t n, int32_t sum,
                      const uint8_t *bias) {
  const uint32_t output = m->first_output + n;
  if (a->kind == EDGE_ARITHMETIC_QS8) {
    ((int32_t *)m->bias)[n] =
        edge_wrap(edge_arithmetic_bias(a, bias, output) - (int64_t)a->input.zero_point * sum);
  } else if (a->kind == EDGE_ARITHMETIC_S16) {
    edge_arithmetic_put_bias(a, bias, output, 1, (uint8_t *)m->bias + (size_t)n * bias_size(a));
  } else if (bias != NULL) {
    memcpy((float *)m->bias + n, bias + (size_t)output * 4, 4);
  }
}

void edge_matrix_pack(const edge_arithmetic *a, edge_matrix *m, void *memory,
                      const uint8_t *weights, const uint8_t *bias) {
  m->weights = memory;
  m->bias = m->weights + weights_bytes(m);
  for (uint32_t n = 0; n < m->outputs; n++) {
    int32_t sum = 0;
    if (a->kind == EDGE_ARITHMETIC_F32) {
      pack_floats(a, m, n, weights);
    } else {
      sum = pack_integers(a, m, n, weights);
    }
    pack_bias(a, m, n, sum, bias);
  }
}

/* ---- running ------------------------------------------------------------------------------- */

static void run_qs8(const edge_kernels *kernels, const edge_arithmetic *a, const edge_matrix *m,
                    uint32_t panel, const edge_matrix_rows *rows) {
  const uint32_t first = panel * m->nr;
  const uint32_t left = m->outputs - first;
  edge_qs8_gemm gemm = {
      .rows = rows->rows,
      .columns = left < m->nr ? left : m->nr,
      .runs = m->runs,
      .depth = m->depth_packed,
      .lhs = rows->lhs,
      .lhs_row = rows->lhs_row,
      .lhs_runs = rows->lhs_runs,
      .weights = (const int8_t *)m->weights + panel * m->panel_size,
      .bias = (const int32_t *)m->bias + first,
      .output = a->integers,
      .out = (int8_t *)rows->out + m->first_output + first,
      .out_row = rows->out_row,
  };
  if (gemm.output.scale != NULL) gemm.output.scale += m->first_output + first;
  if (gemm.output.fixed != NULL) gemm.output.fixed += m->first_output + first;
  kernels->qs8_gemm(&gemm);
}

static void run_f32(const edge_kernels *kernels, const edge_arithmetic *a, const edge_matrix *m,
                    uint32_t panel, const edge_matrix_rows *rows) {
  const uint32_t first = panel * m->nr;
  const uint32_t left = m->outputs - first;
  const edge_f32_gemm gemm = {
      .rows = rows->rows,
      .columns = left < m->nr ? left : m->nr,
      .runs = m->runs,
      .depth = m->depth,
      .lhs = rows->lhs,
      .lhs_row = rows->lhs_row,
      .lhs_runs = rows->lhs_runs,
      .weights = (const float *)(const void *)(m->weights + panel * m->panel_size),
      .bias = (const float *)m->bias + first,
      .min = a->floats.min,
      .max = a->floats.max,
      .out = (float *)rows->out + m->first_output + first,
      .out_row = rows->out_row,
  };
  kernels->f32_gemm(&gemm);
}

/* Rows whose sums are kept at a time. */
enum { TILE = 24 };

/* int64 sums: stretches short enough for int32, products being at most 2^22, added up. */
static void sum_wide(const edge_kernels *kernels, const edge_matrix *m, edge_s16_gemm gemm,
                     int64_t *sums) {
  enum { STRETCH = 256 };
  int32_t narrow[TILE * EDGE_PANEL];
  const ptrdiff_t *runs = gemm.lhs_runs;
  memset(sums, 0, gemm.rows * EDGE_PANEL * sizeof *sums);
  gemm.runs = 1;
  gemm.out = narrow;
  for (uint32_t t = 0; t < m->runs; t++) {
    for (uint32_t k = 0; k < m->depth_packed; k += STRETCH) {
      const ptrdiff_t offset = runs[t] + (ptrdiff_t)k;
      gemm.lhs_runs = &offset;
      gemm.depth = (size_t)edge_min(STRETCH, (int64_t)m->depth_packed - k);
      kernels->s16_gemm(&gemm);
      gemm.weights += gemm.depth * EDGE_PANEL;
      for (size_t i = 0; i < gemm.rows * EDGE_PANEL; i++) sums[i] += narrow[i];
    }
  }
}

static void run_s16(const edge_kernels *kernels, const edge_arithmetic *a, const edge_matrix *m,
                    uint32_t panel, const edge_matrix_rows *rows) {
  int32_t narrow[TILE * EDGE_PANEL];
  int64_t wide[TILE * EDGE_PANEL];
  const uint32_t first = panel * m->nr;
  const uint64_t size = edge_type_size(a->type);
  edge_s16_gemm gemm = {
      .runs = m->runs,
      .depth = m->depth_packed,
      .lhs_row = rows->lhs_row,
      .lhs_runs = rows->lhs_runs,
      .weights = (const int16_t *)(const void *)(m->weights + panel * m->panel_size),
      .out = narrow,
  };
  edge_sums sums = {.columns = (size_t)edge_min(m->nr, (int64_t)m->outputs - first),
                    .first = m->first_output + first,
                    .narrow = narrow,
                    .wide = wide,
                    .stride = EDGE_PANEL,
                    .bias = (const uint8_t *)m->bias + (uint64_t)first * bias_size(a),
                    .row_step = rows->row_step,
                    .out_row = rows->out_row};
  for (size_t r = 0; r < rows->rows; r += TILE) {
    const ptrdiff_t row = (ptrdiff_t)r;
    gemm.rows = sums.rows = (size_t)edge_min(TILE, (int64_t)(rows->rows - r));
    gemm.lhs = (const int16_t *)rows->lhs + row * rows->lhs_row;
    sums.out = (uint8_t *)rows->out + ((uint64_t)(row * rows->out_row) + sums.first) * size;
    if (rows->row_scales) sums.row_scales = rows->row_scales + row * rows->row_step;
    if (a->wide) {
      sum_wide(kernels, m, gemm, wide);
    } else {
      kernels->s16_gemm(&gemm);
    }
    edge_arithmetic_finish(a, &sums);
  }
}

void edge_matrix_run(const edge_kernels *kernels, const edge_arithmetic *a, const edge_matrix *m,
                     uint32_t panel, const edge_matrix_rows *rows) {
  switch (a->kind) {
    case EDGE_ARITHMETIC_QS8:
      run_qs8(kernels, a, m, panel, rows);
      break;
    case EDGE_ARITHMETIC_F32:
      run_f32(kernels, a, m, panel, rows);
      break;
    default:
      run_s16(kernels, a, m, panel, rows);
  }
}
