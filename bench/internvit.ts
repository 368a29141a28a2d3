/**
 * InternViT's forward pass at any size, on any device: `npm run bench:internvit -- --depth 48 --dtype f16`. Weights are
 * random, since speed and memory do not depend on them. With --compare the cpu device computes the same first.
 */
import { Command, Option } from "commander";
import type { Backend } from "../backends/backend.ts";
import type { WebgpuBackend } from "../backends/webgpu/index.ts";
import { openDevice, parseDevice } from "../cli/index.ts";
import {
  bindSizes,
  countMacs,
  countParameters,
  dimValue,
  type Graph,
  type HostTensor,
  hostTensor,
  keepParametersAs,
  type SizedAxis,
  UsageError,
} from "../compiler/index.ts";
import { defineModel, trace } from "../dsl/index.ts";
import { internvit, internvit6b, pixelsInput, type VisionConfig } from "../models/index.ts";
import { deviceModel, offloadedModel } from "../runtime/index.ts";
import { tableWeights } from "./model/table-weights.ts";
import { normals } from "./model/values.ts";
import { median } from "./statistics.ts";

interface Options {
  readonly device: string;
  readonly depth: number;
  readonly width: number;
  readonly image: number;
  readonly batch: number;
  readonly dtype: "f32" | "f16";
  readonly runs: number;
  readonly offload?: number;
  readonly compare: boolean;
  readonly profile: boolean;
}

const program = new Command("bench:internvit")
  .option("--device <device>", "auto, webgpu or cpu", "auto")
  .option("--depth <n>", "blocks", Number, internvit6b.depth)
  .option("--width <n>", "a multiple of 128; heads and MLP follow", Number, internvit6b.width)
  .option("--image <n>", "pixels of a side", Number, internvit6b.image)
  .option("--batch <n>", "pictures a run", Number, 1)
  .addOption(
    new Option("--dtype <dtype>", "what weights are kept as and, where the device can, computed with")
      .choices(["f32", "f16"])
      .default("f16"),
  )
  .option("--runs <n>", "timed runs, after one that is not", Number, 5)
  .option("--offload <bytes>", "stream weights: at most so many bytes of them on the device", Number)
  .option("--compare", "compare with the cpu device in f32", false)
  .option("--profile", "time by kind of kernel", false);

async function main(o: Options): Promise<void> {
  if (o.profile && o.offload !== undefined)
    throw new UsageError("--profile times kernels over weights that stay: leave out --offload");
  const config: VisionConfig = {
    ...internvit6b,
    ...{ depth: o.depth, width: o.width, heads: o.width / 128, mlp: 4 * o.width },
    ...{ image: o.image, positions: internvit6b.image },
  };
  const build = (p: Parameters<typeof internvit>[0]) => ({
    features: internvit(p, pixelsInput(config), config).at(-1)!,
  });
  const graph = trace(defineModel({ name: "internvit", summary: "", config: {}, build }));
  const sized = bindSizes(graph, { batch: o.batch });
  const feeds = { pixels: pixels(sized) };
  const { backend, reason } = await openDevice(parseDevice(o.device));
  const { parameters } = countParameters(graph);
  const row = (label: string, text: string) => console.log(`${label.padEnd(12)} ${text}`);
  row("device", reason);
  if (o.dtype === "f16") {
    const { path, why } = backend.precision({ precision: o.dtype });
    row("precision", `${path}, because ${why}`);
  }
  row("model", `${parameters.toLocaleString("en-US")} parameters in ${o.dtype}, batch ${o.batch}, ${o.image} px`);

  const features = await measured(backend, sized, feeds, o, row);
  if (o.compare) {
    const { backend: cpu } = await openDevice("cpu");
    const exact = await firstRun(cpu, sized, feeds, { ...o, dtype: "f32" });
    row("difference", `${relative(features, exact).toExponential(2)} of the largest value of the cpu device in f32`);
  }
  row("peak memory", `${(process.resourceUsage().maxRSS / 1024 ** 2).toFixed(2)} GiB resident`);
  backend.dispose();
}

type Feeds = Readonly<Record<string, HostTensor>>;

const modelOn = (backend: Backend, graph: Graph, o: Options) =>
  o.offload === undefined
    ? deviceModel(backend, tableWeights(graph), { precision: o.dtype })
    : offloadedModel(backend, tableWeights(graph), { memory: o.offload, precision: o.dtype });

async function firstRun(backend: Backend, graph: Graph, feeds: Feeds, o: Options): Promise<HostTensor["data"]> {
  const model = modelOn(backend, graph, o);
  const session = await model.session(keepParametersAs(graph, o.dtype));
  const { features } = await session.run(feeds);
  model.dispose();
  return features!.data;
}

async function measured(backend: Backend, graph: Graph, feeds: Feeds, o: Options, row: (a: string, b: string) => void) {
  const kept = keepParametersAs(graph, o.dtype);
  const model = modelOn(backend, graph, o);
  const seconds = async <T>(body: () => Promise<T>): Promise<[number, T]> => {
    const begun = performance.now();
    const value = await body();
    return [(performance.now() - begun) / 1000, value];
  };
  const [loading, session] = await seconds(() => model.session(kept));
  const [first, outputs] = await seconds(() => session.run(feeds));
  row("loading", `${loading.toFixed(1)} s, the first run ${first.toFixed(2)} s`);
  const times: number[] = [];
  for (let i = 0; i < o.runs; i++) times.push((await seconds(() => session.run(feeds)))[0]);
  const each = median(times);
  const flops = 2 * countMacs(graph, {});
  row(
    "a run",
    `${(1000 * each).toFixed(1)} ms (${times.map((t) => (1000 * t).toFixed(1)).join(", ")}): ${(o.batch / each).toFixed(2)} pictures/s, ${(flops / each / 1e12).toFixed(2)} TFLOP/s`,
  );
  if (o.profile && "gpu" in backend) await profile(backend as WebgpuBackend, kept, feeds, model.store, o.dtype, row);
  model.dispose();
  return outputs.features!.data;
}

async function profile(
  backend: WebgpuBackend,
  graph: Graph,
  feeds: Feeds,
  store: ReturnType<typeof deviceModel>["store"],
  precision: Options["dtype"],
  row: (a: string, b: string) => void,
) {
  const executable = await backend.compile(graph, { precision });
  const kernels = executable.program().kernels;
  const times = await executable.profile(feeds, store);
  const groups = new Map<string, { time: number; flops: number; bytes: number; count: number }>();
  for (const [i, { name, kind, nanoseconds }] of times.entries()) {
    const key = `${kind} ${name.replace(/^.*layers\.\d+\./, "")}`;
    const g = groups.get(key) ?? { time: 0, flops: 0, bytes: 0, count: 0 };
    const { flops, bytesRead, bytesWritten } = kernels[i]!;
    groups.set(key, {
      time: g.time + nanoseconds / 1e6,
      flops: g.flops + dimValue(flops),
      bytes: g.bytes + dimValue(bytesRead) + dimValue(bytesWritten),
      count: g.count + 1,
    });
  }
  for (const [key, { time, flops, bytes, count }] of [...groups].sort((a, b) => b[1].time - a[1].time))
    row(
      "",
      `${time.toFixed(2).padStart(9)} ms  ${String(count).padStart(3)} × ${key}: ${(flops / time / 1e9).toFixed(2)} TFLOP/s, ${(bytes / time / 1e6).toFixed(0)} GB/s`,
    );
}

function pixels(graph: Graph): HostTensor {
  const axes = graph.inputs.find((n) => n.op === "input")!.type.axes as readonly SizedAxis[];
  return hostTensor(
    "f32",
    axes,
    normals(
      "pixels",
      axes.reduce((n, a) => n * a.size, 1),
    ),
  );
}

function relative(got: HostTensor["data"], want: HostTensor["data"]): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    worst = Math.max(worst, Math.abs(got[i]! - want[i]!));
    largest = Math.max(largest, Math.abs(want[i]!));
  }
  return Number.isFinite(worst) ? worst / largest : Number.POSITIVE_INFINITY;
}

await main(program.parse().opts<Options>());
