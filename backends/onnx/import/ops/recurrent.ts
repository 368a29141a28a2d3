/** Recurrent layers, fully unrolled over the sequence. */
import { type Dim, mulDims, type Node, ops } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import type { NodeView } from "../node-view.ts";
import type { ImportRecord, Records } from "../record.ts";
import { elements, known, type Tensor, type Value } from "../values.ts";
import { matmul } from "./products.ts";
import { concatAlong, rangeOf } from "./ranges.ts";
import { permuted, reshapeTo } from "./shapes.ts";

const { add, mul, sub } = ops;

/** Limit on unrolled steps. */
const mostSteps = 512;

const activations: Readonly<Record<string, (x: Node) => Node>> = {
  Sigmoid: (x) => ops.sigmoid(x),
  Tanh: (x) => ops.tanh(x),
  Relu: (x) => ops.relu(x),
  HardSigmoid: (x) => ops.min(ops.max(add(mul(x, 0.2), 0.5), 0), 1),
  Softsign: (x) => ops.div(x, add(1, ops.abs(x))),
  Softplus: (x) => ops.log(add(1, ops.exp(x))),
};

type Activation = (x: Value) => Value;

/** The step-invariant part of one direction. */
interface Layer {
  readonly n: NodeView;
  readonly hidden: Dim;
  /** [hidden, gates · hidden] */
  readonly recurrent: Value;
  /** Bias of the recurrent product, [gates · hidden]; the input bias is already in each step's `x`. */
  readonly bias: Value | undefined;
  readonly peepholes: Value | undefined;
  readonly activations: readonly Activation[];
}

interface State {
  readonly h: Value;
  readonly c?: Value;
}

/** One step, from the input's contribution to the gates, [batch, gates · hidden]. */
type Step = (layer: Layer, x: Value, before: State) => State;

interface Cell {
  readonly gates: number;
  readonly usual: readonly string[];
  readonly step: Step;
  readonly hasCell?: true;
}

const sum = (n: NodeView, a: Value, b: Value): Value => pointwise(n, [a, b], ([x, y]) => add(x!, y!));
const product = (n: NodeView, a: Value, b: Value): Value => pointwise(n, [a, b], ([x, y]) => mul(x!, y!));

/** Gate k of [batch, gates · hidden]. */
const gate = ({ n, hidden }: Layer, x: Value, k: number): Value =>
  rangeOf(n, x, x.shape.length - 1, mulDims(hidden, k), hidden);

const recurred = (layer: Layer, h: Value): Value => {
  const made = matmul(layer.n, h, layer.recurrent);
  return layer.bias ? sum(layer.n, made, layer.bias) : made;
};

const plain: Step = (layer, x, { h }) => ({ h: layer.activations[0]!(sum(layer.n, x, recurred(layer, h))) });

const gru: Step = (layer, x, { h }) => {
  const { n, hidden, recurrent, bias } = layer;
  const [f, g] = layer.activations as [Activation, Activation];
  const all = recurred(layer, h);
  const [z, r] = [0, 1].map((k) => f(sum(n, gate(layer, x, k), gate(layer, all, k)))) as [Value, Value];
  const last = (v: Value) => gate(layer, v, 2);
  const inner = (): Value => {
    if (n.flag("linear_before_reset")) return product(n, r, last(all));
    const made = matmul(n, product(n, r, h), rangeOf(n, recurrent, 1, mulDims(hidden, 2), hidden));
    return bias ? sum(n, made, last(bias)) : made;
  };
  const fresh = g(sum(n, last(x), inner()));
  return { h: pointwise(n, [z, fresh, h], ([keep, y, old]) => add(mul(sub(1, keep!), y!), mul(keep!, old!))) };
};

const lstm: Step = (layer, x, { h, c }) => {
  const { n, peepholes } = layer;
  const [f, g, last] = layer.activations as [Activation, Activation, Activation];
  const all = sum(n, x, recurred(layer, h));
  const seen = (k: number, cell: Value): Value => {
    const own = gate(layer, all, k);
    return peepholes ? sum(n, own, product(n, cell, gate(layer, peepholes, k))) : own;
  };
  // Gate order: input, output, forget, cell; peephole order: input, output, forget.
  const input = f(seen(0, c!));
  const forget = n.flag("input_forget") ? pointwise(n, [input], ([i]) => sub(1, i!)) : f(seen(2, c!));
  const cell = sum(n, product(n, forget, c!), product(n, input, g(gate(layer, all, 3))));
  return { h: product(n, f(seen(1, cell)), last(cell)), c: cell };
};

function recurrent({ gates, usual, step, hasCell }: Cell): ImportRecord {
  return {
    build: (n) => layers(n, { gates, usual, step, ...(hasCell && { hasCell }) }),
    roles: ["time", "batch", "feature"],
  };
}

function layers(n: NodeView, cell: Cell): readonly Value[] {
  const isBatchFirst = n.flag("layout");
  const { x, time } = sequence(n, isBatchFirst);
  const batch = x.shape[1]!;
  const direction = n.choice("direction", "forward", ["forward", "reverse", "bidirectional"]);
  const directions = direction === "bidirectional" ? [false, true] : [direction === "reverse"];
  const hidden = hiddenSize(n, cell, direction, directions.length);
  const names = activationNames(n, cell, directions.length);
  const made = directions.map((isReverse, d) => {
    const own = names?.slice(d * cell.usual.length, (d + 1) * cell.usual.length) ?? cell.usual;
    return oneDirection(n, cell, { x, d, isReverse, names: own, batch, hidden, time });
  });
  /** A value of each direction: [direction, batch, hidden] */
  const stack = (of: (m: (typeof made)[number]) => Value) => {
    const values = made.map((m) => reshapeTo(n, of(m), [1, batch, hidden]));
    return concatAlong(n, values, 0);
  };
  const outputs = Array.from({ length: time }, (_, t) =>
    reshapeTo(
      n,
      stack((m) => m.outputs[t]!),
      [1, made.length, batch, hidden],
    ),
  );
  const y = n.tensor(concatAlong(n, outputs, 0)); // [time, direction, batch, hidden]
  const last = [stack((m) => m.last.h), ...(cell.hasCell ? [stack((m) => m.last.c!)] : [])];
  if (!isBatchFirst) return [y, ...last];
  return [permuted(n, y, [2, 0, 1, 3]), ...last.map((s) => permuted(n, s, [1, 0, 2]))];
}

/** The sequence as [time, batch, feature], of a number of steps that can be unrolled. */
function sequence(n: NodeView, isBatchFirst: boolean) {
  const given = n.x(0, isBatchFirst ? ["batch", "time", "feature"] : ["time", "batch", "feature"]);
  if (given.shape.length !== 3) throw n.fail(`the sequence must have three dimensions, got ${given.shape.length}`);
  const x = isBatchFirst ? permuted(n, given, [1, 0, 2]) : given;
  const [time] = x.shape;
  if (typeof time !== "number" || time > mostSteps)
    throw n.fail(
      `a sequence of ${time} steps cannot be unrolled, the limit is ${mostSteps} steps: set its length when importing`,
    );
  return { x, time };
}

/** The size of the state, by the shapes of weights and bias, which must match. */
function hiddenSize(n: NodeView, cell: Cell, direction: string, directions: number) {
  const [weights, states] = [n.in(1), n.in(2)];
  const hidden = states.shape[2]!;
  if (
    elements(weights) === 0 ||
    elements(states) === 0 ||
    weights.shape.length !== 3 ||
    states.shape.length !== 3 ||
    weights.shape[1] !== states.shape[1] ||
    states.shape[1] !== mulDims(hidden, cell.gates)
  )
    throw n.fail(`weights of [${weights.shape.join(", ")}] and [${states.shape.join(", ")}] do not match`);
  if (weights.shape[0] !== directions)
    throw n.fail(`weights of ${weights.shape[0]} directions do not match the direction ${direction}`);
  if (n.int("hidden_size", hidden as number) !== hidden)
    throw n.fail(`hidden_size is ${n.int("hidden_size")}, but the weights are of ${hidden}`);
  const bias = n.inputs[3]?.shape;
  if (bias && bias.length !== 2) throw n.fail(`a bias of [${bias.join(", ")}] does not match the weights`);
  return hidden;
}

/** The names of the activations of all directions; undefined for the usual ones. */
function activationNames(n: NodeView, { usual }: Cell, directions: number) {
  const names = n.texts("activations");
  const expected = directions * usual.length;
  // The default of an RNN's activations has two also for one direction, and exporters write defaults.
  const isDefault = usual.length === 1 && names?.length === 2;
  if (names && names.length !== expected && !isDefault)
    throw n.fail(`got ${names.length} activations; expected ${expected}`);
  if (names?.includes("HardSigmoid")) requireDefaults(n);
  return names;
}

/** Throws for factors of HardSigmoid, the only activation here that has some, other than the defaults. */
function requireDefaults(n: NodeView): void {
  for (const [name, usual] of [
    ["activation_alpha", 0.2],
    ["activation_beta", 0.5],
  ] as const)
    if (n.floats(name)?.some((value) => Math.abs(value - usual) > 1e-6))
      throw n.fail(`${name} is [${n.floats(name)!.join(", ")}]; supported is ${usual}, the default of HardSigmoid`);
}

interface Direction {
  readonly x: Tensor;
  readonly d: number;
  readonly isReverse: boolean;
  readonly names: readonly string[];
  readonly batch: Dim;
  readonly hidden: Dim;
  readonly time: number;
}

function oneDirection(n: NodeView, cell: Cell, direction: Direction) {
  const { x, isReverse, batch, hidden, time } = direction;
  const { layer, gates } = layerOf(n, cell, direction);
  const lengths =
    n.inputs[4] && elements(n.in(4)) !== 0 ? reshapeTo(n, n.tensor(n.in(4), ["batch"]), [batch, 1]) : undefined;
  let state: State = { h: startOf(n, direction, 5), ...(cell.hasCell && { c: startOf(n, direction, 6) }) };
  const outputs: Value[] = [];
  for (let i = 0; i < time; i++) {
    const t = isReverse ? time - 1 - i : i;
    const now = reshapeTo(n, rangeOf(n, gates, 0, t, 1), [batch, mulDims(hidden, cell.gates)]);
    const next = cell.step(layer, now, state);
    // A sequence that has ended keeps its state and outputs zeros.
    const within = (v: Value, otherwise: Value) =>
      lengths
        ? pointwise(n, [v, otherwise, lengths], ([y, old, length]) => ops.select(ops.gt(length!, t), y!, old!))
        : v;
    const before = state;
    state = { h: within(next.h, before.h), ...(next.c && { c: within(next.c, before.c!) }) };
    outputs[t] = within(next.h, zeros(n, x, [batch, hidden]));
  }
  return { outputs, last: state };
}

/** The layer of a direction, and what the sequence contributes to its gates, [time, batch, gates · hidden]. */
function layerOf(n: NodeView, cell: Cell, { x, d, names, hidden }: Direction): { layer: Layer; gates: Value } {
  const width = mulDims(hidden, cell.gates);
  const part = (i: number, shape: readonly Dim[], base: readonly string[]): Value | undefined => {
    const value = n.inputs[i];
    if (!value || elements(value) === 0) return undefined;
    return reshapeTo(n, rangeOf(n, n.tensor(value, base), 0, d, 1), shape);
  };
  const matrix = (i: number, from: Dim) => permuted(n, part(i, [width, from], ["direction", "gate", "from"])!, [1, 0]);
  const biases = part(3, [mulDims(width, 2)], ["direction", "gate"]);
  const [own, again] = biases ? [rangeOf(n, biases, 0, 0, width), rangeOf(n, biases, 0, width, width)] : [];
  const mixed = matmul(n, x, matrix(1, x.shape[2]!));
  const layer: Layer = {
    ...{ n, hidden, recurrent: matrix(2, hidden), bias: again },
    peepholes: part(7, [mulDims(hidden, 3)], ["direction", "gate"]),
    activations: names.map((name) => activationNamed(n, name)),
  };
  return { layer, gates: own ? sum(n, mixed, own) : mixed };
}

function activationNamed(n: NodeView, name: string): Activation {
  const apply = Object.hasOwn(activations, name) ? activations[name]! : undefined;
  if (!apply) throw n.fail(`unsupported activation "${name}"`);
  const bound = n.has("clip") ? n.float("clip") : undefined;
  return (v) => pointwise(n, [v], ([y]) => apply(bound === undefined ? y! : ops.min(ops.max(y!, -bound), bound)));
}

/** The state before the first step, from an input [direction, batch, hidden]; zeros if it is not given. */
function startOf(n: NodeView, { x, d, batch, hidden }: Direction, i: number): Value {
  const value = n.inputs[i];
  if (!value || elements(value) === 0) return zeros(n, x, [batch, hidden]);
  const turned = n.flag("layout") ? permuted(n, value, [1, 0, 2]) : value;
  return reshapeTo(n, rangeOf(n, n.tensor(turned, ["direction", "batch", "hidden"]), 0, d, 1), [batch, hidden]);
}

/** A zero state, [batch, hidden]. */
function zeros(n: NodeView, like: Tensor, shape: readonly Dim[]): Value {
  const names = ["batch", "hidden"];
  const axes = shape.flatMap((size, i) => (size === 1 ? [] : [{ name: names[i]!, size }]));
  const node = ops.broadcast(n.named(known(like.type, [], [0]), []), axes);
  return { kind: "tensor", type: like.type, shape, axes: shape.map((d, i) => (d === 1 ? undefined : names[i])), node };
}

export const recurrentRecords: Records = {
  RNN: recurrent({ gates: 1, usual: ["Tanh"], step: plain }),
  GRU: recurrent({ gates: 3, usual: ["Sigmoid", "Tanh"], step: gru }),
  LSTM: recurrent({ gates: 4, usual: ["Sigmoid", "Tanh", "Tanh"], step: lstm, hasCell: true }),
};
