/**
 * Weight loading from a file to a device: `npm run bench -- load --size 11.8GB`. A temporary file is written first, so
 * that it is in the page cache; the loading rate is compared with that of merely reading the same bytes.
 */
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { openDevice, parseDevice } from "../cli/index.ts";
import { type Graph, keepParametersAs, makeGraph, type Node, ops } from "../compiler/index.ts";
import { deviceModel, formatBytes, openWeights, type TensorToWrite, writeSafetensors } from "../runtime/index.ts";
import { median } from "./statistics.ts";

interface Options {
  readonly size: number;
  readonly stored: "BF16" | "F16" | "F32";
  readonly dtype: "f32" | "f16";
  readonly device: string;
  readonly folder: string;
  readonly runs: number;
}

/** A weight matrix of a transformer of width 4096, with a small tensor for each. */
const side = 4096;
const small = 4096;

export async function loadBench(argv: readonly string[]): Promise<number> {
  const program = new Command("bench load")
    .description("The rate of loading weights from a file that the system has in memory.")
    .option("--size <bytes>", "as in 11.8GB or 500MB", bytesOf, 2e9)
    .addOption(new Option("--stored <type>", "in the file").choices(["BF16", "F16", "F32"]).default("BF16"))
    .addOption(new Option("--dtype <dtype>", "on the device").choices(["f16", "f32"]).default("f16"))
    .option("--device <device>", "auto, webgpu or cpu", "webgpu")
    .option("--folder <folder>", "where the file is written for a while", tmpdir())
    .option("--runs <n>", "how often it is loaded and read", Number, 3);
  program.parse([...argv], { from: "user" });
  const options = program.opts<Options>();
  const folder = await mkdtemp(join(options.folder, "heddle-load-"));
  try {
    await measure(join(folder, "weights.safetensors"), options);
  } finally {
    await rm(folder, { recursive: true });
  }
  return 0;
}

function bytesOf(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(GB|MB)$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError("a size as in 11.8GB or 500MB is needed");
  return Number(number) * (unit === "GB" ? 1e9 : 1e6);
}

async function measure(path: string, o: Options): Promise<void> {
  const row = (label: string, text: string) => process.stdout.write(`${label.padEnd(14)} ${text}\n`);
  const nodes = parameters(Math.max(1, Math.round(o.size / (side * side * elementBytes[o.stored]))));
  await writeSafetensors(
    path,
    nodes.map((n) => tensor(n, o.stored)),
  );
  const file = await open(path, "r");
  const { size } = await file.stat();
  await file.close();
  row("file", `${formatBytes(size)}, ${nodes.length} tensors in ${o.stored}, kept as ${o.dtype}`);
  const { backend, reason } = await openDevice(parseDevice(o.device));
  row("device", reason);
  const graph = keepParametersAs(graphOf(nodes), o.dtype);
  const [loads, reads]: [number[], number[]] = [[], []];
  const resident = process.memoryUsage.rss();
  for (let i = 0; i < o.runs; i++) {
    reads.push(await seconds(() => readPlainly(path, size)));
    loads.push(await seconds(() => loadOnce(path, graph, backend)));
  }
  const rate = (times: readonly number[]) => size / median(times) / 1e9;
  const each = (times: readonly number[]) => times.map((t) => t.toFixed(2)).join(", ");
  row("plain read", `${rate(reads).toFixed(2)} GB/s (${each(reads)} s)`);
  row("loading", `${rate(loads).toFixed(2)} GB/s (${each(loads)} s): ${(rate(loads) / rate(reads)).toFixed(2)} of it`);
  const most = process.resourceUsage().maxRSS * 1024;
  row(
    "memory",
    `${formatBytes(Math.max(0, most - resident))} more at most; of a software adapter, its buffers are among them`,
  );
  backend.dispose();
}

const elementBytes = { BF16: 2, F16: 2, F32: 4 } as const;

/** Matrices, each followed by a vector. */
const parameters = (count: number): Node[] =>
  Array.from({ length: count }, (_, i) => [
    ops.parameter(
      `layers.${i}.weight`,
      "f32",
      [
        { name: "out", size: side },
        { name: "in", size: side },
      ],
      zero,
    ),
    ops.parameter(`layers.${i}.bias`, "f32", [{ name: "out", size: small }], zero),
  ]).flat();

const zero = { kind: "constant", value: 0 } as const;

/** A graph with all parameters, that computes only with the smallest. */
const graphOf = (nodes: readonly Node[]): Graph =>
  makeGraph("load", [{ name: "y", node: ops.add(nodes[1]!, 1) }], nodes);

/** Stored values from 1 to 2, finite in every type. */
function tensor(node: Node, stored: Options["stored"]): TensorToWrite {
  const shape = node.type.axes.map((a) => Number(a.size));
  const bytes = shape.reduce((n, s) => n * s, elementBytes[stored]);
  const one = { BF16: 0x3f80, F16: 0x3c00, F32: 0x3f800000 }[stored];
  const table = stored === "F32" ? new Uint32Array(2 ** 18) : new Uint16Array(2 ** 19);
  for (let i = 0; i < table.length; i++) table[i] = one + ((i * 37) % 128);
  const piece = new Uint8Array(table.buffer);
  const data = function* () {
    for (let at = 0; at < bytes; at += piece.length) yield piece.subarray(0, Math.min(piece.length, bytes - at));
  };
  return { name: String(node.attrs.name), dtype: stored, shape, data };
}

async function seconds(body: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await body();
  return (performance.now() - begun) / 1000;
}

async function loadOnce(path: string, graph: Graph, backend: Parameters<typeof deviceModel>[0]): Promise<void> {
  const weights = await openWeights(path, graph);
  const model = deviceModel(backend, weights);
  await model.session(graph);
  model.dispose();
  await weights.dispose();
}

/** Reads a file into reused buffers, with four concurrent reads. */
async function readPlainly(path: string, size: number): Promise<void> {
  const step = 8 * 2 ** 20;
  const file = await open(path, "r");
  let next = 0;
  const reader = async () => {
    const into = new Uint8Array(step);
    for (let at = next; at < size; at = next) {
      next += step;
      await file.read(into, 0, step, at);
    }
  };
  await Promise.all(Array.from({ length: 4 }, reader));
  await file.close();
}
