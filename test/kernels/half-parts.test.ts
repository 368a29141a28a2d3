/**
 * A step in parts on a device that computes in f16, kernel by kernel in the interpreter: gradients are those of the
 * step as one graph, and what parts hand on takes what the whole graph has it as. Never run on hardware.
 */
import { describe, expect, test } from "vitest";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  type DType,
  dtypeBytes,
  elementsOf,
  type Graph,
  halvesInMemory,
  inputName,
  isState,
  runProgram,
} from "../../compiler/index.ts";
import {
  axis,
  crossEntropy,
  defineStage,
  input,
  linear,
  mean,
  type Params,
  sgd,
  trainingStep,
} from "../../dsl/index.ts";
import { rangesOf } from "../../runtime/collectives/index.ts";
import { fillRandom } from "../../runtime/random/streams.ts";
import { cutGraph, handedOn, isHandedOn, partsOptions } from "../../runtime/sharding/graph-parts.ts";
import { stepParts } from "../../runtime/sharding/step-parts.ts";
import { initialValue } from "../../runtime/training/state.ts";
import { encoder } from "./models.ts";

const facts = { ...baselineFacts, maxBindings: 10, software: true, features: new Set(["f16"] as const) };
const vit = { batch: 3, tokens: 5, width: 6, heads: 2, mlp: 9, depth: 2 };

const loss = (p: Params) => {
  const [kind, batch] = [axis("class", 4), axis("batch", vit.batch)];
  const pooled = mean(encoder(p, vit), axis("token", vit.tokens));
  const logits = linear(p.scope("head"), pooled, [axis("embed", vit.width)], [kind]);
  return { loss: mean(crossEntropy(logits, input("label", "i32", [batch]), kind), batch) };
};

const stage = defineStage({
  name: "small",
  precision: "f16",
  loss,
  optimizer: { rate: (step) => step, weightDecay: 0, rule: sgd() },
});
const own = { count: 2, own: { first: 0, count: 1 } };
const shard = (elements: number) => rangesOf(elements, 2)[0]!;
const step = trainingStep(stage).inParts({ ...own, shard, divided: "weights" });
const divided = step.accumulation!.shared!.shard!.divided!;

type Values = Map<string, ArrayLike<number>>;

const begin = (): Values => {
  const values: Values = new Map(step.trained.map((n) => [inputName(n), initialValue(n, 3).data]));
  values.set("x", fillRandom({ kind: "normal", mean: 0, std: 1 }, [vit.batch, vit.tokens, vit.width], 5, "x"));
  values.set("label", [0, 1, 2]);
  values.set(step.lossScale!.state, [64]);
  return values;
};

/** Runs a graph, which reads what is held, or zeros, and changes it. */
function run(graph: Graph, held: Values): ReadonlyMap<string, ArrayLike<number>> {
  const inputs = graph.inputs.map((n) => [inputName(n), held.get(inputName(n)) ?? zeros(elementsOf(n.type))] as const);
  const { outputs, inputs: after } = runProgram(compileKernels(graph, facts, { precision: "f16" }), new Map(inputs));
  for (const n of graph.inputs.filter(isState)) held.set(inputName(n), after.get(inputName(n))!);
  return outputs;
}

const zeros = (length: ReturnType<typeof elementsOf>) => new Float32Array(Number(length));

/** Gradients of all parameters, and bytes and dtypes of what parts hand on. */
function inParts(graph: Graph, most: number, isHalf: boolean) {
  const cut = cutGraph(graph, most, {}, divided.given);
  const halves = isHalf ? { halves: halvesInMemory(cut.whole) } : {};
  const parts = stepParts(cut, step, {}, handedOn(), { ...partsOptions(divided), ...halves });
  const places = new Map<string, { dtype: DType; bytes: number }>();
  const held = begin();
  const gradients = new Map<string, ArrayLike<number>>();
  for (const part of parts) {
    for (const n of part.graph.inputs.filter((n) => isState(n) && isHandedOn(inputName(n)))) {
      const { dtype } = n.type;
      places.set(inputName(n), { dtype, bytes: Number(elementsOf(n.type)) * dtypeBytes[dtype] });
    }
    const outputs = run(part.graph, held);
    for (const [output, parameter] of part.gradients) gradients.set(parameter, outputs.get(output)!);
  }
  const bytes = [...places.values()].reduce((n, p) => n + p.bytes, 0);
  const values = parts.flatMap(({ graph }) => Object.keys(graph.updates)).filter(isHandedOn).length;
  const dtypes = new Set([...places.values()].map((p) => p.dtype));
  return { parts: parts.length, gradients, bytes, dtypes, values, places: places.size };
}

const flat = (gradients: ReadonlyMap<string, ArrayLike<number>>) =>
  [...gradients].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, g]) => Array.from(g));

/** The largest difference beside the norm of what is wanted. */
const difference = (got: readonly number[], want: readonly number[]) =>
  Math.hypot(...got.map((x, i) => x - want[i]!)) / Math.hypot(...want);

describe("a step in parts, in f16", () => {
  const graph = bindSizes(step.graph, {});
  const whole = inParts(graph, 2 ** 28, true);
  const half = inParts(graph, 400, true);
  const wide = inParts(graph, 400, false);

  test("hands on halves where the whole graph has them in memory", () => {
    expect(whole.parts).toBe(1);
    expect(half.parts).toBeGreaterThan(4);
    expect([...half.dtypes].sort()).toEqual(["f16", "f32"]); // the residual stream is f32
    expect([...wide.dtypes]).toEqual(["f32"]);
    expect(half.bytes).toBeLessThan(0.75 * wide.bytes);
  });

  test("reuses the memory of a value after its last reader", () => {
    expect(half.values).toBeGreaterThan(10);
    expect(half.places).toBeLessThan(half.values);
  });

  test("gives the gradients of the whole graph, within what f16 rounds", () => {
    const want = flat(whole.gradients);
    expect(flat(half.gradients).length).toBe(want.length);
    expect(difference(flat(half.gradients), want)).toBeLessThan(2 ** -9);
    expect(difference(flat(wide.gradients), want)).toBeLessThan(2 ** -9);
    expect(Math.hypot(...want)).toBeGreaterThan(1);
  });
});
