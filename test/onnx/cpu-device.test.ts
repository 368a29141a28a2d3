/** The cpu device as a backend: stores, feeds, dtypes, sizes found at the run, and each mistake as one clear error. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend, Store } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import {
  type DType,
  type Graph,
  type HostTensor,
  hostTensor,
  makeGraph,
  normal,
  ops,
  symbol,
} from "../../compiler/index.ts";
import { excess } from "../support/samples.ts";

let cpu: Backend;
beforeAll(async () => {
  cpu = await cpuBackend({ threads: 1 });
});
afterAll(() => cpu.dispose());

const a3 = { name: "a", size: 3 };
const vector = (dtype: DType, values: number[], name = "a") =>
  hostTensor(dtype, [{ name, size: values.length }], values);

/** count' = count + x; y = count · x */
function counter(dtype: DType = "f32"): Graph {
  const [count, x] = [ops.state("count", dtype, [a3]), ops.input("x", dtype, [a3])];
  const outputs = [
    { name: "count_next", node: ops.add(count, x) },
    { name: "y", node: ops.mul(count, x) },
  ];
  return makeGraph("counter", outputs, [count, x], { count_next: "count" });
}

async function opened(graph: Graph, kept: Record<string, HostTensor>) {
  const executable = await cpu.compile(graph);
  const store = cpu.createStore();
  for (const [name, value] of Object.entries(kept)) await store.write(name, value);
  return { executable, store };
}

const plain = async (store: Store, name: string) => Array.from((await store.read(name)).data);

describe("state", () => {
  it.each(["f32", "f16", "i32", "u32"] as const)(
    "of %s is replaced by a run, and read and written between runs",
    async (dtype) => {
      const { executable, store } = await opened(counter(dtype), { count: vector(dtype, [1, 2, 3]) });
      const x = vector(dtype, [10, 20, 30]);
      expect(Array.from((await executable.run({ x }, store)).y!.data)).toEqual([10, 40, 90]);
      expect(Array.from((await executable.run({ x }, store)).y!.data)).toEqual([110, 440, 990]);
      expect(await plain(store, "count")).toEqual([21, 42, 63]);
      await store.write("count", vector(dtype, [0, 0, 1]));
      await executable.run({ x }, store);
      expect(await plain(store, "count")).toEqual([10, 20, 31]);
    },
  );

  it("of bool too", async () => {
    const seen = ops.state("seen", "bool", [a3]);
    const now = ops.input("now", "bool", [a3]);
    const graph = makeGraph("seen", [{ name: "next", node: ops.or(seen, now) }], [], { next: "seen" });
    const { executable, store } = await opened(graph, { seen: vector("bool", [0, 0, 1]) });
    await executable.run({ now: vector("bool", [1, 0, 0]) }, store);
    expect(await plain(store, "seen")).toEqual([1, 0, 1]);
  });

  it("that is fetched is a copy, which later runs leave alone", async () => {
    const { executable, store } = await opened(counter(), { count: vector("f32", [1, 1, 1]) });
    const x = vector("f32", [1, 1, 1]);
    const first = (await executable.run({ x }, store, { fetch: ["count_next"] })).count_next!;
    for (let i = 0; i < 3; i++) await executable.run({ x }, store);
    expect(Array.from(first.data)).toEqual([2, 2, 2]);
    const read = await store.read("count");
    await executable.run({ x }, store);
    expect(Array.from(read.data)).toEqual([5, 5, 5]);
  });

  it("does not mind what becomes of an array that was written or fed", async () => {
    const own = vector("f32", [1, 2, 3]);
    const { executable, store } = await opened(counter(), { count: own });
    own.data.fill(99);
    const x = vector("f32", [1, 1, 1]);
    await executable.run({ x }, store);
    await executable.run({ x }, store);
    expect(Array.from(x.data)).toEqual([1, 1, 1]);
    expect(await plain(store, "count")).toEqual([3, 4, 5]);
  });

  it("is right when runs are started at once", async () => {
    const { executable, store } = await opened(counter(), { count: vector("f32", [0, 0, 0]) });
    const x = vector("f32", [1, 2, 3]);
    await Promise.all(Array.from({ length: 8 }, () => executable.run({ x }, store)));
    expect(await plain(store, "count")).toEqual([8, 16, 24]);
  });

  it("stays as it was when a run fails", async () => {
    const { executable, store } = await opened(counter(), { count: vector("f32", [1, 2, 3]) });
    await expect(executable.run({ x: vector("f32", [1, 2]) }, store)).rejects.toThrow("the feed is f32[a=2]");
    expect(await plain(store, "count")).toEqual([1, 2, 3]);
  });

  it("is no new memory to the garbage collector, run after run", async () => {
    const size = 1 << 18;
    const axes = [{ name: "a", size }];
    const [count, x] = [ops.state("count", "f32", axes), ops.input("x", "f32", axes)];
    const graph = makeGraph("large", [{ name: "next", node: ops.add(count, x) }], [], { next: "count" });
    const zeros = hostTensor("f32", axes, new Float32Array(size));
    const { executable, store } = await opened(graph, { count: zeros });
    await executable.run({ x: zeros }, store, { fetch: [] }); // allocates the spare buffer
    const before = process.memoryUsage().arrayBuffers;
    await executable.run({ x: zeros }, store, { fetch: [] });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(size);
  });

  it("may grow where its size is a symbol, as a key-value cache does", async () => {
    const [past, fresh] = [
      ops.state("cache", "f32", [{ name: "t", size: symbol("past") }]),
      ops.input("x", "f32", [{ name: "t", size: symbol("tokens") }]),
    ];
    const joined = ops.concat([past, fresh], "t");
    const graph = makeGraph(
      "cache",
      [
        { name: "next", node: joined },
        { name: "sum", node: ops.reduceSum(joined, ["t"]) },
      ],
      [],
    );
    const { executable, store } = await opened(graph, { cache: vector("f32", [1], "t") });
    const out = await executable.run({ x: vector("f32", [2, 3], "t") }, store);
    expect(out.next!.axes).toEqual([{ name: "t", size: 3 }]);
    await store.write("cache", out.next!);
    expect((await executable.run({ x: vector("f32", [4], "t") }, store)).sum!.data[0]).toBe(10);
  });
});

it("memory does not grow over 600 steps", async () => {
  const axes = [{ name: "a", size: 2 ** 18 }];
  const [count, x] = [ops.state("count", "f32", axes), ops.input("x", "f32", axes)];
  const outputs = [
    { name: "next", node: ops.add(ops.mul(count, 0.5), x) },
    { name: "y", node: ops.mul(count, x) },
  ];
  const zeros = hostTensor("f32", axes, new Float32Array(2 ** 18));
  const { executable, store } = await opened(makeGraph("large", outputs, [], { next: "count" }), { count: zeros });
  const steps = async (n: number) => {
    for (let i = 0; i < n; i++) await executable.run({ x: zeros }, store);
  };
  await steps(300); // until the garbage between two collections is part of the figure
  const before = process.memoryUsage().rss;
  await steps(600);
  // One buffer of 1 MiB kept at each step would make 600 MiB.
  expect(process.memoryUsage().rss - before).toBeLessThan(150 * 2 ** 20);
});

describe("one parameter in two layouts, sliced and whole", () => {
  it("means what the interpreter says", async () => {
    const w = ops.parameter("w", "f32", [{ name: "r", size: 4 }, a3], normal(1));
    const x = ops.input("x", "f32", [a3]);
    const row = ops.rename(ops.slice(w, "r", 1, 2), "r", "s");
    const outputs = [
      { name: "y", node: ops.contract(x, w, ["a"]) },
      { name: "z", node: ops.transpose(ops.mul(row, x), ["a", "s"]) },
      { name: "w", node: w },
    ];
    const graph = makeGraph("views", outputs, [x]);
    const run = async (backend: Backend) => {
      const [executable, store] = [await backend.compile(graph), backend.createStore()];
      const data = Array.from({ length: 12 }, (_, i) => i - 5);
      await store.write("w", hostTensor("f32", [{ name: "r", size: 4 }, a3], data));
      return executable.run({ x: vector("f32", [1, 2, 3]) }, store);
    };
    const [got, want] = [await run(cpu), await run(referenceBackend())];
    for (const name of ["y", "z", "w"])
      expect(excess(got[name]!.data, want[name]!.data, 1e-6, 1e-6), name).toBeLessThanOrEqual(0);
  });
});

describe("sizes", () => {
  const open = { name: "batch", size: symbol("batch") };
  const graph = (() => {
    const x = ops.input("x", "f32", [open, a3]);
    const pair = ops.rename(x, "batch", "pair");
    const outputs = [
      { name: "cosine", node: ops.softmax(ops.contract(x, pair, ["a"]), "pair") },
      { name: "mean", node: ops.reduceMean(x, ["batch", "a"]) },
      { name: "flat", node: ops.merge(x, ["batch", "a"], "all") },
      { name: "place", node: ops.mul(ops.iota(open, "f32"), x) },
    ];
    return makeGraph("open", outputs, [x]);
  })();
  const feed = (batch: number) =>
    hostTensor(
      "f32",
      [{ name: "batch", size: batch }, a3],
      Array.from({ length: 3 * batch }, (_, i) => Math.sin(i)),
    );

  it("are found at each run", async () => {
    const [executable, reference] = [await cpu.compile(graph), await referenceBackend().compile(graph)];
    for (const batch of [1, 2, 7, 64]) {
      const x = feed(batch);
      const got = await executable.run({ x }, cpu.createStore());
      const want = await reference.run({ x }, referenceBackend().createStore());
      for (const { name } of graph.outputs) {
        expect(got[name]!.axes).toEqual(want[name]!.axes);
        expect(excess(got[name]!.data, want[name]!.data, 1e-6, 1e-5), name).toBeLessThanOrEqual(0);
      }
    }
  });

  it("may be bound beforehand, and then no other is taken", async () => {
    const executable = await cpu.compile(graph, { sizes: { batch: 2 } });
    expect((await executable.run({ x: feed(2) }, cpu.createStore())).flat!.data).toHaveLength(6);
    await expect(executable.run({ x: feed(3) }, cpu.createStore())).rejects.toThrow("the feed is f32[batch=3, a=3]");
  });

  it("that no input tells are asked for", async () => {
    const counted = makeGraph("count", [{ name: "y", node: ops.iota({ name: "n", size: symbol("n") }) }]);
    await expect(cpu.compile(counted)).rejects.toThrow('the size "n" is not a dimension of an input');
    const executable = await cpu.compile(counted, { sizes: { n: 4 } });
    expect(Array.from((await executable.run({}, cpu.createStore())).y!.data)).toEqual([0, 1, 2, 3]);
  });
});

describe("mistakes", () => {
  it("of feeds are listed together", async () => {
    const { executable, store } = await opened(counter(), { count: vector("f32", [1, 2, 3]) });
    await expect(executable.run({ z: vector("f32", [1, 2, 3]) }, store)).rejects.toThrow(
      'graph @counter cannot run:\n  input "x" of type f32[a=3] is missing\n  there is no input "z"',
    );
  });

  it("of the store name the tensor", async () => {
    const { executable, store } = await opened(counter(), { counts: vector("f32", [1, 2, 3]) });
    const x = vector("f32", [1, 2, 3]);
    await expect(executable.run({ x }, store)).rejects.toThrow(/no tensor "count".*counts/);
    await expect(store.read("cuont")).rejects.toThrow('no tensor "cuont"');
    await store.write("count", vector("i32", [1, 2, 3]));
    await expect(executable.run({ x }, store)).rejects.toThrow(`"count" is f32[a=3], but in the store it is i32[a=3]`);
    const short = { dtype: "f32", axes: [a3], data: new Float32Array(2) } as const;
    await expect(store.write("count", short)).rejects.toThrow('"count" is f32[a=3], but its data has 2 elements');
  });

  it("a store of another device is refused", async () => {
    const executable = await cpu.compile(counter());
    const store = referenceBackend().createStore();
    await expect(async () => executable.run({ x: vector("f32", [1, 2, 3]) }, store)).rejects.toThrow(
      "this store belongs to another device",
    );
  });
});
