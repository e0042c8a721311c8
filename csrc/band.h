/* Bands: some rows of an image, padded, in the form that a kernel reads, in a worker's scratch.
 *
 * A kernel over a band knows no borders. Along an axis whose kernel is 1 only the cells that are
 * used are copied, so that the stride becomes 1.
 */
#ifndef EDGE_BAND_H
#define EDGE_BAND_H

#include "lhs.h"
#include "window.h"

typedef struct edge_band {
  edge_window window;
  int32_t channels;
  int32_t multiplier;               /* each channel stands this many times (depthwise) */
  edge_lhs lhs;                     /* what band elements are */
  int32_t width;                    /* cells of a band row */
  ptrdiff_t cell;                   /* elements of a cell */
  ptrdiff_t row;                    /* elements of a band row */
  ptrdiff_t step_y, step_x;         /* elements between the windows of neighbouring outputs */
  ptrdiff_t dilation_y, dilation_x; /* elements between neighbouring kernel cells */
} edge_band;

/* `window` must be placed, and `lhs` set. */
edge_status edge_band_plan(edge_planner *planner, const edge_step *step, int32_t channels,
                           int32_t multiplier, edge_band *band);

/* Bytes of a band for `outputs` rows of output, with what kernels may read behind it. */
uint64_t edge_band_bytes(const edge_band *band, int32_t outputs);

/* Band rows for `outputs` rows of output. */
int32_t edge_band_rows(const edge_band *band, int32_t outputs);

/* Fills a band for output rows first ... first + outputs - 1 of one image [H][W][channels]. `lhs`:
 * the band's, or the same with the quantization of this image. */
void edge_band_fill(const edge_band *band, const edge_lhs *lhs, const uint8_t *image, int32_t first,
                    int32_t outputs, uint8_t *out);

/* Splits `rows` of output into pieces: each band fits the cache, and every worker gets some. */
int32_t edge_band_split(const edge_band *band, int32_t rows, int64_t pieces_wanted);

#endif
