/* Quantization per channel: see channels.h. */
#include "channels.h"

#include <math.h>

static bool in_range(edge_type type, int64_t zero_point) {
  const int64_t most = type == EDGE_UINT8 ? UINT8_MAX : type == EDGE_INT8 ? INT8_MAX : INT16_MAX;
  const int64_t least = type == EDGE_UINT8 ? 0 : -most - 1;
  return zero_point >= least && zero_point <= most;
}

edge_status edge_channels_read(edge_compiler *compiler, const edge_node *node,
                               const edge_tensor *tensor, const char *what,
                               edge_channels *channels) {
  const long long index = tensor - compiler->graph->tensors;
  const uint32_t count = tensor->scale.count;
  if (tensor->axis < 0 || tensor->axis >= tensor->rank) {
    return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                          "expected %s with scales along one of %lld dimensions, got %lld "
                          "(tensor %lld)",
                          what, (long long)tensor->rank, (long long)tensor->axis, index);
  }
  channels->quant =
      edge_region_alloc(&compiler->model->region, count, sizeof *channels->quant, compiler->error);
  if (channels->quant == NULL) return edge_no_memory(compiler->error);
  channels->axis = tensor->axis;
  channels->count = (int32_t)count;
  for (uint32_t i = 0; i < count; i++) {
    const float scale = edge_scale_at(tensor, (int32_t)i);
    const int64_t zero_point =
        edge_load_i64(edge_vector_data(&tensor->zero_point) + (int64_t)i * 8);
    if (!isfinite(scale) || scale <= 0.0f || !in_range(tensor->type, zero_point)) {
      return edge_node_fail(compiler, node, EDGE_MALFORMED_MODEL,
                            "expected %s with scales above 0 and zero points of its type, got "
                            "others at %lld (tensor %lld)",
                            what, (long long)i, index);
    }
    channels->quant[i] = (edge_quant){scale, (int32_t)zero_point};
  }
  return EDGE_OK;
}

edge_status edge_channels_shape(edge_planner *planner, const edge_step *step,
                                const edge_channels *channels) {
  const edge_view *view = edge_view_in(planner, step, 0);
  const int32_t axis = channels->axis;
  if (axis < view->rank && view->shape[axis] == channels->count) return EDGE_OK;
  return edge_step_fail(planner, step, EDGE_MALFORMED_MODEL,
                        "expected dimension %lld to be as long as there are scales, %lld, got %lld",
                        (long long)axis, (long long)channels->count,
                        (long long)(axis < view->rank ? view->shape[axis] : 0));
}

void edge_channels_walk(const edge_channels *channels, const edge_view *view, edge_channels_fn *run,
                        void *context) {
  const int64_t outer = edge_count(view->shape, 0, channels->axis);
  const int64_t inner = edge_count(view->shape, channels->axis + 1, view->rank);
  for (int64_t o = 0; o < outer; o++) {
    for (int32_t i = 0; i < channels->count; i++) {
      run(context, channels->quant[i], (o * channels->count + i) * inner, inner);
    }
  }
}
