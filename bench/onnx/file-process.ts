/** The process that opens and runs one ONNX file: its argument is the order, its message the results. */
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { decodeModel } from "../../backends/onnx/index.ts";
import { unwrap, wrap } from "../../backends/onnxruntime/index.ts";
import { median } from "../statistics.ts";
import type { FileOrder, PhaseFigures, RunFigures } from "./measure-file.ts";
import type { Phase } from "./subjects.ts";

const order = JSON.parse(process.argv[2]!) as FileOrder;
const severity = { logSeverityLevel: 3 } as const;

/** Number of values kept of each output: the last ones, which in a decoder belong to the last token. */
const kept = 2000;

const begun = performance.now();
const session = await InferenceSession.create(order.file, severity);
const loadMs = performance.now() - begun;
const openBytes = peakOfProcess();
const phases: PhaseFigures[] = [];
for (const phase of order.phases) phases.push(await timed(phase));
const peakBytes = peakOfProcess();
const figures: RunFigures = {
  ...{ loadMs, openBytes, peakBytes, phases },
  fileBytes: await bytesIn(dirname(order.file)),
  ...(order.operators && { operators: await optimized() }),
};
process.send!(figures, () => process.exit(0));

async function timed(phase: Phase): Promise<PhaseFigures> {
  const feeds = await feedsFor(phase);
  const times: number[] = [];
  let outputs: InferenceSession.ReturnType = {};
  for (let i = 0; i <= order.timed; i++) {
    const from = performance.now();
    outputs = await session.run(feeds);
    times.push(performance.now() - from);
  }
  const ends = Object.fromEntries(
    Object.entries(outputs)
      .filter(([name]) => !name.startsWith("present"))
      .map(([name, value]) => [name, Array.from((unwrap(dtypeOf(value.type), value) as Float32Array).subarray(-kept))]),
  );
  return { firstMs: times[0]!, medianMs: median(times.slice(1)), ends };
}

/** The same values for all files of a model, in the types of each one's inputs. */
async function feedsFor({ batch, tokens = 0, past = 0 }: Phase): Promise<Record<string, Tensor>> {
  const feeds: Record<string, Tensor> = {};
  const remembered = past > 0 ? await session.run(await feedsFor({ name: "", batch, tokens: past, past: 0 })) : {};
  for (const meta of session.inputMetadata) {
    if (!meta.isTensor) throw new Error(`input ${meta.name} is no tensor`);
    const { name, type } = meta;
    if (name.startsWith("past_key_values")) {
      const shape = [batch, Number(meta.shape[1]), past, Number(meta.shape[3])];
      const before = remembered[name.replace("past_key_values", "present")];
      feeds[name] = floats(type, before ? (unwrap(dtypeOf(type), before) as Float32Array) : new Float32Array(0), shape);
    } else if (name === "attention_mask") feeds[name] = whole(type, [batch, past + tokens], () => 1);
    else if (name === "position_ids") feeds[name] = whole(type, [batch, tokens], (i) => past + (i % tokens));
    else if (name === "input_ids") feeds[name] = whole(type, [batch, tokens], (i) => 5 + ((7919 * (past + i)) % 31000));
    else {
      const shape = [batch, 3, 224, 224];
      const values = Float32Array.from(
        { length: shape.reduce((a, b) => a * b) },
        (_, i) => Math.sin(0.37 * i) + Math.sin(0.0113 * i),
      );
      feeds[name] = floats(type, values, shape);
    }
  }
  return feeds;
}

function dtypeOf(type: string): "f16" | "f32" {
  return type === "float16" ? "f16" : "f32";
}

function floats(type: string, values: Float32Array, shape: readonly number[]): Tensor {
  const dtype = dtypeOf(type);
  return wrap(dtype, dtype === "f16" ? new Float16Array(values) : values, shape) as Tensor;
}

/** Integers in the type of an input. */
function whole(type: string, shape: readonly number[], at: (i: number) => number): Tensor {
  const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => at(i));
  return type === "int64"
    ? new Tensor("int64", BigInt64Array.from(values, BigInt), shape)
    : new Tensor("int32", Int32Array.from(values), shape);
}

/** Peak resident memory on Linux; current resident memory elsewhere. */
function peakOfProcess(): number {
  if (process.platform !== "linux") return process.memoryUsage.rss();
  const [, kilobytes] = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return 1024 * Number(kilobytes);
}

async function bytesIn(folder: string): Promise<number> {
  const names = (await readdir(folder)).filter((name) => /\.onnx/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((a, b) => a + b, 0);
}

/** Op counts of the file as optimized and written by onnxruntime. */
async function optimized(): Promise<Record<string, number>> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-optimized-"));
  try {
    const path = join(folder, "model.onnx");
    const options = { ...severity, optimizedModelFilePath: path };
    await (await InferenceSession.create(order.file, options)).release();
    const counts: Record<string, number> = {};
    for (const node of decodeModel(await readFile(path)).graph?.node ?? [])
      counts[node.opType ?? ""] = (counts[node.opType ?? ""] ?? 0) + 1;
    return Object.fromEntries(Object.entries(counts).sort(([, a], [, b]) => b - a));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
