#include "window.h"

/* Large enough for any network, small enough that products of two fit int32. */
enum { WINDOW_MAX = 1 << 15 };

edge_status edge_window_read_field(edge_compiler *compiler, const edge_node *node, const char *what,
                                   int32_t field, int32_t absent, int32_t *value) {
  bool ok = true;
  *value = absent;
  if (field >= 0) ok = edge_table_i32(&node->options, (uint32_t)field, absent, value);
  if (ok && *value >= 1 && *value <= WINDOW_MAX) return EDGE_OK;
  return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                        "expected a %s in 1 ... %lld, got %lld", what, (long long)WINDOW_MAX,
                        (long long)*value);
}

edge_status edge_window_read(edge_compiler *compiler, const edge_node *node,
                             const edge_window_fields *fields, edge_window *window) {
  int8_t padding = 0;
  if (!edge_table_i8(&node->options, fields->padding, PADDING_SAME, &padding) ||
      (padding != PADDING_SAME && padding != PADDING_VALID)) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected padding SAME or VALID, %lld or %lld, got %lld",
                          (long long)PADDING_SAME, (long long)PADDING_VALID, (long long)padding);
  }
  window->same = padding == PADDING_SAME;
  EDGE_TRY(edge_window_read_field(compiler, node, "horizontal stride", (int32_t)fields->stride_w, 0,
                                  &window->x.stride));
  EDGE_TRY(edge_window_read_field(compiler, node, "vertical stride", (int32_t)fields->stride_h, 0,
                                  &window->y.stride));
  EDGE_TRY(edge_window_read_field(compiler, node, "horizontal dilation", fields->dilation_w, 1,
                                  &window->x.dilation));
  return edge_window_read_field(compiler, node, "vertical dilation", fields->dilation_h, 1,
                                &window->y.dilation);
}

edge_status edge_window_read_filter(edge_compiler *compiler, const edge_node *node,
                                    edge_window *window) {
  EDGE_TRY(
      edge_window_read_field(compiler, node, "filter width", POOL_FILTER_W, 0, &window->x.kernel));
  return edge_window_read_field(compiler, node, "filter height", POOL_FILTER_H, 0,
                                &window->y.kernel);
}

bool edge_axis_place(edge_axis *axis, int32_t input, bool same) {
  const int64_t span = ((int64_t)axis->kernel - 1) * axis->dilation + 1;
  const int64_t stride = axis->stride;
  int64_t output;
  axis->input = input;
  axis->before = 0;
  if (same) {
    output = (input + stride - 1) / stride;
    const int64_t padding = (output - 1) * stride + span - input;
    if (padding > 0) axis->before = (int32_t)(padding / 2);
  } else {
    output = input < span ? 0 : (input - span) / stride + 1;
  }
  axis->output = (int32_t)output;
  return output > 0 && span <= INT32_MAX / 4;
}

edge_status edge_window_place(edge_planner *planner, const edge_step *step, const int32_t *shape,
                              edge_window *window) {
  if (edge_axis_place(&window->y, shape[1], window->same) &&
      edge_axis_place(&window->x, shape[2], window->same)) {
    return EDGE_OK;
  }
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected an image into which the window fits, got %lld x %lld for a "
                        "window of %lld x %lld",
                        (long long)shape[1], (long long)shape[2], (long long)window->y.kernel,
                        (long long)window->x.kernel);
}
