/** Scalar functions in float64 that JavaScript lacks or defines differently. */

/** a to the power b as in IEEE 754: 1 to any power and -1 to an infinite power are 1, where JavaScript may give NaN. */
export const powScalar = (a: number, b: number): number =>
  a === 1 || (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY) ? 1 : a ** b;

/** The error function to about 1e-16: a Taylor series near 0, a continued fraction for erfc elsewhere. */
export function erfScalar(x: number): number {
  const a = Math.abs(x);
  return a < 2.5 ? erfSeries(x) : Math.sign(x) * (1 - erfcFraction(a));
}

function erfSeries(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; n < 120 && Math.abs(term) > 1e-18 * Math.abs(total); n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

/** The continued fraction of Abramowitz and Stegun 7.1.14, evaluated backwards. */
function erfcFraction(x: number): number {
  let f = x;
  for (let n = 60; n >= 1; n--) f = x + n / 2 / f;
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / f;
}
