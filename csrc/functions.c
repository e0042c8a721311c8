#include "functions.h"

#include <math.h>

/* ln 2 in two parts: the first has 32 significant bits, so that its products with integers below
 * 2^11 are exact. */
static const double LN2_HIGH = 0x1.62e42feep-1;
static const double LN2_LOW = 0x1.a39ef35793c76p-33;
static const double LN2_INVERSE = 0x1.71547652b82fep+0;

/* e^r - 1 for |r| <= 1, by Taylor's series to the 20th power: the rest is below 2^-65. */
static double expm1_small(double r) {
  double sum = 0.0;
  for (int n = 20; n >= 2; n--) sum = (sum + 1.0) * (r / n);
  return r + r * sum;
}

double edge_exp(double x) {
  if (isnan(x)) return x;
  if (x > 709.78) return INFINITY;
  if (x < -745.2) return 0.0;
  const double k = rint(x * LN2_INVERSE);
  const double r = (x - k * LN2_HIGH) - k * LN2_LOW;
  return ldexp(1.0 + expm1_small(r), (int)k);
}

double edge_tanh(double x) {
  const double a = fabs(x);
  double value;
  if (isnan(x)) return x;
  if (a > 22.0) {
    value = 1.0; /* 1 - 2 e^-44 rounds to it */
  } else if (a < 0.5) {
    const double e = expm1_small(2.0 * a);
    value = e / (e + 2.0);
  } else {
    value = 1.0 - 2.0 / (edge_exp(2.0 * a) + 1.0);
  }
  return copysign(value, x);
}

double edge_expm1(double x) {
  return fabs(x) <= 0.5 ? expm1_small(x) : edge_exp(x) - 1.0;
}

/* With m in [sqrt(1/2), sqrt(2)) and s = (m - 1) / (m + 1), ln m is twice the series of
 * s + s^3 / 3 + s^5 / 5 ..., whose rest is below 2^-60. */
double edge_log(double x) {
  int exponent;
  if (isnan(x) || x < 0.0) return NAN;
  if (x == 0.0) return -INFINITY;
  if (isinf(x)) return x;
  double m = frexp(x, &exponent);
  if (m < 0.70710678118654752) {
    m *= 2.0;
    exponent--;
  }
  const double s = (m - 1.0) / (m + 1.0);
  double sum = 0.0;
  for (int n = 23; n >= 3; n -= 2) sum = (sum + 1.0 / n) * (s * s);
  return exponent * LN2_HIGH + (exponent * LN2_LOW + 2.0 * (s + s * sum));
}

/* Below 2 by erf's series of terms of one sign, above by the continued fraction of erfc. */
double edge_erfc(double x) {
  static const double inverse_root_pi = 0.56418958354775628695;
  const double a = fabs(x);
  const double bell = edge_exp(-a * a) * inverse_root_pi;
  double value;
  if (isnan(x)) return x;
  if (a < 2.0) {
    double sum = 0.0;
    for (int n = 50; n >= 1; n--) sum = (sum + 1.0) * (2.0 * a * a / (2 * n + 1));
    value = 1.0 - bell * 2.0 * a * (1.0 + sum);
  } else {
    double tail = a;
    for (int n = 80; n >= 1; n--) tail = a + n * 0.5 / tail;
    value = bell / tail;
  }
  return x < 0.0 ? 2.0 - value : value;
}
