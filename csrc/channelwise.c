#include "channelwise.h"

#include "requantize.h"

/* ---- packing ------------------------------------------------------------------------------- */

static uint64_t weights_bytes(const edge_kernels *kernels, const edge_arithmetic *a,
                              const edge_channelwise *f) {
  const uint64_t elements = edge_round_up(f->taps, 2) * f->channels_packed;
  switch (a->kind) {
    case EDGE_ARITHMETIC_QS8:
      return elements * kernels->dwconv_size;
    case EDGE_ARITHMETIC_F32:
      return elements * sizeof(float);
    default:
      return elements * sizeof(int16_t);
  }
}

uint64_t edge_channelwise_bytes(const edge_kernels *kernels, const edge_arithmetic *a,
                                const edge_channelwise *f) {
  return edge_round_up(weights_bytes(kernels, a, f), EDGE_ALIGN) + f->channels_packed * UINT64_C(8);
}

static void pack_qs8(const edge_kernels *kernels, const edge_arithmetic *a,
                     const edge_channelwise *f, int8_t *plain, const uint8_t *weights,
                     const uint8_t *bias) {
  int32_t *folded = f->bias;
  for (uint32_t i = 0; i < f->channels; i++) {
    folded[i] = (int32_t)edge_arithmetic_bias(a, bias, i);
  }
  for (uint32_t t = 0; t < f->taps; t++) {
    for (uint32_t i = 0; i < f->channels; i++) {
      const uint64_t at = (uint64_t)t * f->channels + i;
      int16_t weight;
      edge_arithmetic_weights(a, weights, at, 1, &weight);
      plain[at] = (int8_t)weight;
      folded[i] = edge_wrap(folded[i] - (int64_t)a->input.zero_point * weight);
    }
  }
  kernels->qs8_dwconv_pack(f->weights, plain, f->taps, f->channels);
}

static void pack_plain(const edge_arithmetic *a, const edge_channelwise *f,
                       const uint8_t *weights) {
  for (uint32_t t = 0; t < f->taps; t++) {
    const uint64_t from = (uint64_t)t * f->channels;
    const uint64_t to = (uint64_t)t * f->channels_packed;
    if (a->kind == EDGE_ARITHMETIC_F32) {
      memcpy(f->weights + to * 4, weights + from * 4, (size_t)f->channels * 4);
    } else {
      int16_t *packed = (int16_t *)(void *)f->weights;
      edge_arithmetic_weights(a, weights, from, f->channels, packed + to);
    }
  }
}

void edge_channelwise_pack(const edge_kernels *kernels, const edge_arithmetic *a,
                           edge_channelwise *f, void *memory, int8_t *plain, const uint8_t *weights,
                           const uint8_t *bias) {
  f->weights = memory;
  f->bias = f->weights + edge_round_up(weights_bytes(kernels, a, f), EDGE_ALIGN);
  if (a->kind == EDGE_ARITHMETIC_QS8) {
    pack_qs8(kernels, a, f, plain, weights, bias);
    return;
  }
  pack_plain(a, f, weights);
  if (a->kind == EDGE_ARITHMETIC_S16) {
    edge_arithmetic_put_bias(a, bias, 0, f->channels, f->bias);
  } else if (bias != NULL) {
    memcpy(f->bias, bias, (size_t)f->channels * sizeof(float));
  }
}

/* ---- running ------------------------------------------------------------------------------- */

static void run_qs8(const edge_kernels *kernels, const edge_arithmetic *a,
                    const edge_channelwise *f, const edge_channelwise_row *row) {
  const edge_qs8_dwconv call = {.pixels = row->pixels,
                                .channels = f->channels,
                                .tap_count = f->taps,
                                .input = row->input,
                                .pixel = row->pixel,
                                .taps = row->taps,
                                .weights = f->weights,
                                .bias = f->bias,
                                .output = a->integers,
                                .out = row->out};
  kernels->qs8_dwconv(&call);
}

static void run_f32(const edge_kernels *kernels, const edge_arithmetic *a,
                    const edge_channelwise *f, const edge_channelwise_row *row) {
  const edge_f32_dwconv call = {.pixels = row->pixels,
                                .channels = f->channels,
                                .channels_packed = f->channels_packed,
                                .tap_count = f->taps,
                                .input = row->input,
                                .pixel = row->pixel,
                                .taps = row->taps,
                                .weights = (const float *)(const void *)f->weights,
                                .bias = f->bias,
                                .min = a->floats.min,
                                .max = a->floats.max,
                                .out = row->out};
  kernels->f32_dwconv(&call);
}

/* int64 sums: few enough taps for int32 at a time, products being at most 2^22. */
static void sum_wide(const edge_kernels *kernels, const edge_channelwise *f, edge_s16_dwconv call,
                     int64_t *sums) {
  enum { STRETCH = 256 };
  const size_t count = call.pixels * f->channels_packed;
  memset(sums, 0, count * sizeof *sums);
  for (uint32_t t = 0; t < f->taps; t += STRETCH) {
    call.tap_count = (size_t)edge_min(STRETCH, (int64_t)f->taps - t);
    kernels->s16_dwconv(&call);
    call.taps += call.tap_count;
    call.weights += call.tap_count * f->channels_packed;
    for (size_t i = 0; i < count; i++) sums[i] += call.out[i];
  }
}

static void run_s16(const edge_kernels *kernels, const edge_arithmetic *a,
                    const edge_channelwise *f, const edge_channelwise_row *row) {
  const edge_s16_dwconv call = {.pixels = row->pixels,
                                .channels_packed = f->channels_packed,
                                .tap_count = f->taps,
                                .input = row->input,
                                .pixel = row->pixel,
                                .taps = row->taps,
                                .weights = (const int16_t *)(const void *)f->weights,
                                .out = row->sums};
  const edge_sums sums = {.rows = row->pixels,
                          .columns = f->channels,
                          .narrow = row->sums,
                          .wide = row->wide,
                          .stride = (ptrdiff_t)f->channels_packed,
                          .bias = f->bias,
                          .row_scales = &row->scale,
                          .out = row->out,
                          .out_row = (ptrdiff_t)f->channels};
  if (a->wide) {
    sum_wide(kernels, f, call, row->wide);
  } else {
    kernels->s16_dwconv(&call);
  }
  edge_arithmetic_finish(a, &sums);
}

void edge_channelwise_run(const edge_kernels *kernels, const edge_arithmetic *a,
                          const edge_channelwise *f, const edge_channelwise_row *row) {
  switch (a->kind) {
    case EDGE_ARITHMETIC_QS8:
      run_qs8(kernels, a, f, row);
      break;
    case EDGE_ARITHMETIC_F32:
      run_f32(kernels, a, f, row);
      break;
    default:
      run_s16(kernels, a, f, row);
  }
}
