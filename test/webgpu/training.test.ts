/**
 * Training steps on a device: states updated in place, buffers kept, the same numbers as the reference over several
 * steps.
 */
import { describe, expect, vi } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { isResident } from "../../backends/feeds.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  elementsOf,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  ops,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";
import { classifierStep } from "../kernels/models.ts";
import { gpuTest } from "../support/adapter.ts";
import { seeded } from "../support/samples.ts";

const step = () => classifierStep({ batch: 3, tokens: 7, width: 12, heads: 3, mlp: 20, depth: 2 }, 5);

function tensors(graph: Graph): [string, boolean, HostTensor][] {
  const next = seeded(11);
  return graph.inputs.map((n) => {
    const name = inputName(n);
    const fill = (i: number) =>
      name === "label" ? i % 5 : isResident(n) && name !== "train.parameters" ? 0 : next() - 0.5;
    const data = Array.from({ length: Number(elementsOf(n.type)) }, (_, i) => fill(i));
    return [name, isResident(n), hostTensor(n.type.dtype, n.type.axes as readonly SizedAxis[], data)];
  });
}

/** Several steps on one backend: the losses, and the parameters at the end. */
async function train(backend: Backend, steps: number) {
  const graph = step();
  const executable = await backend.compile(graph);
  const store = backend.createStore();
  const feeds: Record<string, HostTensor> = {};
  for (const [name, resident, value] of tensors(graph)) {
    if (resident) await store.write(name, value);
    else feeds[name] = value;
  }
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) losses.push((await executable.run(feeds, store)).loss!.data[0]!);
  const parameters = Array.from((await store.read("train.parameters")).data);
  store.dispose();
  executable.dispose();
  return { losses, parameters };
}

describe("a training step", () => {
  gpuTest("trains as the reference does", async ({ gpu }) => {
    const [want, got] = [await train(referenceBackend(), 4), await train(webgpuBackend(gpu), 4)];
    got.losses.forEach((loss, i) => {
      expect(Math.abs(loss - want.losses[i]!)).toBeLessThan(1e-4 * want.losses[i]!);
    });
    // Adam divides by the gradient's size, so that a rounding of a tiny gradient may cost a part of the rate.
    const worst = got.parameters.reduce((m, v, i) => Math.max(m, Math.abs(v - want.parameters[i]!)), 0);
    expect(worst).toBeLessThan(2e-4);
  });

  gpuTest("repeats itself to the bit", async ({ gpu }) => {
    expect(await train(webgpuBackend(gpu), 2)).toEqual(await train(webgpuBackend(gpu), 2));
  });

  gpuTest("makes no buffer but the read-back, no bind group and no pipeline, in one submission", async ({ gpu }) => {
    const backend = webgpuBackend(gpu);
    const graph = step();
    const executable = await backend.compile(graph);
    const store = backend.createStore();
    const feeds: Record<string, HostTensor> = {};
    for (const [name, resident, value] of tensors(graph)) {
      if (resident) await store.write(name, value);
      else feeds[name] = value;
    }
    await executable.run(feeds, store);
    const spies = (["createBuffer", "createBindGroup", "createShaderModule"] as const).map((m) =>
      vi.spyOn(gpu.device, m),
    );
    const submit = vi.spyOn(gpu.device.queue, "submit");
    await executable.run(feeds, store);
    expect(spies.map((s) => s.mock.calls.length)).toEqual([1, 0, 0]);
    expect(submit).toHaveBeenCalledTimes(1);
    vi.restoreAllMocks();
    store.dispose();
    executable.dispose();
  });
});

describe("states", () => {
  const axes = [{ name: "a", size: 5 }];
  const counter = ops.state("counter", "f32", axes);
  const reversed = ops.gather(counter, ops.sub(ops.iota({ name: "b", size: 5 }), 0), "a");
  const axis = (node: ReturnType<typeof ops.add>) => ops.rename(node, "b", "a");
  const five = (...values: number[]) => hostTensor("f32", axes, values);

  gpuTest("are updated in place by an elementwise kernel", async ({ gpu }) => {
    const backend = webgpuBackend(gpu);
    const graph = makeGraph("count", [{ name: "next", node: ops.add(ops.mul(counter, counter), counter) }], [], {
      next: "counter",
    });
    const executable = await backend.compile(graph);
    expect(executable.program().plan.slots).toEqual([]);
    const store = backend.createStore();
    await store.write("counter", five(1, 2, 3, 4, 5));
    await executable.run({}, store);
    expect([...(await store.read("counter")).data]).toEqual([2, 6, 12, 20, 30]);
    expect([...(await executable.run({}, store, { fetch: ["next"] })).next!.data]).toEqual([6, 42, 156, 420, 930]);
    store.dispose();
  });

  gpuTest("are copied where other elements are still needed", async ({ gpu }) => {
    const backend = webgpuBackend(gpu);
    const index = ops.sub(4, ops.iota({ name: "b", size: 5 }));
    const turned = axis(ops.gather(counter, index, "a"));
    const graph = makeGraph("turn", [{ name: "next", node: ops.add(turned, counter) }], [], { next: "counter" });
    const executable = await backend.compile(graph);
    expect(executable.program().plan.copies).toHaveLength(1);
    const store = backend.createStore();
    await store.write("counter", five(1, 2, 3, 4, 10));
    await executable.run({}, store);
    expect([...(await store.read("counter")).data]).toEqual([11, 6, 6, 6, 11]);
    expect(reversed.type.axes[0]!.name).toBe("b");
    store.dispose();
  });

  gpuTest("that are missing or of another type are named", async ({ gpu }) => {
    const backend = webgpuBackend(gpu);
    const graph = makeGraph("count", [{ name: "next", node: ops.add(counter, 1) }], [], { next: "counter" });
    const executable = await backend.compile(graph);
    const store = backend.createStore();
    await expect(executable.run({}, store)).rejects.toThrow(UsageError);
    await store.write("counter", hostTensor("f32", [{ name: "a", size: 2 }], [1, 2]));
    await expect(executable.run({}, store)).rejects.toThrow('"counter" is f32[a=5], but in the store it is f32[a=2]');
    await expect(store.read("countr")).rejects.toThrow('"countr"');
    store.dispose();
  });
});
