/**
 * Models whose weights stream through a device: the same results as with all weights there, and little held at once.
 */
import { describe, expect, it } from "vitest";
import type { Backend, Store } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { elementCount, type HostTensor, keepParametersAs, UsageError } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { cachedSession, deviceModel, generate, offloadedModel, type ParameterSource } from "../../runtime/index.ts";
import tiny from "../cli/tiny-model.ts";
import { generationFixture, weights as llamaWeights, parametersOf, stepGraph } from "../generation/support.ts";
import { anyFeeds, anyWeights, difference } from "../models/support.ts";
import { gpuTest } from "../support/adapter.ts";

const graph = trace(tiny);
const weights = anyWeights(graph, 4);
const feeds = anyFeeds(graph, { batch: 3 }, 5, [1, 200]);
const parameterBytes = [...weights.values()].reduce((n, t) => n + 4 * elementCount(t.axes), 0);

/** In whatever float the graph keeps them. */
const asKept = (values: ReadonlyMap<string, HostTensor>): ParameterSource => ({
  read: async (name, dtype = "f32") => {
    const { axes, data } = values.get(name)!;
    return { dtype, axes, data: dtype === "f16" ? new Float16Array(data) : data };
  },
});

async function expectSame(backend: Backend, dtype: "f32" | "f16", tolerance: number): Promise<void> {
  const kept = keepParametersAs(graph, dtype);
  const resident = await deviceModel(backend, asKept(weights)).session(kept, { batch: 3 });
  const offloaded = await offloadedModel(backend, asKept(weights), { memory: 4000 }).session(kept, { batch: 3 });
  const want = await resident.run(feeds);
  for (let turn = 0; turn < 2; turn++) {
    const got = await offloaded.run(feeds);
    expect(Object.keys(got).sort()).toEqual(Object.keys(want).sort());
    for (const [name, { data }] of Object.entries(want))
      expect(difference(got[name]!.data, data), name).toBeLessThan(tolerance);
  }
  resident.dispose();
  offloaded.dispose();
}

describe("both towers of InternVL-C", () => {
  it.each(["f32", "f16"] as const)("reference, %s", (dtype) => expectSame(referenceBackend(), dtype, 1e-12));
  it.each(["f32", "f16"] as const)("cpu, %s", async (dtype) => expectSame(await cpuBackend(), dtype, 1e-6));
  gpuTest("webgpu, f16", async ({ gpu }) => expectSame(webgpuBackend(gpu), "f16", 1e-6));
});

/** A backend that counts the bytes in its stores. */
function counting(backend: Backend): {
  readonly backend: Backend;
  readonly most: () => number;
  readonly now: () => number;
} {
  let [held, most] = [0, 0];
  const counted = (store: Store): Store => {
    const own = new Map<string, number>();
    return Object.assign(Object.create(store) as Store, {
      write: async (name: string, value: HostTensor) => {
        held += 4 * elementCount(value.axes) - (own.get(name) ?? 0);
        own.set(name, 4 * elementCount(value.axes));
        most = Math.max(most, held);
        await store.write(name, value);
      },
      dispose: () => {
        for (const bytes of own.values()) held -= bytes;
        own.clear();
        store.dispose();
      },
    });
  };
  return {
    backend: { ...backend, createStore: () => counted(backend.createStore()) },
    most: () => most,
    now: () => held,
  };
}

it("holds no more weights at once than it is told", async () => {
  const memory = parameterBytes / 2;
  const { backend, most, now } = counting(await cpuBackend());
  const model = offloadedModel(backend, asKept(weights), { memory });
  const sessions = [await model.session(graph), await model.session(graph)];
  await Promise.all([...sessions, ...sessions].map((session) => session.run(feeds)));
  expect(most()).toBeGreaterThan(memory / 4);
  expect(most()).toBeLessThanOrEqual(memory);
  expect(now()).toBe(0);
});

it("says what it holds where one operation needs more, and frees it when a run fails", async () => {
  const { backend, now } = counting(await cpuBackend());
  const excess: number[] = [];
  let reads = 0;
  const failing: ParameterSource = {
    read: (name, dtype) =>
      reads++ === 5 ? Promise.reject(new UsageError("unreadable")) : asKept(weights).read(name, dtype),
  };
  const model = offloadedModel(backend, failing, { memory: 100, onExcess: (held) => excess.push(held) });
  const session = await model.session(graph);
  await expect(session.run(feeds)).rejects.toThrow("unreadable");
  expect(now()).toBe(0);
  expect(excess).toEqual([expect.any(Number)]);
  expect(Object.keys(await session.run(feeds)).sort()).toEqual(["image", "scale", "text"]);
});

it("tells its parts as they run", async () => {
  const told: string[] = [];
  const onPart = (done: number, total: number) => void told.push(`${done}/${total}`);
  const session = await offloadedModel(referenceBackend(), asKept(weights), { memory: 20_000, onPart }).session(graph);
  await session.run(feeds, { fetch: ["text"] });
  expect(told.length).toBeGreaterThan(2);
  expect(told.at(-1)).toBe(`${told.length - 1}/${told.length - 1}`);
});

it("asks for what it is not fed", async () => {
  const session = await offloadedModel(referenceBackend(), asKept(weights), { memory: 20_000 }).session(graph);
  const { pixels: _, ...rest } = feeds;
  await expect(session.run(rest)).rejects.toThrow(UsageError);
  await expect(session.run(rest)).rejects.toThrow(/graph @tiny cannot run:\n {2}input "pixels" .* is missing/);
  await expect(session.run({ ...feeds, more: feeds.ids! })).rejects.toThrow(/there is no input "more"/);
});

it("writes the same tokens, its cache in host memory", async () => {
  const backend = await cpuBackend();
  const model = offloadedModel(backend, parametersOf(llamaWeights), { memory: 10_000 });
  const c = generationFixture.facts.beam.find((b) => b.prompts.length === 2 && b.beams === 5)!;
  const session = cachedSession(model, stepGraph, { rows: 2 * c.beams!, capacity: 8 });
  const options = { strategy: { kind: "beam", beams: c.beams! } as const, eos: c.eos, maxNewTokens: c.max };
  const made = await generate(session, { ids: c.prompts }, { ...options, minNewTokens: c.min ?? 0 });
  expect(made.map((g) => g.tokens)).toEqual(c.written);
});
