/* Activations quantized per channel: one scale and zero point for each index of one dimension. */
#ifndef EDGE_CHANNELS_H
#define EDGE_CHANNELS_H

#include "internal.h"

typedef struct edge_channels {
  int32_t count; /* 0: the tensor is quantized per tensor */
  int32_t axis;
  edge_quant *quant; /* [count] */
} edge_channels;

/* Reads and checks the quantization of a tensor with several scales; its memory is the model's. */
edge_status edge_channels_read(edge_compiler *compiler, const edge_node *node,
                               const edge_tensor *tensor, const char *what,
                               edge_channels *channels);

/* In shape(): refuses a tensor whose dimension is not as long as there are channels. */
edge_status edge_channels_shape(edge_planner *planner, const edge_step *step,
                                const edge_channels *channels);

/* Elements [at, at + count) have one quantization. */
typedef void edge_channels_fn(void *context, edge_quant quant, int64_t at, int64_t count);
void edge_channels_walk(const edge_channels *channels, const edge_view *view, edge_channels_fn *run,
                        void *context);

#endif
