/** Elementwise operators. */
import {
  addDims,
  type Dim,
  divideDims,
  finiteRange,
  isMultipleOf,
  mulDims,
  type Node,
  ops,
  subDims,
} from "../../../../compiler/index.ts";
import { aligned, pointwise, wrap } from "../broadcast.ts";
import { boolean, type ElementType, elementType, isFloatType, isNarrow } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { ImportRecord, Records } from "../record.ts";
import { certainly } from "../sizes.ts";
import { elements, known, type Value } from "../values.ts";
import { wide } from "../whole-floats.ts";

const { abs, add, cast, cos, div, eq, erf, exp, floor, ge, gelu, geluTanh, gt, idiv, le, log, lt, max, min, mod } = ops;
const { mul, ne, neg, not, pow, relu, round, select, sigmoid, silu, sin, sqrt, sub, tanh } = ops;

type Step = (x: Node, n: NodeView) => Node;

/** Unary operators: for any type, or for floats only. */
const unary = (make: Step): ImportRecord => ({ build: (n) => pointwise(n, [n.in(0)], ([x]) => make(x!, n)) });
const floats = (make: Step): ImportRecord => ({ build: (n) => pointwise(n, [n.floatsIn(0)], ([x]) => make(x!, n)) });

type Pair = (a: Node, b: Node) => Node;
const binary = (make: Pair, onSizes?: ImportRecord["onSizes"]): ImportRecord => ({
  build: (n) => pointwise(n, [n.in(0), n.in(1)], ([a, b]) => make(a!, b!)),
  ...(onSizes && { onSizes }),
});
const compare = (make: Pair, onSizes?: ImportRecord["onSizes"]): ImportRecord => ({
  build: (n) => pointwise(n, [n.in(0), n.in(1)], ([a, b]) => make(comparable(a!), comparable(b!)), boolean),
  ...(onSizes && { onSizes }),
});

/** Casts booleans to integers, so that they can be compared. */
const comparable = (x: Node): Node => (x.type.dtype === "bool" ? cast(x, "i32") : x);

/** Variadic operators, as a left fold. */
const folded = (
  make: Pair,
  last: (x: Node, count: number) => Node = (x) => x,
  onSizes?: ImportRecord["onSizes"],
): ImportRecord => ({
  build: (n) =>
    pointwise(
      n,
      n.inputs.map((_, i) => n.in(i)),
      (nodes) => last(nodes.reduce(make), nodes.length),
    ),
  ...(onSizes && { onSizes }),
});

/** x where x > 0, else `below`. */
const above = (x: Node, below: Node): Node => select(gt(x, 0), x, below);
const softplus = (x: Node): Node => add(max(x, 0), log(add(1, exp(neg(abs(x))))));
const signOf = (x: Node): Node => {
  const { dtype } = x.type;
  return sub(cast(gt(x, 0), dtype), cast(lt(x, 0), dtype));
};
const ceil = (x: Node): Node => neg(floor(neg(x)));
const isInfinite = (x: Node): Node => gt(abs(x), finiteRange.f32[1]);
const isNaN_ = (x: Node): Node => ne(x, x);

/** Inverse hyperbolic functions, which heddle has no ops for, as log(a + √…) of |x| with the sign restored. */
const asinh = (x: Node): Node => {
  const magnitude = abs(x);
  return mul(signOf(x), log(add(magnitude, sqrt(add(mul(x, x), 1)))));
};

/** atan by a polynomial of x in [0, 1] (Abramowitz and Stegun 4.4.49), reduced twice: error below 2e-8. */
function atan(x: Node): Node {
  const magnitude = abs(x);
  const inverted = gt(magnitude, 1);
  const unit = select(inverted, div(1, max(magnitude, 1)), magnitude);
  // atan(t) = 2 atan(t / (1 + √(1 + t²))), after which t is at most 0.414.
  const half = div(unit, add(1, sqrt(add(1, mul(unit, unit)))));
  const square = mul(half, half);
  const terms = [-1 / 15, 1 / 13, -1 / 11, 1 / 9, -1 / 7, 1 / 5, -1 / 3, 1];
  const series = terms.reduce<Node | number>((sum, c) => add(mul(square, sum), c), 1 / 17) as Node;
  const angle = mul(mul(half, series), 2);
  return mul(signOf(x), select(inverted, sub(Math.PI / 2, angle), angle));
}

const asin = (x: Node): Node => mul(2, atan(div(x, add(1, sqrt(max(sub(1, mul(x, x)), 0))))));

function integerDivision(a: Node, b: Node): Node {
  return a.type.dtype === "i32" || a.type.dtype === "u32" ? idiv(a, b) : div(a, b);
}

/** The remainder with the divisor's sign, or with fmod the dividend's. */
function remainder(n: NodeView): Value {
  return pointwise(n, [n.in(0), n.in(1)], ([a, b]) => {
    if (isFloatType(n.in(0).type)) {
      const quotient = div(a!, b!);
      const whole = n.flag("fmod") ? mul(signOf(quotient), floor(abs(quotient))) : floor(quotient);
      return sub(a!, mul(whole, b!));
    }
    const rest = mod(a!, b!);
    if (n.flag("fmod") || a!.type.dtype === "u32") return rest;
    return select(ops.and(ne(rest, 0), lt(mul(signOf(rest), signOf(b!)), 0)), add(rest, b!), rest);
  });
}

/** Powers; of integers by repeated multiplication if the exponent is constant, else through floats. */
function power(n: NodeView): Value {
  const [a, b] = [n.in(0), n.in(1)];
  return pointwise(n, [a, b], ([x, y]) => {
    const exponent = b.kind === "known" && b.values.length === 1 ? b.values[0] : undefined;
    if (exponent === 2) return mul(x!, x!);
    if (exponent === 0.5) return sqrt(x!);
    if (isFloatType(a.type)) return pow(x!, y!.type.dtype === x!.type.dtype ? y! : cast(y!, x!.type.dtype));
    return cast(round(pow(wide(x!), wide(y!))), x!.type.dtype);
  });
}

/**
 * A weight in f16 as the same one in f32, so that an operator that needs its numbers finds them, as a resize its
 * scales.
 */
function storedWider(n: NodeView): Value | undefined {
  const [x, type] = [n.in(0), elementType(n.int("to"), "the result")];
  if (x.kind !== "stored" || x.type.name !== "float16" || type.name !== "float") return undefined;
  return { ...x, type, ...(x.known && { known: { ...x.known, type } }) };
}

/** Casts to another element type. */
function castTo(n: NodeView, to: ElementType): Value {
  const x = n.in(0);
  if (x.kind === "known" && x.type.range && to.range) return known(to, x.shape, x.values);
  return pointwise(n, [x], ([node]) => casted(node!, x.type, to), to);
}

export function casted(node: Node, from: ElementType, to: ElementType): Node {
  const made = to.dtype === "f32" ? wide(node) : cast(node, to.dtype);
  return isNarrow(to) && from !== to ? wrap(made, to) : made;
}

/** Clamps between optional bounds. */
function clip(n: NodeView): Value {
  const x = n.in(0);
  const given = (i: number, name: string): Value | undefined => {
    const value = n.inputs[i];
    if (!value || elements(value) === 1) return value;
    throw n.fail(`the bound ${name} is a tensor of [${value.shape.join(", ")}]; expected a scalar`);
  };
  const bound = (i: number, name: string) =>
    given(i, name) ?? (n.has(name) ? n.scalar(x.type, n.float(name)) : undefined);
  const [low, high] = [bound(1, "min"), bound(2, "max")];
  const bounds = [low, high].filter((b) => b !== undefined);
  return pointwise(n, [x, ...bounds], ([node, ...limits]) => {
    const above = low ? max(node!, limits[0]!) : node!;
    return high ? min(above, limits.at(-1)!) : above;
  });
}

function where(n: NodeView): Value {
  const [condition, a, b] = [n.in(0), n.in(1), n.in(2)];
  if (condition.kind === "known" && condition.values.length === 1) {
    const chosen = condition.values[0] ? a : b;
    const shape = aligned(n, [condition, a, b]).shape;
    if (shape.length === chosen.shape.length && shape.every((d, i) => d === chosen.shape[i])) return chosen;
  }
  const { nodes, shape, names } = aligned(n, [condition, a, b]);
  const node = select(nodes[0]!, nodes[1]!, nodes[2]!);
  return {
    kind: "tensor",
    type: a.type,
    shape,
    axes: names.map((name, i) => (shape[i] === 1 ? undefined : name)),
    node,
  };
}

/** HardSigmoid, also used by HardSwish. */
const hardSigmoid = (x: Node, alpha: number, beta: number): Node => min(max(add(mul(x, alpha), beta), 0), 1);

function prelu(n: NodeView): Value {
  return pointwise(n, [n.in(0), n.in(1)], ([x, slope]) => select(lt(x!, 0), mul(slope!, x!), x!));
}

const whole = (value: Dim | undefined): Dim | undefined => value;
const dividedSizes = (a: Dim, b: Dim): Dim | undefined =>
  typeof a === "number" && typeof b === "number" && b !== 0 ? Math.trunc(a / b) : divideDims(a, b);

export const elementwiseRecords: Records = {
  Identity: { build: (n) => n.operand(0), moves: true, sequences: true },
  Dropout: {
    build: (n) => {
      const training = n.inputs[2] ? n.number(2, "training_mode") !== 0 : false;
      if (training && n.number(1, "ratio") !== 0) throw n.fail("dropout in training mode is not supported");
      const mask = (): Value =>
        pointwise(n, [n.in(0)], ([x]) => ops.broadcastLike(ops.cast(ops.constant(1, "i32"), "bool"), x!), boolean);
      return n.wants(1) ? [n.in(0), mask()] : n.in(0);
    },
    unfolded: true,
  },
  Abs: unary((x) => (x.type.dtype === "u32" ? x : abs(x))),
  Neg: { ...unary((x) => neg(x)), onSizes: (a) => mulDims(-1, a) },
  Sign: unary((x) => (x.type.dtype === "u32" ? cast(gt(x, 0), "u32") : signOf(x))),
  Exp: floats((x) => exp(x)),
  Log: floats((x) => log(x)),
  Sqrt: floats((x) => sqrt(x)),
  Reciprocal: floats((x) => div(1, x)),
  Floor: { ...floats((x) => floor(x)), onSizes: whole },
  Ceil: { ...floats((x) => ceil(x)), onSizes: whole },
  Round: { ...floats((x) => round(x)), onSizes: whole },
  Erf: unary((x) => (isFloatNode(x) ? erf(x) : cast(erf(cast(x, "f32")), x.type.dtype))),
  Sin: floats((x) => sin(x)),
  Cos: floats((x) => cos(x)),
  Tan: floats((x) => div(sin(x), cos(x))),
  Asin: floats(asin),
  Acos: floats((x) => sub(Math.PI / 2, asin(x))),
  Atan: floats(atan),
  Sinh: floats((x) => mul(sub(exp(x), exp(neg(x))), 0.5)),
  Cosh: floats((x) => mul(add(exp(x), exp(neg(x))), 0.5)),
  Tanh: floats((x) => tanh(x)),
  Asinh: floats(asinh),
  Acosh: floats((x) => log(add(x, sqrt(sub(mul(x, x), 1))))),
  Atanh: floats((x) => mul(log(div(add(1, x), sub(1, x))), 0.5)),
  Sigmoid: floats((x) => sigmoid(x)),
  HardSigmoid: floats((x, n) => hardSigmoid(x, n.float("alpha", 0.2), n.float("beta", 0.5))),
  HardSwish: floats((x) => mul(x, hardSigmoid(x, 1 / 6, 0.5))),
  Swish: floats((x, n) => (n.float("alpha", 1) === 1 ? silu(x) : mul(x, sigmoid(mul(x, n.float("alpha", 1)))))),
  Mish: floats((x) => mul(x, tanh(softplus(x)))),
  Relu: unary((x) => (isFloatNode(x) ? relu(x) : max(x, 0))),
  LeakyRelu: floats((x, n) => select(lt(x, 0), mul(x, n.float("alpha", 0.01)), x)),
  ThresholdedRelu: floats((x, n) => select(gt(x, n.float("alpha", 1)), x, 0)),
  PRelu: { build: prelu },
  Elu: floats((x, n) => above(x, mul(ops.expm1(min(x, 0)), n.float("alpha", 1)))),
  Selu: floats((x, n) => {
    const alpha = n.float("alpha", 1.6732631921768188);
    return mul(above(x, mul(ops.expm1(min(x, 0)), alpha)), n.float("gamma", 1.0507010221481323));
  }),
  Celu: floats((x, n) => {
    const alpha = n.float("alpha", 1);
    return add(max(x, 0), min(mul(ops.expm1(div(min(x, 0), alpha)), alpha), 0));
  }),
  Gelu: floats((x, n) => (n.choice("approximate", "none", ["none", "tanh"]) === "tanh" ? geluTanh(x) : gelu(x))),
  "com.microsoft.Gelu": floats((x) => gelu(x)),
  "com.microsoft.QuickGelu": floats((x, n) => mul(x, sigmoid(mul(x, n.float("alpha", 1.702))))),
  "com.microsoft.BiasGelu": { build: (n) => pointwise(n, [n.in(0), n.in(1)], ([x, bias]) => gelu(add(x!, bias!))) },
  "com.microsoft.FastGelu": {
    build: (n) =>
      pointwise(n, n.inputs[1] ? [n.in(0), n.in(1)] : [n.in(0)], ([x, bias]) => geluTanh(bias ? add(x!, bias) : x!)),
  },
  Softplus: floats(softplus),
  Softsign: floats((x) => div(x, add(1, abs(x)))),
  Shrink: unary((x, n) => {
    const bound = n.float("lambd", 0.5);
    const bias = n.float("bias", 0);
    const y = isFloatNode(x) ? x : cast(x, "f32");
    const made = select(lt(y, -bound), add(y, bias), select(gt(y, bound), sub(y, bias), 0));
    return isFloatNode(x) ? made : cast(made, x.type.dtype);
  }),
  IsNaN: { build: (n) => pointwise(n, [n.in(0)], ([x]) => isNaN_(x!), boolean) },
  IsInf: {
    build: (n) =>
      pointwise(
        n,
        [n.in(0)],
        ([x]) => {
          const infinite = isInfinite(x!.type.dtype === "f16" ? cast(x!, "f32") : x!);
          const [negative, positive] = [n.flag("detect_negative", true), n.flag("detect_positive", true)];
          if (negative && positive) return infinite;
          if (!negative && !positive) return lt(abs(x!), 0);
          return ops.and(infinite, positive ? gt(x!, 0) : lt(x!, 0));
        },
        boolean,
      ),
  },
  Add: binary((a, b) => add(a, b), addDims),
  Sub: binary((a, b) => sub(a, b), subDims),
  Mul: binary((a, b) => mul(a, b), mulDims),
  Div: binary(integerDivision, dividedSizes),
  Mod: { build: remainder, onSizes: (a, b) => (typeof b === "number" && isMultipleOf(a, b) ? 0 : undefined) },
  Pow: { build: power },
  Max: folded(
    (a, b) => max(a, b),
    undefined,
    (...all) =>
      all.reduce<Dim | undefined>(
        (a, b) => (a === undefined ? a : certainly(a, ">=", b) ? a : certainly(b, ">=", a) ? b : undefined),
        all[0],
      ),
  ),
  Min: folded(
    (a, b) => min(a, b),
    undefined,
    (...all) =>
      all.reduce<Dim | undefined>(
        (a, b) => (a === undefined ? a : certainly(a, ">=", b) ? b : certainly(b, ">=", a) ? a : undefined),
        all[0],
      ),
  ),
  Sum: folded((a, b) => add(a, b)),
  Mean: folded(
    (a, b) => add(a, b),
    (x, count) => mul(x, 1 / count),
  ),
  Equal: compare(
    (a, b) => eq(a, b),
    (a, b) => (a === b ? 1 : certainly(a, ">", b) || certainly(b, ">", a) ? 0 : undefined),
  ),
  Less: compare(
    (a, b) => lt(a, b),
    (a, b) => (certainly(b, ">", a) ? 1 : certainly(a, ">=", b) ? 0 : undefined),
  ),
  LessOrEqual: compare(
    (a, b) => le(a, b),
    (a, b) => (certainly(b, ">=", a) ? 1 : certainly(a, ">", b) ? 0 : undefined),
  ),
  Greater: compare(
    (a, b) => gt(a, b),
    (a, b) => (certainly(a, ">", b) ? 1 : certainly(b, ">=", a) ? 0 : undefined),
  ),
  GreaterOrEqual: compare(
    (a, b) => ge(a, b),
    (a, b) => (certainly(a, ">=", b) ? 1 : certainly(b, ">", a) ? 0 : undefined),
  ),
  And: binary((a, b) => ops.and(a, b)),
  Or: binary((a, b) => ops.or(a, b)),
  Xor: binary((a, b) => ne(cast(a, "i32"), cast(b, "i32"))),
  Not: unary((x) => not(x)),
  Where: { build: where, onSizes: (c, a, b) => (c === 1 ? a : c === 0 ? b : undefined) },
  Clip: { build: clip },
  Cast: { build: (n) => storedWider(n) ?? castTo(n, elementType(n.int("to"), "the result")), onSizes: whole },
  CastLike: { build: (n) => castTo(n, n.in(1).type), onSizes: whole },
};

const isFloatNode = (x: Node): boolean => x.type.dtype === "f32" || x.type.dtype === "f16";
