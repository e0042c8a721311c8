#include "band.h"

/* A band should stay in the second-level cache beside the weights that run over it. */
enum { BAND_BYTES = 96 * 1024 };

static bool decimated(const edge_axis *axis) {
  return axis->kernel == 1;
}

/* Cells that `outputs` windows need along an axis. */
static int32_t cells_for(const edge_axis *axis, int32_t outputs) {
  if (decimated(axis)) return outputs;
  return (outputs - 1) * axis->stride + edge_axis_span(axis);
}

edge_status edge_band_plan(edge_planner *planner, const edge_step *step, int32_t channels,
                           int32_t multiplier, edge_band *band) {
  const edge_axis *x = &band->window.x;
  const edge_axis *y = &band->window.y;
  const int64_t width =
      decimated(x) ? x->output : ((int64_t)x->output - 1) * x->stride + edge_axis_span(x);
  const int64_t most = INT32_MAX / 8;
  if (width * channels * multiplier > most ||
      ((int64_t)y->output - 1) * y->stride + edge_axis_span(y) > most) {
    return edge_step_fail(planner, step, EDGE_LIMIT_EXCEEDED,
                          "expected padded rows of at most %lld elements, got %lld",
                          (long long)most, (long long)width * channels * multiplier);
  }
  band->channels = channels;
  band->multiplier = multiplier;
  band->width = (int32_t)width;
  band->cell = (ptrdiff_t)channels * multiplier;
  band->row = band->width * band->cell;
  band->step_x = band->cell * (decimated(x) ? 1 : x->stride);
  band->step_y = band->row * (decimated(y) ? 1 : y->stride);
  band->dilation_x = band->cell * x->dilation;
  band->dilation_y = band->row * y->dilation;
  return EDGE_OK;
}

int32_t edge_band_rows(const edge_band *band, int32_t outputs) {
  return cells_for(&band->window.y, outputs);
}

uint64_t edge_band_bytes(const edge_band *band, int32_t outputs) {
  return (uint64_t)edge_band_rows(band, outputs) * (uint64_t)band->row * band->lhs.size +
         EDGE_SLACK;
}

typedef struct band_writer {
  const edge_band *band;
  const edge_lhs *lhs;
  uint8_t *out;
} band_writer;

static void put_padding(band_writer *w, int64_t cells) {
  const size_t count = (size_t)cells * (size_t)w->band->cell;
  edge_lhs_pad(w->lhs, w->out, count);
  w->out += count * w->lhs->size;
}

/* Writes every element `times` times. */
static uint8_t *repeat(uint8_t *out, const uint8_t *from, size_t count, size_t size,
                       int32_t times) {
  for (size_t i = 0; i < count; i++) {
    for (int32_t t = 0; t < times; t++) {
      memcpy(out, from, size);
      out += size;
    }
    from += size;
  }
  return out;
}

static void put(band_writer *w, const uint8_t *in, int64_t cells) {
  enum { SOME = 64 };
  _Alignas(EDGE_ALIGN) uint8_t some[SOME * 4];
  const size_t size = w->lhs->size;
  size_t left = (size_t)cells * (size_t)w->band->channels;
  if (w->band->multiplier == 1) {
    w->lhs->put(w->lhs, w->out, in, left);
    w->out += left * size;
    return;
  }
  while (left > 0) {
    const size_t count = left < SOME ? left : SOME;
    w->lhs->put(w->lhs, some, in, count);
    w->out = repeat(w->out, some, count, size, w->band->multiplier);
    in += count * w->lhs->in_size;
    left -= count;
  }
}

static void fill_row(band_writer *w, const uint8_t *row) {
  const edge_band *band = w->band;
  const edge_axis *x = &band->window.x;
  if (row == NULL) {
    put_padding(w, band->width);
    return;
  }
  if (decimated(x)) {
    if (x->stride == 1) {
      put(w, row, band->width);
      return;
    }
    const int64_t step = (int64_t)x->stride * band->channels * w->lhs->in_size;
    for (int32_t i = 0; i < band->width; i++) put(w, row + i * step, 1);
    return;
  }
  const int64_t left = edge_min(x->before, band->width);
  const int64_t middle = edge_min(band->width - left, x->input);
  const int64_t right = band->width - left - middle;
  if (left > 0) put_padding(w, left);
  put(w, row, middle);
  if (right > 0) put_padding(w, right);
}

void edge_band_fill(const edge_band *band, const edge_lhs *lhs, const uint8_t *image, int32_t first,
                    int32_t outputs, uint8_t *out) {
  const edge_axis *y = &band->window.y;
  const int64_t row_bytes = (int64_t)band->window.x.input * band->channels * lhs->in_size;
  const int64_t top = (int64_t)first * y->stride - y->before;
  const int64_t step = decimated(y) ? y->stride : 1;
  const int32_t rows = edge_band_rows(band, outputs);
  band_writer writer = {band, lhs, out};
  for (int32_t r = 0; r < rows; r++) {
    const int64_t at = top + r * step;
    const bool inside = at >= 0 && at < y->input;
    fill_row(&writer, inside ? image + at * row_bytes : NULL);
  }
}

int32_t edge_band_split(const edge_band *band, int32_t rows, int64_t pieces_wanted) {
  const int64_t row_bytes = (int64_t)band->row * band->lhs.size;
  const int64_t halo =
      edge_band_rows(band, 1) - (decimated(&band->window.y) ? 1 : band->window.y.stride);
  const int64_t stride = edge_band_rows(band, 2) - edge_band_rows(band, 1);
  int64_t fits = (BAND_BYTES / edge_max(row_bytes, 1) - edge_max(halo, 0)) / edge_max(stride, 1);
  fits = edge_max(1, edge_min(fits, rows));
  const int64_t pieces = edge_max((rows + fits - 1) / fits, edge_min(pieces_wanted, rows));
  return (int32_t)((rows + pieces - 1) / pieces);
}
