/** Fixtures made by PyTorch (scripts/reference), and what compares our graphs with them. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  differentiate,
  dimValue,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  type Node,
  type SizedAxis,
  type TensorType,
  topological,
} from "../../compiler/index.ts";
import { type CheckpointPlace, checkpointLayout, type TensorRule } from "../../dsl/index.ts";

import { openSafetensors } from "../../runtime/safetensors/reader.ts";
import { seeded } from "../support/samples.ts";

const folder = fileURLToPath(new URL("../fixtures/models", import.meta.url));

/** Norm, and product with cos(1), cos(2) ... in the published order: two numbers that tell a tensor. */
export type Digest = readonly [number, number];

export interface Fixture<Facts> {
  readonly facts: Facts;
  /** "weights/...", "inputs/..." and "expected/...", with axes d0, d1 ... */
  readonly tensors: ReadonlyMap<string, HostTensor>;
}

export async function loadFixture<Facts>(name: string): Promise<Fixture<Facts>> {
  await using reader = await openSafetensors(join(folder, `${name}.safetensors`));
  const tensors = new Map<string, HostTensor>();
  for (const [key, { dtype }] of reader.tensors)
    tensors.set(key, await reader.readTensor(key, dtype === "F16" ? { dtype: "f32" } : {}));
  return { facts: JSON.parse(reader.metadata.get("facts")!) as Facts, tensors };
}

export function tensorOf(fixture: Fixture<unknown>, name: string): HostTensor {
  const found = fixture.tensors.get(name);
  if (!found) throw new Error(`the fixture has no tensor ${name}`);
  return found;
}

const sized = (type: TensorType) => type.axes as readonly SizedAxis[];

/** The fixture's weights as values of the graph's parameters, by path. */
export function weightsOf(
  fixture: Fixture<unknown>,
  graph: Graph,
  rules: readonly TensorRule[],
): Map<string, HostTensor> {
  const parameters = new Map(graph.inputs.map((n) => [inputName(n), n]));
  return new Map(
    checkpointLayout(graph, rules).map((p) => {
      const { type } = parameters.get(p.parameter)!;
      const found = tensorOf(fixture, `weights/${p.name}`);
      const shape = found.axes.map((a) => a.size);
      if (shape.join() !== p.shape.join()) throw new Error(`${p.name} is [${shape}], the layout says [${p.shape}]`);
      const axes = sized(type);
      const stored = p.order.map((name) => axes.find((a) => a.name === name)!);
      const places = placesIn(p, stored);
      const own = hostTensor(
        "f32",
        stored,
        Float32Array.from(places, (at) => found.data[at]!),
      );
      return [
        p.parameter,
        permuted(
          own,
          axes.map((a) => a.name),
        ),
      ];
    }),
  );
}

/** Where each element of a parameter lies in the tensor that it may share, in stored order. */
function placesIn({ shared = [] }: CheckpointPlace, stored: readonly SizedAxis[]): number[] {
  let places = [0];
  for (let i = 0; i <= stored.length; i++) {
    const held = shared.filter((s) => s.before === i);
    const along = held.find((s) => s.along !== undefined);
    for (const { at, size } of held.filter((s) => s !== along)) places = places.map((place) => place * size + at);
    const { at: first, size } = along ?? { at: 0, size: stored[i]?.size ?? 1 };
    const count = stored[i]?.size ?? 1;
    places = places.flatMap((place) => Array.from({ length: count }, (_, at) => place * size + first + at));
  }
  return places;
}

/** The same tensor with its axes in another order, in memory too. */
export function permuted(x: HostTensor, order: readonly string[]): HostTensor {
  const axes = order.map((name) => x.axes.find((a) => a.name === name)!);
  const steps = order.map((name) =>
    x.axes.slice(x.axes.findIndex((a) => a.name === name) + 1).reduce((n, a) => n * a.size, 1),
  );
  const data = x.data.slice();
  for (let i = 0; i < data.length; i++) {
    let [rest, from] = [i, 0];
    for (let d = axes.length - 1; d >= 0; d--) {
      from += (rest % axes[d]!.size) * steps[d]!;
      rest = Math.floor(rest / axes[d]!.size);
    }
    data[i] = x.data[from]!;
  }
  return { dtype: x.dtype, axes, data };
}

/** A fixture tensor as an input's value: the same elements under the input's axes. */
export function fed(node: Node, x: HostTensor): HostTensor {
  const axes = node.type.axes.map((a, i) => ({ name: a.name, size: x.axes[i]!.size }));
  return hostTensor(node.type.dtype, axes, x.data);
}

/** The digest of a tensor given in our axis order, taken in the published order. */
export const digest = (value: HostTensor, place: CheckpointPlace): Digest => jointDigest([{ value, place }]);

/** The digest of the tensor that holds these, given in our axis order, taken in the published order. */
function jointDigest(held: readonly { readonly value: HostTensor; readonly place: CheckpointPlace }[]): Digest {
  const data: number[] = [];
  for (const { value, place } of held) {
    const own = permuted(value, place.order);
    for (const [i, at] of placesIn(place, own.axes).entries()) data[at] = own.data[i]!;
  }
  return [Math.hypot(...data), data.reduce((total, v, i) => total + v * Math.cos(i + 1), 0)];
}

/** The fixture's inputs under the axes of the graph's inputs. */
export function feedsOf(fixture: Fixture<unknown>, graph: Graph): Record<string, HostTensor> {
  const fedNodes = graph.inputs.filter((n) => n.op === "input" && n.attrs.role !== "state");
  return Object.fromEntries(fedNodes.map((n) => [inputName(n), fed(n, tensorOf(fixture, `inputs/${inputName(n)}`))]));
}

/** The fixture's draws that choose the patches kept in training: [batch, token]. */
export function keepDraws(fixture: Fixture<unknown>): HostTensor {
  const { axes, data } = tensorOf(fixture, "inputs/keep");
  return hostTensor(
    "f32",
    ["batch", "token"].map((name, i) => ({ name, size: axes[i]!.size })),
    data,
  );
}

/** The graph's outputs and, by path, the gradient of the output "loss" for every parameter it depends on. */
export function withGradients(graph: Graph): Graph {
  const loss = graph.outputs.find((o) => o.name === "loss")!.node;
  const parameters = topological([loss]).filter((n) => n.op === "parameter");
  const gradients = differentiate(loss, parameters);
  return makeGraph(graph.name, [
    ...graph.outputs,
    ...parameters.map((n, i) => ({ name: inputName(n), node: gradients[i]! })),
  ]);
}

/** Below this a gradient is rounding: that of a bias of attention's keys, say, which softmax does not see. */
export const noGradient = 1e-3;

/**
 * The worst disagreement of gradients with PyTorch's digests, relative to the norm, with the tensor's name.
 * Every gradient of the graph must be in the fixture, and the other way round.
 */
export function gradientDifference(
  got: Readonly<Record<string, HostTensor>>,
  want: Readonly<Record<string, Digest>>,
  published: readonly CheckpointPlace[],
): { readonly name: string; readonly difference: number } {
  const mine = published.filter((t) => t.parameter in got);
  const alone = mine.map((t) => t.name).filter((n) => !(n in want));
  const missing = Object.keys(want).filter((n) => !mine.some((t) => t.name === n));
  if (alone.length + missing.length > 0) throw new Error(`only here: ${alone}; only there: ${missing}`);
  const differences = [...new Set(mine.map((t) => t.name))].map((name) => {
    const held = mine.filter((t) => t.name === name).map((place) => ({ place, value: got[place.parameter]! }));
    const [norm, product] = jointDigest(held);
    const [wantNorm, wantProduct] = want[name]!;
    const apart = Math.max(Math.abs(norm - wantNorm), Math.abs(product - wantProduct));
    return { name, difference: apart / Math.max(wantNorm, noGradient) };
  });
  return differences.reduce((a, b) => (b.difference > a.difference ? b : a));
}

/** The largest magnitude. */
export const largest = (x: ArrayLike<number>): number =>
  Array.from(x).reduce((top, v) => Math.max(top, Math.abs(v)), 0);

/**
 * The largest difference of two lists of numbers, relative to the largest of those wanted, or to `least` if that is
 * more.
 */
export function difference(got: ArrayLike<number>, want: ArrayLike<number>, least = 1e-12): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  const size = Math.max(largest(want), least);
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Math.abs(got[i]! - want[i]!) / size;
    worst = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(worst, d);
  }
  return worst;
}

/** Weights that nobody made: uniform in ±1/√(last axis), ones shifted, so that no mistake hides behind 0 or 1. */
export function anyWeights(graph: Graph, seed: number): Map<string, HostTensor> {
  const next = seeded(seed);
  const parameters = graph.inputs.filter((n) => n.op === "parameter");
  return new Map(
    parameters.map((n) => {
      const axes = sized(n.type);
      const [base, spread] = axes.length < 2 ? [0.6, 1] : [0, 3 / Math.sqrt(axes.at(-1)!.size)];
      const length = axes.reduce((k, a) => k * a.size, 1);
      const data = Float32Array.from({ length }, () => base + spread * (next() - 0.5));
      return [inputName(n), hostTensor("f32", axes, data)];
    }),
  );
}

/** Feeds of the shapes that the graph's inputs have: floats in ±1.5, integers of [low, high]. */
export function anyFeeds(
  graph: Graph,
  sizes: Readonly<Record<string, number>>,
  seed: number,
  [low, high]: readonly [number, number] = [1, 2],
): Record<string, HostTensor> {
  const next = seeded(seed);
  const nodes = graph.inputs.filter((n) => n.op !== "parameter");
  return Object.fromEntries(
    nodes.map((n) => {
      const axes = n.type.axes.map((a) => ({ name: a.name, size: dimValue(a.size, sizes) }));
      const draw = () => (n.type.dtype === "f32" ? 3 * next() - 1.5 : low + Math.floor(next() * (high - low + 1)));
      const length = axes.reduce((k, a) => k * a.size, 1);
      return [inputName(n), hostTensor(n.type.dtype, axes, Array.from({ length }, draw))];
    }),
  );
}
