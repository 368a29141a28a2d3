/** `heddle devices`: the available devices, how each computes f16, which one "auto" picks, and its peak rates. */
import { cpuMissing } from "../../backends/onnxruntime/index.ts";
import { type Ceilings, webgpuBackend } from "../../backends/webgpu/index.ts";
import { type OpenedAdapter, openAdapters, requestDevice } from "../../backends/webgpu/node-index.ts";
import { type PrecisionPath, UnsupportedError } from "../../compiler/index.ts";
import { type ExchangeCosts, measureExchange } from "../../runtime/index.ts";
import { launchOf } from "../../runtime/node-index.ts";
import { freshCeilings, type MeasuredCeilings } from "../ceilings.ts";
import { json, table } from "../output.ts";
import { precisionText } from "../precision.ts";
import { inRankSession } from "../rank-session.ts";

export interface DevicesArguments {
  readonly json: boolean;
  readonly measure: boolean;
}

export async function devicesCommand({ json: asJson, measure }: DevicesArguments): Promise<number> {
  const { adapters, missing } = await adaptersHere();
  const hardware = adapters.find((a) => !a.software);
  const auto = hardware ? "webgpu" : "cpu";
  const between = measure ? await measuredRanks() : undefined;
  if (between && !between.isFirst) return 0;
  const measured = measure ? await measuredDevice() : undefined;
  if (asJson) {
    process.stdout.write(
      `${json({ auto, adapters, ...(missing !== undefined && { missing }), ...(measured && { measured }), ...(between && { ranks: between.found }) })}\n`,
    );
    return 0;
  }
  const noCpu = cpuMissing();
  const rows = adapters.flatMap((a) => [
    [a.software ? "webgpu (software)" : "webgpu", `${a.description} [${a.backend}]`] as const,
    ["  with --dtype f16", "failure" in a ? `cannot be opened: ${a.failure}` : precisionText(a.f16)] as const,
  ]);
  const none = missing === undefined ? [] : [["webgpu", `not available: ${missing}`] as const];
  process.stdout.write(
    `${table([...rows, ...none, ["cpu", noCpu === undefined ? "onnxruntime" : `not available: ${noCpu}`]])}\n\n--device auto chooses ${auto}: ${
      hardware ? hardware.description : "no hardware GPU was found, and software GPUs are used only on request"
    }\n`,
  );
  if (measured) process.stdout.write(`\n${measured.adapter}, measured:\n${printCeilings(measured)}\n`);
  if (between) process.stdout.write(`\n${printRanks(between.found)}\n`);
  return 0;
}

/** The adapters, or why there are none, such as a webgpu package without a binary. */
async function adaptersHere() {
  try {
    return { adapters: (await openAdapters()).map(reported), missing: undefined };
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return { adapters: [], missing: error.message };
  }
}

/** An adapter's description and f16 path; its device is closed again. */
function reported({ opened, ...info }: OpenedAdapter) {
  if (opened instanceof Error) return { ...info, failure: opened.message };
  const backend = webgpuBackend(opened);
  const f16: PrecisionPath = backend.precision({ precision: "f16" });
  backend.dispose();
  return { ...info, f16 };
}

interface MeasuredDevice extends MeasuredCeilings {
  readonly adapter: string;
}

/** The adapter that --device webgpu takes. */
async function measuredDevice(): Promise<MeasuredDevice> {
  const gpu = await requestDevice({ prefer: "hardware" });
  try {
    return { adapter: gpu.adapter.description, ...(await freshCeilings(gpu)) };
  } finally {
    gpu.dispose();
  }
}

interface FoundRanks extends ExchangeCosts {
  readonly count: number;
  readonly carrier: string;
}

/** The cost of exchanges between ranks, if a launcher started several; undefined for one. */
async function measuredRanks(): Promise<{ readonly isFirst: boolean; readonly found: FoundRanks } | undefined> {
  if (!launchOf(process.env)) return undefined;
  return await inRankSession(async ({ ranks: { collectives, isFirst } }) => {
    const found = { count: collectives.size, carrier: collectives.carrier, ...(await measureExchange(collectives)) };
    return { isFirst, found };
  });
}

function printRanks({ count, carrier, latency, bytesPerSecond }: FoundRanks): string {
  const bits = digits((8 * bytesPerSecond) / 1e9);
  return `${count} ranks over ${carrier}: ${time(latency)} for a tiny all-reduce, ${digits(bytesPerSecond / 1e9)} GB/s sent by each rank; for heddle plan: --hardware "${count}×here,MPI-${bits}G"`;
}

const digits = (n: number): string => String(Number(n.toPrecision(3)));
const rate = (n: number): string => (n >= 1e12 ? `${digits(n / 1e12)} TFLOP/s` : `${digits(n / 1e9)} GFLOP/s`);
const time = (n: number): string => `${digits(n * 1e6)} µs`;

const lines = [
  ["copy", "copy by a kernel, bytes read and written", (n) => `${digits(n / 1e9)} GB/s`],
  ["f32", "multiply-add in f32", rate],
  ["f16", "multiply-add in f16", rate],
  ["matrices", "matrix units, f16 operands", rate],
  ["product", "heddle's matmul in f32", rate],
  ["matrixProduct", "heddle's matmul in f16 on matrix units", rate],
  ["dispatch", "one more dispatch in a pass", time],
  ["submission", "a submission, until it is done", time],
] as const satisfies readonly (readonly [keyof Ceilings, string, (n: number) => string])[];

const printCeilings = ({ ceilings, missing }: MeasuredCeilings): string =>
  table(
    lines.map(([name, label, print]) => {
      const value = ceilings[name];
      return [label, value === undefined ? `none: ${missing[name] ?? "not measured"}` : print(value)] as const;
    }),
  );
