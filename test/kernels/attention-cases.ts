/**
 * Attention of many shapes as graphs, and kernels of one schedule for them, run in the interpreter against the
 * reference.
 */
import { evaluate } from "../../backends/reference/index.ts";
import {
  type AdapterFacts,
  type Axis,
  baselineFacts,
  compileKernels,
  differentiate,
  type Graph,
  inputName,
  kernelIr,
  lowering,
  makeGraph,
  type Node,
  ops,
  type Program,
} from "../../compiler/index.ts";
import { draw, excess, seeded } from "../support/samples.ts";
import { interpretProgram } from "./support.ts";

export interface Shape {
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly width?: number;
  readonly dtype?: "f16" | "f32";
  readonly batch?: number;
  readonly heads?: number;
  /** Query heads of each key head. */
  readonly group?: number;
  readonly mask?: "causal" | "padding" | "all hidden" | "some rows hidden" | "stored";
  /** A tensor added to the logits, with these of their axes; or relative positions with a slope a head. */
  readonly bias?: readonly ("b" | "h" | "group" | "query" | "key")[] | "alibi";
  /** Of the bias: elements as low as hide a key. */
  readonly hides?: boolean;
  /** The gradients too, or only these. */
  readonly gradients?: readonly ("q" | "k" | "v" | "bias")[];
  /**
   * What surrounds q, k and v: a rotation and a norm, as expressions of the same kernel where the fusion puts them
   * there.
   */
  readonly around?: boolean;
  /** Largest elements of q and k, so that logits are large; growing along the keys. */
  readonly low?: number;
  readonly high?: number;
  readonly growing?: boolean;
  readonly scale?: number;
  readonly softcap?: number;
}

const axis = (name: string, size: number) => ({ name, size });

function maskNode({ mask, queries, keys, batch = 1 }: Shape): Node | undefined {
  const [query, key] = [ops.iota(axis("query", queries)), ops.iota(axis("key", keys))];
  if (mask === "causal") return ops.le(key, query);
  if (mask === "padding") return ops.lt(key, ops.input("length", "i32", [axis("b", batch)]));
  if (mask === "all hidden") return ops.lt(key, ops.mul(query, 0));
  if (mask === "some rows hidden") return ops.lt(ops.add(key, 3), query);
  if (mask === "stored") return ops.input("visible", "bool", [axis("query", queries), axis("key", keys)]);
  return undefined;
}

function biasNode({ bias, queries, keys, batch = 1, heads = 1, group = 1 }: Shape): Node | undefined {
  if (bias === "alibi") {
    const [query, key] = [ops.iota(axis("query", queries)), ops.iota(axis("key", keys))];
    return ops.mul(ops.cast(ops.sub(key, query), "f32"), ops.input("slope", "f32", [axis("h", heads)]));
  }
  const sizes = { b: batch, h: heads, group, query: queries, key: keys };
  return (
    bias &&
    ops.input(
      "bias",
      "f32",
      bias.map((name) => axis(name, sizes[name])),
    )
  );
}

/** The result, its gradients where asked for, of a random cotangent. */
export function attentionGraph(s: Shape): Graph {
  const { queries, keys, dim, width = dim, dtype = "f16", batch = 1, heads = 1, group = 1 } = s;
  const groups = group > 1 ? [axis("group", group)] : [];
  const input = (name: string, axes: readonly Axis[]) => ops.input(name, dtype, axes);
  const q = input("q", [axis("b", batch), axis("query", queries), axis("h", heads), ...groups, axis("d", dim)]);
  const k = input("k", [axis("b", batch), axis("key", keys), axis("h", heads), axis("d", dim)]);
  const v = input("v", [axis("b", batch), axis("h", heads), axis("key", keys), axis("w", width)]);
  const turned = (x: Node) => (s.around ? ops.mul(x, ops.input(`${inputName(x)}_gain`, dtype, [axis("d", dim)])) : x);
  const scale = s.scale ?? dim ** -0.5;
  const cap = s.softcap === undefined ? {} : { softcap: s.softcap };
  const [bias, axes] = [biasNode(s), { dot: "d", over: "key", scale, ...cap }];
  const y = bias
    ? ops.biasedAttention(turned(q), turned(k), v, bias, axes, maskNode(s))
    : ops.attention(turned(q), turned(k), v, axes, maskNode(s));
  const named: [string, Node][] = [["y", s.around ? ops.add(y, input("residual", y.type.axes)) : y]];
  if (s.gradients) {
    const dy = ops.input("dy", dtype, y.type.axes);
    const all = y.type.axes.map((a) => a.name);
    const loss = ops.reduceSum(ops.cast(ops.mul(y, dy), "f32"), all);
    const wanted = { q, k, v, bias: bias ?? q };
    const grads = differentiate(
      loss,
      s.gradients.map((n) => wanted[n]),
    );
    for (const [i, n] of s.gradients.entries()) named.push([`d${n}`, grads[i]!]);
  }
  return makeGraph(
    "attention",
    named.map(([name, node]) => ({ name, node })),
  );
}

export function attentionValues(graph: Graph, s: Shape): Map<string, Float64Array> {
  const next = seeded(5);
  const { low = -2, high = 2 } = s;
  return new Map(
    graph.inputs.map((n) => {
      const name = inputName(n);
      if (name === "length") return [name, Float64Array.from({ length: s.batch ?? 1 }, (_, i) => 1 + i * 2)];
      if (name === "visible")
        return [name, draw(n.type, { low: 0, high: 1, integer: true }, next).map((x) => (x > 0.5 ? 1 : 0))];
      if (name === "bias" && s.hides) {
        const drawn = draw(n.type, { low: -2, high: 2 }, next);
        return [name, drawn.map((x, i) => (i < s.keys ? -1e30 : x < -1 ? -3e38 : x))]; // the first row sees nothing
      }
      const large = name === "q" || name === "k";
      const drawn = draw(n.type, large ? { low, high } : { low: -2, high: 2 }, next);
      const ramp = s.growing && name === "k";
      const per = drawn.length / s.keys;
      const values = drawn.map((x, i) =>
        ramp ? (Math.floor(i / per) / s.keys) * high : name === "q" && s.growing ? Math.abs(x) : x,
      );
      return [name, n.type.dtype === "f16" ? values.map((x) => Math.f16round(x)) : values];
    }),
  );
}

/** The tables with only one attention schedule, and of its settings only those that `keep` says. */
export const onlyAttention = (name: string, keep: (s: lowering.Settings) => boolean): lowering.ScheduleTables => {
  const { attention } = lowering.scheduleTables;
  const schedules = attention.schedules
    .filter((s) => s.name === name)
    .map((s) => ({
      ...s,
      settings: (facts: AdapterFacts) => {
        const all = s.settings(facts);
        return typeof all === "string" ? all : all.filter(keep);
      },
    }));
  return { ...lowering.scheduleTables, attention: { ...attention, schedules } };
};

export const recorded = (name: keyof typeof kernelIr.recordedAdapters): AdapterFacts => ({
  ...baselineFacts,
  ...kernelIr.recordedAdapters[name].facts,
});

export const attentionKernels = (program: Program) => program.kernels.filter((k) => k.kind === "attention");

/** Compiles, checks every attention kernel against the adapter, runs, and says what is off. */
export function check(
  s: Shape,
  facts: AdapterFacts,
  schedules: lowering.ScheduleTables,
  tolerance: number,
): { program: Program; mistakes: string[] } {
  const graph = attentionGraph(s);
  const program = compileKernels(graph, facts, { schedules });
  const infeasible = attentionKernels(program).flatMap((k) => kernelIr.checkFeasible(k.kernel, facts));
  const values = attentionValues(graph, s);
  const got = interpretProgram(program, values);
  const wrong = [...evaluate(graph, values)].flatMap(([name, want]) => {
    const over = excess(got.get(name)!, want.data, tolerance, tolerance);
    return over > 0 ? [`${name} is off by ${over} more than is granted`] : [];
  });
  return { program, mistakes: [...infeasible, ...wrong] };
}
