/* exp and tanh of our own, so that a table has the same bits whatever the C library.
 *
 * Computed in double with an error far below half a unit of float32, so that the float32 result is
 * the correctly rounded one but for arguments that no test has found (docs/numerics.md).
 */
#ifndef EDGE_FUNCTIONS_H
#define EDGE_FUNCTIONS_H

/* e^x, relative error below 2^-50; 0 below -745, infinity above 709.7. */
double edge_exp(double x);
/* tanh(x), relative error below 2^-48. */
double edge_tanh(double x);

static inline float edge_expf(float x) {
  return (float)edge_exp((double)x);
}
static inline float edge_tanhf(float x) {
  return (float)edge_tanh((double)x);
}

#endif
