/** PyTorch on the same card, in one process for all marks: its results, or why there are none. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { PeerOrder } from "./mark.ts";

const script = fileURLToPath(new URL("../peers/torch/marks.py", import.meta.url));

export interface PeerFigure {
  readonly value: number;
  readonly sample: Float32Array;
}

export interface PeerReport {
  /** Version and device, or why it does not run. */
  readonly about: string;
  readonly figures: ReadonlyMap<string, PeerFigure | { readonly failure: string }>;
}

interface TorchChoice {
  /** A Python interpreter with PyTorch. */
  readonly python: string;
  /** Whether to fall back to the CPU without CUDA: only for trying, since such times are not comparable. */
  readonly processor: boolean;
  readonly milliseconds: number;
}

/** The device that PyTorch uses, or why it cannot run. */
async function deviceOf({ python, processor }: TorchChoice): Promise<{ device: string } | { absent: string }> {
  const probe = "import torch; print(torch.cuda.is_available())";
  const { lines, ending } = await run(python, ["-c", probe], "", 60_000);
  if (ending !== undefined) return { absent: `PyTorch is not here: ${ending}` };
  if (lines.at(-1) === "True") return { device: "cuda" };
  return processor ? { device: "cpu" } : { absent: "PyTorch is here, but finds no CUDA" };
}

/** Runs all orders, by mark. Never rejects. */
export async function runTorch(orders: ReadonlyMap<string, PeerOrder>, choice: TorchChoice): Promise<PeerReport> {
  const found = await deviceOf(choice);
  if ("absent" in found) return { about: found.absent, figures: new Map() };
  const input = { device: found.device, orders: [...orders].map(([mark, order]) => ({ mark, ...order })) };
  const { lines, ending } = await run(choice.python, [script], JSON.stringify(input), choice.milliseconds);
  const figures = new Map<string, PeerFigure | { failure: string }>();
  let about = "PyTorch";
  for (const line of lines) {
    const said = JSON.parse(line) as {
      about?: string;
      mark?: string;
      value?: number;
      sample?: number[];
      failure?: string;
    };
    if (said.about !== undefined) about = said.about;
    else if (said.failure !== undefined) figures.set(said.mark!, { failure: said.failure });
    else figures.set(said.mark!, { value: said.value!, sample: Float32Array.from(said.sample!) });
  }
  for (const mark of orders.keys())
    if (!figures.has(mark)) figures.set(mark, { failure: ending ?? "it gave no figure" });
  return { about, figures };
}

/** The lines that a process prints, and how it failed if it did. */
function run(command: string, args: readonly string[], input: string, milliseconds: number) {
  const { promise, resolve } = Promise.withResolvers<{ lines: string[]; ending?: string }>();
  const child = spawn(command, args, { timeout: Math.round(milliseconds), killSignal: "SIGKILL" });
  const lines: string[] = [];
  let said = "";
  createInterface(child.stdout).on("line", (line) => lines.push(line));
  child.stderr.on("data", (chunk) => {
    said = (said + chunk).slice(-4000);
  });
  child.on("error", (error) => resolve({ lines, ending: error.message }));
  child.on("close", (code, signal) => {
    const why = said.trim().split("\n").at(-1) ?? "";
    if (code === 0) resolve({ lines });
    else resolve({ lines, ending: signal ? `it took more than ${Math.round(milliseconds / 1000)} s` : why });
  });
  child.stdin.on("error", () => {}); // it may have exited before reading
  child.stdin.end(input);
  return promise;
}
