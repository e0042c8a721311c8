/* The geometry of convolution and pooling windows. */
#ifndef EDGE_WINDOW_H
#define EDGE_WINDOW_H

#include "internal.h"

/* One dimension. */
typedef struct edge_axis {
  int32_t kernel, stride, dilation;
  int32_t input, output;
  int32_t before; /* padding cells in front; those behind follow from the rest */
} edge_axis;

typedef struct edge_window {
  edge_axis y, x;
  bool same; /* padding SAME, else VALID */
} edge_window;

/* Where the fields of an options table stand. Dilation fields are -1 where there are none. */
typedef struct edge_window_fields {
  uint32_t padding, stride_w, stride_h;
  int32_t dilation_w, dilation_h;
} edge_window_fields;

/* Reads strides, dilations and padding, all checked to be in 1 ... 2^15. */
edge_status edge_window_read(edge_compiler *compiler, const edge_node *node,
                             const edge_window_fields *fields, edge_window *window);

/* One field of the options, -1 for one that is not there: `absent`. In 1 ... 2^15. */
edge_status edge_window_read_field(edge_compiler *compiler, const edge_node *node, const char *what,
                                   int32_t field, int32_t absent, int32_t *value);

/* The same for the filter's size, as pooling has it in its options. */
edge_status edge_window_read_filter(edge_compiler *compiler, const edge_node *node,
                                    edge_window *window);

/* Sets input, output and before of both axes for an input of shape NHWC.
 * SAME: output = ceil(input / stride), the odd padding cell goes behind. VALID: output =
 * ceil((input - kernel' + 1) / stride). Source: tflite/kernels/padding.h. */
edge_status edge_window_place(edge_planner *planner, const edge_step *step, const int32_t *shape,
                              edge_window *window);

/* The same for one axis. False: the window does not fit. */
bool edge_axis_place(edge_axis *axis, int32_t input, bool same);

/* Cells that the dilated kernel spans. */
static inline int32_t edge_axis_span(const edge_axis *axis) {
  return (axis->kernel - 1) * axis->dilation + 1;
}

#endif
