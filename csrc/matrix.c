#include "matrix.h"

int32_t edge_fold_zero_point(const uint8_t *bias, uint32_t output, int32_t sum_of_weights,
                             int32_t zero_point) {
  const int32_t own = bias ? edge_load_i32(bias + (size_t)output * 4) : 0;
  return edge_wrap((int64_t)own - (int64_t)zero_point * sum_of_weights);
}

/* LiteRT multiplies scales as float64, but the two of a per-tensor dense layer as float32. */
static double product_of_scales(const edge_matrix_source *source, float weight) {
  if (source->float_product && source->scales->scale.count == 1) {
    const float product = source->input.scale * weight;
    return (double)product;
  }
  return (double)source->input.scale * (double)weight;
}

edge_status edge_output_pack(edge_compiler *compiler, const edge_node *node,
                             const edge_matrix_source *source, uint32_t padded, uint32_t away_from,
                             edge_qs8_output *output) {
  float *scale = NULL;
  edge_fixed *fixed = NULL;
  if (source->xnn) {
    scale = edge_pack_alloc(compiler, padded, sizeof *scale);
    if (scale == NULL) return edge_no_memory(compiler->error);
  } else {
    fixed = edge_pack_alloc(compiler, padded, sizeof *fixed);
    if (fixed == NULL) return edge_no_memory(compiler->error);
  }
  for (uint32_t i = 0; i < source->outputs; i++) {
    const float weight = edge_scale_at(source->scales, (int32_t)(source->first_output + i));
    if (source->xnn) {
      scale[i] = edge_scale_float(source->input.scale, weight, source->output.scale);
    } else {
      const double real = product_of_scales(source, weight) / (double)source->output.scale;
      const bool away = source->away || i >= away_from;
      EDGE_TRY(edge_expect_fixed(compiler, node, real, away, &fixed[i]));
    }
  }
  *output = (edge_qs8_output){.scale = scale,
                              .fixed = fixed,
                              .zero_point = source->output.zero_point,
                              .min = source->range.min,
                              .max = source->range.max};
  return EDGE_OK;
}

/* Weights of output n, element k of run t, go to [n / nr][t][k / kr][n % nr][k % kr]. */
static void pack_output(const edge_kernels *kernels, const edge_matrix_source *source,
                        const edge_matrix *matrix, uint32_t n, int8_t *weights, int32_t *bias) {
  const uint32_t nr = kernels->nr;
  const uint32_t kr = kernels->kr;
  const int8_t *from = source->weights + (uint64_t)n * source->runs * source->depth;
  int8_t *panel = weights + n / nr * matrix->panel_size;
  int32_t sum = 0;
  for (uint32_t t = 0; t < source->runs; t++) {
    int8_t *run = panel + (uint64_t)t * matrix->depth_packed * nr;
    for (uint32_t k = 0; k < source->depth; k++) {
      run[((uint64_t)(k / kr) * nr + n % nr) * kr + k % kr] = *from;
      sum = edge_wrap((int64_t)sum + *from++);
    }
  }
  bias[n] =
      edge_fold_zero_point(source->bias, source->first_output + n, sum, source->input.zero_point);
}

edge_status edge_matrix_pack(edge_compiler *compiler, const edge_node *node,
                             const edge_matrix_source *source, edge_matrix *matrix) {
  const edge_kernels *kernels = compiler->model->kernels;
  const uint32_t panels = (source->outputs + kernels->nr - 1) / kernels->nr;
  const uint32_t depth = (uint32_t)edge_round_up(source->depth, kernels->kr);
  *matrix = (edge_matrix){.outputs = source->outputs,
                          .runs = source->runs,
                          .depth = source->depth,
                          .depth_packed = depth,
                          .panels = panels,
                          .panel_size = (uint64_t)source->runs * depth * kernels->nr};
  int8_t *weights = edge_pack_alloc(compiler, panels, matrix->panel_size);
  if (weights == NULL) return edge_no_memory(compiler->error);
  int32_t *bias = edge_pack_alloc(compiler, (uint64_t)panels * kernels->nr, sizeof *bias);
  if (bias == NULL) return edge_no_memory(compiler->error);
  for (uint32_t n = 0; n < source->outputs; n++) {
    pack_output(kernels, source, matrix, n, weights, bias);
  }
  matrix->weights = weights;
  matrix->bias = bias;
  return edge_output_pack(compiler, node, source, panels * kernels->nr, UINT32_MAX,
                          &matrix->output);
}

void edge_matrix_run(const edge_kernels *kernels, const edge_matrix *matrix, uint32_t panel,
                     const edge_matrix_rows *rows) {
  const uint32_t first = panel * kernels->nr;
  const uint32_t left = matrix->outputs - first;
  edge_qs8_gemm gemm = {
      .rows = rows->rows,
      .columns = left < kernels->nr ? left : kernels->nr,
      .runs = matrix->runs,
      .depth = matrix->depth_packed,
      .lhs = rows->lhs,
      .lhs_row = rows->lhs_row,
      .lhs_runs = rows->lhs_runs,
      .weights = matrix->weights + panel * matrix->panel_size,
      .bias = matrix->bias + first,
      .output = matrix->output,
      .out = rows->out + first,
      .out_row = rows->out_row,
  };
  if (gemm.output.scale != NULL) gemm.output.scale += first;
  if (gemm.output.fixed != NULL) gemm.output.fixed += first;
  kernels->qs8_gemm(&gemm);
}
