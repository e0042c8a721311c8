/* int8 matrix product on AVX2: operands widened to int16, pairs multiplied and summed by vpmaddwd,
 * which is exact for all int8 values (vpmaddubsw would be faster and saturates).
 *
 * A tile of 6 x 16 takes all 16 registers: 12 accumulators, 2 of weights, 1 broadcast pair, 1
 * product. Weights stay int8 in memory and are widened in the loop: it costs a few percent and
 * halves what must be kept and read. Look at the assembly when you change this: one spill costs
 * more than all else.
 */
#include "../target.h"
#if EDGE_X86_64
#include "avx2.h"

enum { MR = 6, NR = 16, KR = 2 };

void edge_qs8_lhs__avx2(void *out, const int8_t *in, size_t count) {
  int16_t *o = out;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(in + i));
    _mm256_storeu_si256((__m256i *)(o + i), _mm256_cvtepi8_epi16(bytes));
  }
  for (; i < count; i++) o[i] = in[i];
}

EDGE_INLINE __m256i broadcast_pair(const int16_t *pair) {
  int32_t both;
  memcpy(&both, pair, sizeof both);
  return _mm256_set1_epi32(both);
}

EDGE_INLINE void store_float(const edge_qs8_gemm *g, size_t rows, __m256i acc[][2], int8_t *out) {
  const edge_avx2_range range = edge_avx2_range_of(&g->output);
  const __m256 scale0 = _mm256_loadu_ps(g->output.scale);
  const __m256 scale1 = _mm256_loadu_ps(g->output.scale + 8);
  for (size_t r = 0; r < rows; r++) {
    /* Columns 0-3, 8-11, 4-7, 12-15 after packing: put back in order. */
    const __m128i mixed = edge_avx2_requantize(acc[r][0], acc[r][1], scale0, scale1, range);
    const __m128i bytes = _mm_shuffle_epi32(mixed, _MM_SHUFFLE(3, 1, 2, 0));
    edge_avx2_store(out + (ptrdiff_t)r * g->out_row, bytes, g->columns);
  }
}

EDGE_INLINE void store_fixed(const edge_qs8_gemm *g, size_t rows, __m256i acc[][2], int8_t *out) {
  for (size_t r = 0; r < rows; r++) {
    int32_t sums[NR];
    _mm256_storeu_si256((__m256i *)sums, acc[r][0]);
    _mm256_storeu_si256((__m256i *)(sums + 8), acc[r][1]);
    for (size_t c = 0; c < g->columns; c++) {
      out[(ptrdiff_t)r * g->out_row + (ptrdiff_t)c] =
          edge_requantize_fixed(sums[c], g->output.fixed[c], &g->output);
    }
  }
}

/* `rows` is a constant wherever this is inlined. */
EDGE_INLINE void tile(const edge_qs8_gemm *g, size_t rows, const int16_t *lhs, int8_t *out) {
  __m256i acc[MR][2];
  const int8_t *weights = g->weights;
  const ptrdiff_t row = g->lhs_row;
  const size_t pairs = g->depth / KR;
  for (size_t r = 0; r < rows; r++) {
    acc[r][0] = _mm256_loadu_si256((const __m256i *)g->bias);
    acc[r][1] = _mm256_loadu_si256((const __m256i *)(g->bias + 8));
  }
  for (size_t t = 0; t < g->runs; t++) {
    const int16_t *x = lhs + g->lhs_runs[t];
    for (size_t k = 0; k < pairs; k++) {
      const __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights));
      const __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weights + 16)));
      weights += NR * KR;
      for (size_t r = 0; r < rows; r++) {
        const __m256i pair = broadcast_pair(x + (ptrdiff_t)r * row);
        acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(pair, w0));
        acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(pair, w1));
      }
      x += KR;
    }
  }
  if (g->output.scale != NULL) {
    store_float(g, rows, acc, out);
  } else {
    store_fixed(g, rows, acc, out);
  }
}

void edge_qs8_gemm__avx2(const edge_qs8_gemm *g) {
  const int16_t *lhs = g->lhs;
  int8_t *out = g->out;
  /* Tiles of nearly equal height: 7 rows run as 4 + 3, not 6 + 1. */
  const size_t tiles = (g->rows + MR - 1) / MR;
  for (size_t i = 0; i < tiles; i++) {
    const size_t rows = g->rows / tiles + (i < g->rows % tiles);
    switch (rows) {
      case 6:
        tile(g, 6, lhs, out);
        break;
      case 5:
        tile(g, 5, lhs, out);
        break;
      case 4:
        tile(g, 4, lhs, out);
        break;
      case 3:
        tile(g, 3, lhs, out);
        break;
      case 2:
        tile(g, 2, lhs, out);
        break;
      default:
        tile(g, 1, lhs, out);
    }
    lhs += (ptrdiff_t)rows * g->lhs_row;
    out += (ptrdiff_t)rows * g->out_row;
  }
}

#include "avx2_end.h"
#endif
