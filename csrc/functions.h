/* Functions of our own, so that a table has the same bits whatever the C library.
 *
 * Computed in double with an error far below half a unit of float32, so that the float32 result is
 * the correctly rounded one but for arguments that no test has found (docs/numerics.md).
 */
#ifndef EDGE_FUNCTIONS_H
#define EDGE_FUNCTIONS_H

/* e^x, relative error below 2^-50; 0 below -745, infinity above 709.7. */
double edge_exp(double x);
/* e^x - 1, relative error below 2^-49. */
double edge_expm1(double x);
/* tanh(x), relative error below 2^-48. */
double edge_tanh(double x);
/* ln(x), relative error below 2^-49; minus infinity at 0, NaN below. */
double edge_log(double x);
/* erfc(x), relative error below 2^-42 where the result is above 2^-1000. */
double edge_erfc(double x);

static inline float edge_expf(float x) {
  return (float)edge_exp((double)x);
}
static inline float edge_tanhf(float x) {
  return (float)edge_tanh((double)x);
}
static inline float edge_logf(float x) {
  return (float)edge_log((double)x);
}
static inline float edge_erfcf(float x) {
  return (float)edge_erfc((double)x);
}

#endif
