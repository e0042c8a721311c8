/* Products channel by channel, as depthwise convolutions need them: weights packed by taps, then
 * run over a row of pixels. */
#ifndef EDGE_CHANNELWISE_H
#define EDGE_CHANNELWISE_H

#include "arithmetic.h"

typedef struct edge_channelwise {
  uint32_t channels; /* of the output */
  uint32_t channels_packed;
  uint32_t taps;
  uint8_t *weights;
  void *bias; /* [channels_packed]: int32 or, where wide, int64 (QS8, S16); float (QD8, F32) */
} edge_channelwise;

uint64_t edge_channelwise_bytes(const edge_kernels *kernels, const edge_arithmetic *arithmetic,
                                const edge_channelwise *filter);
/* Packs into `memory`, zeroed, weights [taps][channels] and a bias, or NULL, as edge_matrix_pack()
 * does. `plain`: memory for the weights as int8, [taps * channels], QS8 only. */
void edge_channelwise_pack(const edge_kernels *kernels, const edge_arithmetic *arithmetic,
                           edge_channelwise *filter, void *memory, int8_t *plain,
                           const uint8_t *weights, const uint8_t *bias);

/* A row of pixels. */
typedef struct edge_channelwise_row {
  size_t pixels;
  const void *input;
  ptrdiff_t pixel;       /* elements */
  const ptrdiff_t *taps; /* elements */
  float scale;           /* QD8: of the image */
  int32_t *sums;         /* S16, QD8: room for [pixels][channels_packed] */
  int64_t *wide;         /* S16 where wide: the same */
  void *out;             /* [pixels][channels] */
} edge_channelwise_row;

void edge_channelwise_run(const edge_kernels *kernels, const edge_arithmetic *arithmetic,
                          const edge_channelwise *filter, const edge_channelwise_row *row);

#endif
