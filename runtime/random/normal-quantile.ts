/** The standard normal distribution function and its inverse, both accurate to some 14 digits in the lower tail. */

/** Φ(x), the probability that a standard normal variable is below x. The relative accuracy holds for all x < 0. */
export function normalProbability(x: number): number {
  if (x > 0) return 1 - normalProbability(-x);
  return x > -2 ? 0.5 - centralProbability(-x) : tailProbability(-x);
}

/** Φ(x) - 1/2 for x ≥ 0: φ(x) · Σ x^(2n+1) / (2n+1)!!. Abramowitz and Stegun 1964, 26.2.11; no term cancels. */
function centralProbability(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (x * x) / (2 * n + 1);
    sum += term;
  }
  return sum * normalDensity(x);
}

/** 1 - Φ(x) for large x: φ(x) / (x + 1/(x + 2/(x + 3/(x + ...)))). Abramowitz and Stegun 1964, 26.2.14. */
function tailProbability(x: number): number {
  let fraction = x;
  for (let n = 200; n > 0; n--) fraction = x + n / fraction;
  return normalDensity(x) / fraction;
}

const normalDensity = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

/** Coefficients of the numerator and the denominator of a rational function of degree 7, constant term first. */
type Rational = readonly [numerator: Degree7, denominator: Degree7];
type Degree7 = readonly [number, number, number, number, number, number, number, number];

const central: Rational = [
  [
    3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987, 67265.7709270087,
    33430.57558358813, 2509.0809287301227,
  ],
  [
    1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
    28729.085735721943, 5226.495278852854,
  ],
];

const middle: Rational = [
  [
    1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
    0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
  ],
  [
    1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
    0.0005475938084995345, 1.0507500716444169e-9,
  ],
];

const far: Rational = [
  [
    6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
    0.0012426609473880784, 2.7115555687434876e-5, 2.0103343992922881e-7,
  ],
  [
    1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133, 1.8463183175100548e-5,
    1.421511758316446e-7, 2.0442631033899397e-15,
  ],
];

/** Φ⁻¹(p) for 0 < p < 1. Source: Wichura 1988, algorithm AS 241, PPND16; relative error about 1e-16. */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * evaluate(central, 0.180625 - q * q);
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  const size = r <= 5 ? evaluate(middle, r - 1.6) : evaluate(far, r - 5);
  return q < 0 ? -size : size;
}

const evaluate = ([numerator, denominator]: Rational, x: number) => horner(numerator, x) / horner(denominator, x);

/** Unrolled: a model's weights take billions of draws, and a loop over the coefficients is several times slower. */
const horner = (c: Degree7, x: number) =>
  ((((((c[7] * x + c[6]) * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0];
